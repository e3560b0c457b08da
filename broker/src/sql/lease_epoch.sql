-- lease_epoch.sql: the present lease epoch of a job.
--   $1 tenant
--   $2 job
SELECT lease_epoch FROM job WHERE tenant = $1 AND id = $2
