-- second_beat.sql: moves the expiry of second leases that agents name, while the jobs may still have results. Returns those
-- that go on, as beat_many.sql does; one goes on also after the first lease of its job has ended.
--   $1 tenants
--   $2 jobs
--   $3 agents
--   $4 lease_epochs
--   $5 states
--   $6 lease
WITH beat AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
        WITH ORDINALITY AS b (tenant, job, agent, lease_epoch, place)
), held AS MATERIALIZED (
    SELECT b.place, j.seq, j.is_near
    FROM beat AS b
    CROSS JOIN LATERAL (
        SELECT seq, coalesce(deadline_at < now() + interval '1 minute', false) AS is_near FROM job
        WHERE job.tenant = b.tenant AND job.id = b.job AND job.state || '' = ANY ($5)
        OFFSET 0 -- one index lookup for each row, whatever the planner thinks of second_lease
    ) AS j
    JOIN second_lease AS s ON s.job = j.seq
    WHERE s.agent = b.agent AND s.lease_epoch = b.lease_epoch AND s.hard_limit_at > now()
), moved AS (
    UPDATE second_lease AS s
    SET expires_at = least(now() + make_interval(secs => $6::bigint / 1000.0), s.hard_limit_at)
    FROM held
    WHERE s.job = held.seq
)
SELECT place, true AS is_within, is_near FROM held
