-- epoch_close.sql: closes an open epoch.
--   $1 tenant
--   $2 number
--   $3 outcome
UPDATE epoch SET state = 'closing', outcome = $3, closed_at = now()
WHERE tenant = $1 AND number = $2 AND state = 'open'
