-- agents_forget.sql: forgets agents that were not seen for a while, except those in quarantine.
--   $1 seconds
--   $2 most
DELETE FROM agent
WHERE (tenant, id) IN (
    SELECT tenant, id FROM agent
    WHERE last_seen_at < now() - make_interval(secs => $1) AND quarantined_at IS NULL
    ORDER BY last_seen_at
    LIMIT $2
)
