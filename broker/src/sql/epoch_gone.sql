-- epoch_gone.sql: whether an epoch is gone, of this generation and not swept. It stays so for the caller's transaction.
--   $1 tenant
--   $2 number
--   $3 generation
SELECT true AS found FROM epoch
WHERE tenant = $1 AND number = $2 AND generation = $3 AND state = 'gone' AND swept_at IS NULL
FOR SHARE
