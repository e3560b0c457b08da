-- agent_charge.sql: counts a wrong proof against an agent, and quarantines it at the last one allowed; returns
-- whether it is in quarantine, and the token and device behind it.
--   $1 tenant
--   $2 agent
--   $3 rejections_max
INSERT INTO agent (tenant, id, rejected, quarantined_at)
VALUES ($1, $2, 1, CASE WHEN $3 <= 1 THEN now() END)
ON CONFLICT (tenant, id) DO UPDATE
SET rejected = agent.rejected + 1,
    quarantined_at = CASE WHEN agent.rejected + 1 >= $3 THEN coalesce(agent.quarantined_at, now())
                          ELSE agent.quarantined_at END
RETURNING quarantined_at IS NOT NULL AS quarantined, token, device
