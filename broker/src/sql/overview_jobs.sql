-- overview_jobs.sql: jobs of a tenant's oldest open epochs, by type and state, with the highest rank among them and the
-- seconds that agents say they took. An epoch without a job has one row without a type. What an agent reports may be
-- anything: no number of it counts beyond ten days.
--   $1 tenant
--   $2 epochs
--   $3 most
SELECT e.number AS epoch, j.kind, j.state, coalesce(j.count, 0) AS count, coalesce(j.rank, 0) AS rank,
    coalesce(j.seconds, 0)::float8 AS seconds
FROM (
    SELECT number FROM epoch WHERE tenant = $1 AND state = 'open' ORDER BY number LIMIT $2
) AS e
LEFT JOIN LATERAL (
    SELECT kind, state, count(*) AS count, max(rank) AS rank, sum(
        CASE WHEN jsonb_typeof(stats -> 'witness_seconds') = 'number'
            AND jsonb_typeof(stats -> 'proving_seconds') = 'number'
        THEN least(greatest((stats ->> 'witness_seconds')::numeric, 0), 864000)
            + least(greatest((stats ->> 'proving_seconds')::numeric, 0), 864000)
        END
    ) AS seconds FROM job
    WHERE epoch = e.number AND tenant || '' = $1
    GROUP BY kind, state
) AS j ON true
ORDER BY e.number, j.kind, j.state
LIMIT $3
