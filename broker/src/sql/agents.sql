-- agents.sql: agents seen within a day, the latest first. The tenant is hidden from the planner, so that leases are
-- found by their holder.
--   $1 tenant
SELECT a.id, a.info::text AS info, a.rejected, a.quarantined_at IS NOT NULL AS quarantined, a.draining_by,
       extract(epoch FROM now() - a.last_seen_at)::float8 AS last_seen_seconds,
       (SELECT count(*) FROM job j
        WHERE j.tenant || '' = a.tenant AND j.state = 'leased' AND j.lease_holder = a.id) AS leases
FROM agent a
WHERE a.tenant = $1 AND a.last_seen_at > now() - interval '1 day'
ORDER BY a.last_seen_at DESC LIMIT 1000
