-- sessions.sql: how many agents with a session were seen lately, of every tenant, those in quarantine and those that were
-- asked to leave included.
--   $1 live
SELECT count(*) AS count FROM agent
WHERE session IS NOT NULL AND last_seen_at > now() - make_interval(secs => $1::bigint / 1000.0)
