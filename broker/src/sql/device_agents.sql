-- device_agents.sql: puts every agent of a device in quarantine. One that is locked is passed over: it is being charged
-- itself, or is being admitted, and whoever admits it next asks for its device.
--   $1 tenant
--   $2 device
WITH free AS MATERIALIZED (
    SELECT id FROM agent
    WHERE device = $2 AND tenant || '' = $1 AND quarantined_at IS NULL
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE agent SET quarantined_at = now()
FROM free
WHERE agent.tenant = $1 AND agent.id = free.id
