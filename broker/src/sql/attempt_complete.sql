-- attempt_complete.sql: ends the attempt whose agent completed the job.
--   $1 job
--   $2 lease_epoch
--   $3 agent
--   $4 outcome
--   $5 result
UPDATE attempt SET outcome = $4, result = $5, ended_at = now()
WHERE job = $1 AND lease_epoch = $2 AND agent = $3
