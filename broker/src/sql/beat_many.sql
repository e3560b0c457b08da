-- beat_many.sql: moves the expiry of the leases that agents name and still hold, and records their progress. Returns
-- those that are held, with whether the hard limit is still ahead, and whether the job's deadline is less than a minute
-- away or over: then the producer may soon cancel it, and the agent is asked for more heartbeats. A lease that ran out
-- but was not expired yet is kept: a broker that was down must not cost running proofs. A job that is locked is passed
-- over: a lost heartbeat costs nothing, and one that waits would delay all others.
--   $1 tenants
--   $2 jobs
--   $3 agents
--   $4 lease_epochs
--   $5 extends
--   $6 progresses
--   $7 lease
WITH beat AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::boolean[], $6::real[])
        WITH ORDINALITY AS b (tenant, job, agent, lease_epoch, extends, progress, place)
), held AS MATERIALIZED (
    SELECT b.place, b.lease_epoch, b.progress, j.seq, b.extends AND j.is_within AS extends, j.is_within,
           j.is_near
    FROM beat AS b
    CROSS JOIN LATERAL (
        SELECT seq, coalesce(hard_limit_at > now(), false) AS is_within,
               coalesce(deadline_at < now() + interval '1 minute', false) AS is_near
        FROM job
        WHERE job.tenant = b.tenant AND job.id = b.job AND job.state || '' = 'leased'
          AND job.lease_holder = b.agent AND job.lease_epoch = b.lease_epoch
    ) AS j
), free AS MATERIALIZED (
    SELECT seq FROM job
    WHERE seq = ANY (ARRAY(SELECT held.seq FROM held)) AND state || '' = 'leased'
    ORDER BY seq
    FOR NO KEY UPDATE SKIP LOCKED
), moved AS (
    UPDATE job
    SET lease_expires_at = CASE
            WHEN held.extends THEN least(now() + make_interval(secs => $7::bigint / 1000.0), hard_limit_at)
            ELSE lease_expires_at END,
        progress = coalesce(held.progress, job.progress)
    FROM held JOIN free ON free.seq = held.seq
    WHERE job.seq = held.seq AND job.state || '' = 'leased' AND job.lease_epoch = held.lease_epoch
)
SELECT place, is_within, is_near FROM held
