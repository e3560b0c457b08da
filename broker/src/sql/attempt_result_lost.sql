-- attempt_result_lost.sql: marks the attempts whose result can no longer be read.
--   $1 jobs
--   $2 result
UPDATE attempt SET outcome = 'result_lost'
WHERE job = ANY ($1) AND result = $2 AND outcome IN ('completed', 'completed_late')
