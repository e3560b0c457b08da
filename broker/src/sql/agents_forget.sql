-- agents_forget.sql: forgets agents that were not seen for a while, except those in quarantine. By their places, so that it
-- costs what it deletes; an agent that is seen meanwhile is locked or has another place, and stays.
--   $1 seconds
--   $2 most
DELETE FROM agent
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM agent
    WHERE last_seen_at < now() - make_interval(secs => $1) AND quarantined_at IS NULL
    ORDER BY last_seen_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
))
