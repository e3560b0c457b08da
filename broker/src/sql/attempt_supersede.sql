-- attempt_supersede.sql: ends the running attempts at a job that another agent completed.
--   $1 job
UPDATE attempt SET outcome = 'superseded', ended_at = now() WHERE job = $1 AND outcome = 'running'
