-- epoch_forget.sql: forgets that there was an epoch.
--   $1 tenant
--   $2 number
DELETE FROM epoch WHERE tenant = $1 AND number = $2 AND state = 'gone'
