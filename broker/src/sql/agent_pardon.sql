-- agent_pardon.sql: ends the quarantine of an agent, of its device and of the device's other agents, and clears what
-- led to it.
--   $1 tenant
--   $2 agent
WITH pardoned AS (
    UPDATE agent SET quarantined_at = NULL, rejected = 0
    WHERE tenant = $1 AND id = $2 AND quarantined_at IS NOT NULL
    RETURNING id, device
), cleared AS (
    UPDATE device SET quarantined_at = NULL, rejected = 0
    FROM pardoned
    WHERE device.tenant = $1 AND device.id = pardoned.device
), others AS (
    UPDATE agent SET quarantined_at = NULL, rejected = 0
    FROM pardoned
    WHERE agent.device = pardoned.device AND agent.tenant || '' = $1 AND agent.id <> $2
      AND agent.quarantined_at IS NOT NULL
)
SELECT id FROM pardoned
