-- overdue.sql: leases that ran out, locked for the caller's transaction. A clock that was read before, in milliseconds
-- since 1970, keeps those that had not run out then.
--   $1 most
--   $2 clock
SELECT seq, id, lease_epoch, lease_holder, class,
       hard_limit_at <= now() AS hard
FROM job
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE state = 'leased' AND lease_expires_at <= least(now(), to_timestamp($2::bigint / 1000.0))
    ORDER BY lease_expires_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
))
