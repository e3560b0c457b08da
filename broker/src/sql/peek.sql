-- peek.sql: the first ready jobs for what the waiting agents can do, without a lock. The broker
-- matches them with its agents in memory and then leases the matches by key (claim.sql).
-- One probe of job_claim per combination; $5 is read as a literal bound by the lateral LIMIT.
--   $1 tenant
--   $2 versions
--   $3 kinds
--   $4 sizes
--   $5 most
SELECT j.seq, j.kind, j.version, j.class, j.epoch, j.rank, j.excluded_agents,
       extract(epoch FROM now() - j.ready_at)::float8 AS waited_seconds
FROM unnest($2::text[], $3::text[], $4::smallint[]) AS able (version, kind, class)
CROSS JOIN LATERAL (
    SELECT seq, kind, version, class, epoch, rank, excluded_agents, ready_at
    FROM job
    WHERE state = 'ready' AND tenant = $1 AND job.version = able.version AND job.kind = able.kind
      AND job.class = able.class
    ORDER BY epoch, rank DESC, seq
    LIMIT $5
) AS j
