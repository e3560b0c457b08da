-- attempt_add.sql: records a completion by an agent that never held a lease.
--   $1 job
--   $2 agent
--   $3 outcome
--   $4 result
INSERT INTO attempt (job, agent, outcome, result, ended_at) VALUES ($1, $2, $3, $4, now())
