-- agent_pardon.sql: ends a quarantine and clears what led to it.
--   $1 tenant
--   $2 agent
UPDATE agent SET quarantined_at = NULL, rejected = 0
WHERE tenant = $1 AND id = $2 AND quarantined_at IS NOT NULL
