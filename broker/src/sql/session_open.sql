-- session_open.sql: opens an agent's session, unless another installation is alive under its identity. The session that
-- the same installation had ends: its leases return to the queue, and nobody is blamed. A lease whose job is locked is
-- left to expire. An agent that has started is free again, if it was asked to leave: fresh says that the process had no
-- session before. Returns nothing where the agent's row is new; then the caller has nothing to supersede.
--   $1 tenant
--   $2 agent
--   $3 session
--   $4 installation
--   $5 live
--   $6 outcome
--   $7 fresh
WITH before AS MATERIALIZED (
    SELECT session, installation,
           installation IS NULL OR installation = $4 OR session IS NULL
               OR last_seen_at < now() - make_interval(secs => $5::bigint / 1000.0) AS free,
           last_seen_at > now() - make_interval(secs => $5::bigint / 1000.0) AS live
    FROM agent WHERE tenant = $1 AND id = $2
    FOR NO KEY UPDATE
), held AS MATERIALIZED (
    SELECT j.seq, j.lease_epoch FROM job AS j
    WHERE j.tenant || '' = $1 AND j.lease_holder = $2 AND j.state = 'leased'
      AND EXISTS (SELECT 1 FROM before WHERE free AND session IS NOT NULL AND session <> $3)
    FOR UPDATE SKIP LOCKED
), returned AS (
    UPDATE job
    SET state = 'ready', ready_at = now(), progress = NULL,
        lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL
    FROM held
    WHERE job.seq = held.seq
    RETURNING job.seq
), ended AS (
    UPDATE attempt SET outcome = $6, ended_at = now()
    FROM held
    WHERE attempt.job = held.seq AND attempt.lease_epoch = held.lease_epoch AND attempt.outcome = 'running'
), opened AS (
    UPDATE agent
    SET session = $3, installation = $4, session_at = now(), last_seen_at = now(),
        draining_by = CASE WHEN $7 THEN NULL ELSE agent.draining_by END
    FROM before
    WHERE agent.tenant = $1 AND agent.id = $2 AND before.free
    RETURNING agent.id
)
SELECT before.free, before.live, before.session, before.installation,
       (SELECT count(*) FROM returned) AS returned, (SELECT count(*) FROM opened) AS opened
FROM before
