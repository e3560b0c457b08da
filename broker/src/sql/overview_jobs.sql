-- overview_jobs.sql: jobs of a tenant's oldest open epochs, by type and state. An epoch without a job has one row
-- without a type.
--   $1 tenant
--   $2 epochs
--   $3 most
SELECT e.number AS epoch, j.kind, j.state, coalesce(j.count, 0) AS count
FROM (
    SELECT number FROM epoch WHERE tenant = $1 AND state = 'open' ORDER BY number LIMIT $2
) AS e
LEFT JOIN LATERAL (
    SELECT kind, state, count(*) AS count FROM job
    WHERE epoch = e.number AND tenant || '' = $1
    GROUP BY kind, state
) AS j ON true
ORDER BY e.number, j.kind, j.state
LIMIT $3
