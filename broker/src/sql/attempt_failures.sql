-- attempt_failures.sql: how many attempts at a job failed for this reason since its budget was last renewed.
--   $1 job
--   $2 failure
SELECT count(*) AS count FROM attempt WHERE job = $1 AND failure_class = $2 AND counted
