-- attempt_cancel.sql: ends the running attempts at cancelled jobs.
--   $1 jobs
UPDATE attempt SET outcome = 'cancelled', ended_at = now()
WHERE job = ANY ($1) AND outcome = 'running'
