-- release.sql: returns a leased job to the queue, unharmed. The caller has checked the lease and holds the lock.
--   $1 job
UPDATE job
SET state = 'ready', ready_at = now(), progress = NULL,
    lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL
WHERE seq = $1
