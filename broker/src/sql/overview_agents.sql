-- overview_agents.sql: agents of a tenant that were seen within a day, those in trouble first, and how many there are
-- of each kind. Leases are counted for those that are returned only.
--   $1 tenant
--   $2 live
--   $3 gone
--   $4 most
SELECT a.id, a.info::text AS info, a.rejected, a.quarantined, a.draining, a.live, a.gone,
       (extract(epoch FROM a.last_seen_at))::bigint AS seen_seconds,
       (SELECT count(*) FROM job AS j
        WHERE j.tenant || '' = a.tenant AND j.state = 'leased' AND j.lease_holder = a.id) AS leases,
       a.all_count, a.live_count, a.silent_count, a.quarantined_count
FROM (
    SELECT s.*, count(*) OVER () AS all_count,
           count(*) FILTER (WHERE s.live AND NOT s.quarantined) OVER () AS live_count,
           count(*) FILTER (WHERE NOT (s.live OR s.gone OR s.quarantined)) OVER () AS silent_count,
           count(*) FILTER (WHERE s.quarantined) OVER () AS quarantined_count
    FROM (
        SELECT tenant, id, info, rejected, last_seen_at, quarantined_at IS NOT NULL AS quarantined,
               draining_by IS NOT NULL AS draining,
               last_seen_at > now() - make_interval(secs => $2::bigint / 1000.0) AS live,
               last_seen_at < now() - make_interval(secs => $3::bigint / 1000.0) AS gone
        FROM agent
        WHERE tenant = $1 AND last_seen_at > now() - interval '1 day'
    ) AS s
    ORDER BY NOT s.quarantined, s.live OR s.gone, s.gone, s.rejected = 0, s.id
    LIMIT $4
) AS a
ORDER BY NOT a.quarantined, a.live OR a.gone, a.gone, a.rejected = 0, a.id
