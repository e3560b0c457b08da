-- agents_draining.sql: agents that were asked to leave, of every tenant, and whether each is live still and not in
-- quarantine.
--   $1 live
--   $2 most
SELECT tenant, id,
       quarantined_at IS NULL AND last_seen_at > now() - make_interval(secs => $1::bigint / 1000.0) AS live
FROM agent
WHERE draining_by IS NOT NULL
LIMIT $2
