-- attempt_distrusted.sql: whether a result was rejected for a job, or, while the agent is excluded, one of the
-- agent's.
--   $1 job
--   $2 agent
--   $3 result
--   $4 excluded
SELECT EXISTS (SELECT 1 FROM attempt
               WHERE job = $1 AND outcome = 'rejected' AND counted
                 AND ((agent = $2 AND $4) OR result = $3)) AS found
