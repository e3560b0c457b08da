-- agent_seen_many.sql: records that agents are alive; returns whether each is in quarantine, and its session. One that
-- is locked is passed over and seen the next time.
--   $1 tenants
--   $2 agents
WITH seen AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[]) AS s (tenant, id)
), free AS MATERIALIZED (
    SELECT a.tenant, a.id FROM seen AS s
    CROSS JOIN LATERAL (
        SELECT tenant, id FROM agent WHERE agent.tenant = s.tenant AND agent.id = s.id
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS a
)
UPDATE agent SET last_seen_at = now()
FROM free
WHERE agent.tenant = free.tenant AND agent.id = free.id
RETURNING agent.tenant, agent.id, agent.quarantined_at IS NOT NULL AS quarantined, agent.session
