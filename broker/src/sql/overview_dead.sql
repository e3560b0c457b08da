-- overview_dead.sql: the newest dead letters of a tenant, and how many there are.
--   $1 tenant
--   $2 most
SELECT id, failure_class, failure_message, (extract(epoch FROM finished_at))::bigint AS dead_seconds,
       count(*) OVER () AS all_count
FROM job
WHERE tenant = $1 AND state = 'dead'
ORDER BY finished_at DESC, seq DESC
LIMIT $2
