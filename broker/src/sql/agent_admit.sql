-- agent_admit.sql: records that an agent asks for work and what it can do; returns whether it is in quarantine.
--   $1 tenant
--   $2 agent
--   $3 info
--   $4 size
--   $5 able
INSERT INTO agent (tenant, id, info, class, able) VALUES ($1, $2, $3::text::jsonb, $4, $5)
ON CONFLICT (tenant, id) DO UPDATE
SET info = excluded.info, class = excluded.class, able = excluded.able, last_seen_at = now()
RETURNING quarantined_at IS NOT NULL AS quarantined
