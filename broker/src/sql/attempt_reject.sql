-- attempt_reject.sql: marks the attempt whose result the producer found wrong.
--   $1 job
--   $2 agent
--   $3 result
--   $4 reason
UPDATE attempt
SET outcome = 'rejected', failure_class = 'invalid_proof', failure_message = $4
WHERE job = $1 AND agent = $2 AND result = $3 AND outcome IN ('completed', 'completed_late')
