-- agent_admit_many.sql: records that agents ask for work and what they can do; returns whether each is in quarantine.
--   $1 tenants
--   $2 agents
--   $3 infos
--   $4 sizes
--   $5 able
INSERT INTO agent (tenant, id, info, class, able)
SELECT a.tenant, a.id, a.info::jsonb, a.class, ARRAY(SELECT jsonb_array_elements_text(a.able::jsonb))
FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::text[]) AS a (tenant, id, info, class, able)
ORDER BY a.tenant, a.id
ON CONFLICT (tenant, id) DO UPDATE
SET info = excluded.info, class = excluded.class, able = excluded.able, last_seen_at = now()
RETURNING tenant, id, quarantined_at IS NOT NULL AS quarantined
