-- attempt_end.sql: ends a running attempt without a result.
--   $1 job
--   $2 lease_epoch
--   $3 outcome
--   $4 failure
--   $5 message
UPDATE attempt SET outcome = $3, failure_class = $4, failure_message = $5, ended_at = now()
WHERE job = $1 AND lease_epoch = $2 AND outcome = 'running'
