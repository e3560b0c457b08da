-- agent_admit_many.sql: records that agents ask for work, with which tokens, on which devices and what they can do;
-- returns whether each, or its device, is in quarantine.
--   $1 tenants
--   $2 agents
--   $3 infos
--   $4 sizes
--   $5 able
--   $6 tokens
--   $7 devices
INSERT INTO agent (tenant, id, info, class, able, token, device, quarantined_at)
SELECT a.tenant, a.id, a.info::jsonb, a.class, ARRAY(SELECT jsonb_array_elements_text(a.able::jsonb)), a.token,
       a.device, (SELECT d.quarantined_at FROM device AS d WHERE d.tenant = a.tenant AND d.id = a.device)
FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::text[])
    AS a (tenant, id, info, class, able, token, device)
ORDER BY a.tenant, a.id
ON CONFLICT (tenant, id) DO UPDATE
SET info = excluded.info, class = excluded.class, able = excluded.able, last_seen_at = now(),
    token = excluded.token, device = coalesce(excluded.device, agent.device),
    quarantined_at = coalesce(agent.quarantined_at, excluded.quarantined_at)
RETURNING tenant, id, quarantined_at IS NOT NULL AS quarantined
