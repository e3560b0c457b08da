-- second_claim.sql: gives second leases of running jobs to chosen agents, under the number of the lease that runs. A job whose
-- lease is another one by now is passed over, and so are one that has a second lease, one that excludes the agent, one whose
-- deadline has passed, an agent on the same device, and an agent in quarantine or asked to leave. Under the lock of
-- second_lock.sql, for at most as many jobs as second_free.sql left places. That statement has deleted the second leases that
-- ran out. hard_limit_seconds is the limit of jobs that name none.
--   $1 jobs
--   $2 agents
--   $3 lease_epochs
--   $4 lease
--   $5 hard_limit_seconds
WITH chosen AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS c (seq, agent, lease_epoch)
), running AS MATERIALIZED (
    SELECT seq, id, tenant, version, lease_epoch, lease_holder, excluded_agents, deadline_at, labels,
           coalesce(hard_limit_seconds, $5) AS hard_limit_seconds
    FROM job
    WHERE seq = ANY ($1::bigint[]) AND state || '' = 'leased' AND (deadline_at IS NULL OR deadline_at > now())
    ORDER BY seq
    FOR NO KEY UPDATE SKIP LOCKED
), given AS (
    INSERT INTO second_lease (job, lease_epoch, agent, expires_at, hard_limit_at)
    SELECT r.seq, r.lease_epoch, c.agent,
           now() + least(make_interval(secs => $4::bigint / 1000.0), make_interval(secs => r.hard_limit_seconds)),
           now() + make_interval(secs => r.hard_limit_seconds)
    FROM running AS r
    JOIN chosen AS c ON c.seq = r.seq AND c.lease_epoch = r.lease_epoch
    WHERE c.agent <> r.lease_holder AND NOT (c.agent = ANY (r.excluded_agents))
      AND EXISTS (SELECT FROM agent AS g
                  WHERE g.tenant = r.tenant AND g.id = c.agent
                    AND g.quarantined_at IS NULL AND g.draining_by IS NULL
                    AND NOT EXISTS (SELECT FROM agent AS h
                                    WHERE h.tenant = r.tenant AND h.id = r.lease_holder AND h.device = g.device
                                    OFFSET 0)
                  OFFSET 0)
    ON CONFLICT (job) DO NOTHING
    RETURNING job, agent
)
SELECT r.seq, r.id, r.version, r.lease_epoch, given.agent AS lease_holder,
       extract(epoch FROM r.deadline_at)::bigint AS deadline,
       r.labels ->> 'traceparent' AS traceparent,
       r.hard_limit_seconds, 0::float8 AS waited_seconds
FROM given
JOIN running AS r ON r.seq = given.job
