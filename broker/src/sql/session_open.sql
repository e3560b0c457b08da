-- session_open.sql: opens an agent's session, unless another installation is alive under its identity. In one transaction
-- with session_return.sql, which comes before it. An agent that has started is free again, if it was asked to leave: fresh
-- says that the process had no session before. Returns nothing where the agent's row is new; then the caller has nothing
-- to supersede.
--   $1 tenant
--   $2 agent
--   $3 session
--   $4 installation
--   $5 live
--   $6 fresh
WITH before AS MATERIALIZED (
    SELECT session, installation,
           installation IS NULL OR installation = $4 OR session IS NULL
               OR last_seen_at < now() - make_interval(secs => $5::bigint / 1000.0) AS free,
           last_seen_at > now() - make_interval(secs => $5::bigint / 1000.0) AS live
    FROM agent WHERE tenant = $1 AND id = $2
    FOR NO KEY UPDATE
), opened AS (
    UPDATE agent
    SET session = $3, installation = $4, session_at = now(), last_seen_at = now(),
        draining_by = CASE WHEN $6 THEN NULL ELSE agent.draining_by END
    FROM before
    WHERE agent.tenant = $1 AND agent.id = $2 AND before.free
    RETURNING agent.id
)
SELECT before.free, before.live, before.session, before.installation, (SELECT count(*) FROM opened) AS opened
FROM before
