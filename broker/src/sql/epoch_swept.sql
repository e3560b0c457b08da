-- epoch_swept.sql: records that nothing is left of an epoch that is gone.
--   $1 tenant
--   $2 number
UPDATE epoch SET swept_at = now() WHERE tenant = $1 AND number = $2 AND state = 'gone'
