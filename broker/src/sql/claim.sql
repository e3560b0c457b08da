-- claim.sql: leases chosen jobs to chosen agents. A job that another broker took meanwhile is
-- passed over, and so are one whose deadline has passed and one whose agent is in quarantine or was asked to leave.
-- The state is hidden from the planner, so that jobs are found by key whatever the statistics say. hard_limit_seconds
-- is the limit of jobs that name none.
--   $1 jobs
--   $2 agents
--   $3 lease
--   $4 hard_limit_seconds
WITH chosen AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::text[]) AS c (seq, agent)
), free AS MATERIALIZED (
    SELECT seq, tenant FROM job
    WHERE seq = ANY ($1::bigint[]) AND state || '' = 'ready'
      AND (deadline_at IS NULL OR deadline_at > now())
    ORDER BY seq
    FOR UPDATE SKIP LOCKED
), granted AS (
    UPDATE job
    SET state = 'leased',
        lease_epoch = lease_epoch + 1,
        attempts = attempts + 1,
        lease_holder = chosen.agent,
        hard_limit_at = now() + make_interval(secs => coalesce(hard_limit_seconds, $4)),
        lease_expires_at = now() + least(
            make_interval(secs => $3::bigint / 1000.0),
            make_interval(secs => coalesce(hard_limit_seconds, $4))),
        progress = NULL,
        stuck_at = NULL
    FROM free JOIN chosen ON chosen.seq = free.seq
    WHERE job.seq = free.seq AND job.state || '' = 'ready'
      AND NOT EXISTS (SELECT 1 FROM agent
                      WHERE agent.tenant = free.tenant AND agent.id = chosen.agent
                        AND (agent.quarantined_at IS NOT NULL OR agent.draining_by IS NOT NULL)
                      OFFSET 0) -- one index lookup for each job, and not all agents
    RETURNING job.seq, job.id, version, lease_epoch, lease_holder,
              extract(epoch FROM deadline_at)::bigint AS deadline,
              labels ->> 'traceparent' AS traceparent,
              coalesce(hard_limit_seconds, $4) AS hard_limit_seconds,
              extract(epoch FROM now() - ready_at)::float8 AS waited_seconds
), recorded AS (
    INSERT INTO attempt (job, lease_epoch, agent)
    SELECT seq, lease_epoch, lease_holder FROM granted
)
SELECT * FROM granted
