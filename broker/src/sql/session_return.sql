-- session_return.sql: ends the leases of the session that an agent had, because the same installation opens another, or
-- because nobody was alive there. The jobs return to the queue, and nobody is blamed. Before session_open.sql in one
-- transaction, which decides whether the session may be opened. A job that is locked, as by a heartbeat that the session
-- before still sent, is waited for: its lease would be lost time otherwise.
-- Locks: the jobs in the order of their numbers, before the agent, as reports of results do.
--   $1 tenant
--   $2 agent
--   $3 installation
--   $4 live
--   $5 outcome
WITH held AS MATERIALIZED (
    SELECT j.seq, j.lease_epoch FROM job AS j
    WHERE j.tenant || '' = $1 AND j.lease_holder = $2 AND j.state = 'leased'
      AND EXISTS (
          SELECT 1 FROM agent
          WHERE agent.tenant = $1 AND agent.id = $2 AND agent.session IS NOT NULL
            AND (agent.installation IS NULL OR agent.installation = $3
                 OR agent.last_seen_at < now() - make_interval(secs => $4::bigint / 1000.0))
      )
    ORDER BY j.seq + 0 -- after the lookup by job_held
    FOR UPDATE
), returned AS (
    UPDATE job
    SET state = 'ready', ready_at = now(), progress = NULL,
        lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL
    FROM held
    WHERE job.seq = held.seq
    RETURNING job.seq
), ended AS (
    UPDATE attempt SET outcome = $5, ended_at = now()
    FROM held
    WHERE attempt.job = held.seq AND attempt.lease_epoch = held.lease_epoch AND attempt.outcome = 'running'
)
SELECT count(*) AS count FROM returned
