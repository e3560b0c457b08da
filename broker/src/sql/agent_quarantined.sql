-- agent_quarantined.sql: whether an agent is in quarantine.
--   $1 tenant
--   $2 agent
SELECT EXISTS (SELECT 1 FROM agent
               WHERE tenant = $1 AND id = $2 AND quarantined_at IS NOT NULL) AS quarantined
