-- lock.sql: locks a job for the caller's transaction.
--   $1 tenant
--   $2 job
SELECT seq, state, class, lease_epoch, lease_holder, excluded_agents, result, result_agent
FROM job WHERE tenant = $1 AND id = $2
FOR UPDATE
