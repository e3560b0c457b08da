-- agent_pardon.sql: ends the quarantine of an agent, of its device and of the device's other agents, and clears what
-- led to it.
-- Locks: all agents in the order of their ids, as agent_admit_many.sql, and then the device, as agent_charge.sql and
-- device_charge.sql after it.
--   $1 tenant
--   $2 agent
WITH named AS MATERIALIZED (
    SELECT id, device FROM agent
    WHERE tenant = $1 AND id = $2 AND quarantined_at IS NOT NULL
), listed AS MATERIALIZED (
    SELECT named.id FROM named
    UNION
    SELECT others.id FROM named
    CROSS JOIN LATERAL (
        SELECT agent.id FROM agent
        WHERE agent.device = named.device AND agent.tenant || '' = $1 AND agent.quarantined_at IS NOT NULL
        OFFSET 0
    ) AS others
    ORDER BY id
), held AS MATERIALIZED (
    SELECT a.id, a.device FROM listed
    CROSS JOIN LATERAL (
        SELECT id, device FROM agent
        WHERE agent.tenant = $1 AND agent.id = listed.id AND agent.quarantined_at IS NOT NULL
        FOR NO KEY UPDATE
    ) AS a
), cleared AS (
    UPDATE device SET quarantined_at = NULL, rejected = 0
    WHERE tenant = $1 AND id = (SELECT held.device FROM held WHERE held.id = $2) -- reads all of held first
), pardoned AS (
    UPDATE agent SET quarantined_at = NULL, rejected = 0
    FROM held
    WHERE agent.tenant = $1 AND agent.id = held.id
)
SELECT id FROM held WHERE id = $2
