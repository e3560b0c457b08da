-- queue.sql: waiting and running jobs, by type and epoch. Read at most once every few seconds and cached.
--   $1 tenant
SELECT tenant, kind, version, class, state, epoch, count(*) AS count,
       extract(epoch FROM now() - min(created_at))::float8 AS oldest_seconds,
       max(rank) AS rank,
       extract(epoch FROM min(deadline_at) - now())::float8 AS deadline_seconds
FROM job
WHERE state IN ('ready', 'delayed', 'input_wanted', 'leased') AND ($1::text IS NULL OR tenant = $1)
GROUP BY tenant, kind, version, class, state, epoch
ORDER BY tenant, kind, version, class, state, epoch
