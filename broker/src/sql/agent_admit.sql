-- agent_admit.sql: records that an agent asks for work, with which token, on which device and what it can do; returns
-- whether it or its device is in quarantine.
--   $1 tenant
--   $2 agent
--   $3 info
--   $4 size
--   $5 able
--   $6 token
--   $7 device
INSERT INTO agent (tenant, id, info, class, able, token, device, quarantined_at)
VALUES ($1, $2, $3::text::jsonb, $4, $5, $6, $7,
        (SELECT d.quarantined_at FROM device AS d WHERE d.tenant = $1 AND d.id = $7))
ON CONFLICT (tenant, id) DO UPDATE
SET info = excluded.info, class = excluded.class, able = excluded.able, last_seen_at = now(),
    token = excluded.token, device = coalesce(excluded.device, agent.device),
    quarantined_at = coalesce(agent.quarantined_at, excluded.quarantined_at)
RETURNING quarantined_at IS NOT NULL AS quarantined
