-- agent_seen.sql: records that an agent is alive.
--   $1 tenant
--   $2 agent
UPDATE agent SET last_seen_at = now() WHERE tenant = $1 AND id = $2
