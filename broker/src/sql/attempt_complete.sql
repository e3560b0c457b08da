-- attempt_complete.sql: ends the attempt whose agent completed the job. It counts again, if the budget was renewed since
-- its lease: its result is one of today. One whose result was rejected is the ban on that result, and stays as it is.
--   $1 job
--   $2 lease_epoch
--   $3 agent
--   $4 outcome
--   $5 result
UPDATE attempt SET outcome = $4, result = $5, counted = true, ended_at = now()
WHERE job = $1 AND lease_epoch = $2 AND agent = $3 AND outcome <> 'rejected'
