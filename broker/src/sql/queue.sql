-- queue.sql: what waits and what runs, by type. Read at most once every few seconds and cached.
SELECT kind, version, state, count(*) AS count,
       extract(epoch FROM now() - min(created_at))::float8 AS oldest_seconds
FROM job
WHERE state IN ('ready', 'delayed', 'leased') AND ($1::text IS NULL OR tenant = $1)
GROUP BY kind, version, state
ORDER BY kind, version, state
