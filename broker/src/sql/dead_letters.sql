-- dead_letters.sql: how many dead letters there are.
--   $1 tenant
SELECT count(*) AS count FROM job WHERE tenant = $1 AND state = 'dead'
