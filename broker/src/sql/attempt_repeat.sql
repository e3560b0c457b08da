-- attempt_repeat.sql: ends a running attempt whose agent made a result that was rejected before. It is not the
-- agent's fault, so the attempt does not count.
--   $1 job
--   $2 lease_epoch
--   $3 result
--   $4 failure
--   $5 message
UPDATE attempt
SET outcome = 'failed', result = $3, failure_class = $4, failure_message = $5, counted = false, ended_at = now()
WHERE job = $1 AND lease_epoch = $2 AND outcome = 'running'
