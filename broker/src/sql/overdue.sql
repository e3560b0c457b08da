-- overdue.sql: leases that ran out, locked for the caller's transaction.
--   $1 most
SELECT seq, id, lease_epoch, lease_holder, class,
       hard_limit_at <= now() AS hard
FROM job
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE state = 'leased' AND lease_expires_at <= now()
    ORDER BY lease_expires_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
))
