-- queue.sql: waiting and running jobs, by type and epoch. Read at most once every few seconds and cached. The rank is
-- that of jobs whose producer does not say how long the path before them takes. A grant sets the hard limit and nothing
-- moves it but a clock that is set back, so that it tells the age of the lease. hard_limit_seconds is the limit of jobs
-- that name none.
--   $1 tenant
--   $2 hard_limit_seconds
SELECT tenant, kind, version, class, state, epoch, count(*) AS count,
       extract(epoch FROM now() - min(created_at))::float8 AS oldest_seconds,
       extract(epoch FROM now() - min(hard_limit_at - make_interval(secs => coalesce(hard_limit_seconds, $2)))
           FILTER (WHERE state = 'leased'))::float8 AS lease_seconds,
       coalesce(max(rank) FILTER (WHERE path_ms IS NULL), 0) AS rank,
       (max(path_ms) / 1000.0)::float8 AS path_seconds,
       extract(epoch FROM min(deadline_at) - now())::float8 AS deadline_seconds
FROM job
WHERE state IN ('ready', 'delayed', 'input_wanted', 'leased') AND ($1::text IS NULL OR tenant = $1)
GROUP BY tenant, kind, version, class, state, epoch
ORDER BY tenant, kind, version, class, state, epoch
