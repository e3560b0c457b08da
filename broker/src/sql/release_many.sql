-- release_many.sql: returns leased jobs to the queue, unharmed, and ends their attempts. One whose lease is no
-- longer held, or that is locked, is left alone, and release.sql judges it.
--   $1 tenants
--   $2 jobs
--   $3 agents
--   $4 lease_epochs
--   $5 outcome
WITH offered AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
        WITH ORDINALITY AS o (tenant, job, agent, lease_epoch, place)
), locked AS MATERIALIZED (
    SELECT seq, tenant, id, lease_epoch, lease_holder FROM job
    WHERE seq = ANY (ARRAY(
        SELECT j.seq FROM offered AS o
        CROSS JOIN LATERAL (SELECT seq FROM job WHERE job.tenant = o.tenant AND job.id = o.job) AS j
    )) AND state || '' = 'leased'
    ORDER BY seq
    FOR UPDATE SKIP LOCKED
), taken AS MATERIALIZED (
    SELECT DISTINCT ON (l.seq) l.seq, o.place, o.lease_epoch
    FROM offered AS o
    JOIN locked AS l ON l.tenant = o.tenant AND l.id = o.job
    WHERE l.lease_epoch = o.lease_epoch AND l.lease_holder = o.agent
    ORDER BY l.seq, o.place
), returned AS (
    UPDATE job
    SET state = 'ready', ready_at = now(), progress = NULL,
        lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL
    FROM taken
    WHERE job.seq = taken.seq
    RETURNING taken.place
), ended AS (
    UPDATE attempt SET outcome = $5, ended_at = now()
    FROM taken
    WHERE attempt.job = taken.seq AND attempt.lease_epoch = taken.lease_epoch AND attempt.outcome = 'running'
)
SELECT place FROM returned
