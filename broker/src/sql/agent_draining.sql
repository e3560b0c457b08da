-- agent_draining.sql: who asked an agent to leave.
--   $1 tenant
--   $2 agent
SELECT draining_by FROM agent WHERE tenant = $1 AND id = $2
