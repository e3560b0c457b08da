-- epoch_cancel.sql: cancels unfinished jobs of an epoch that is closing, so that none follows. While the lock is held
-- it cannot be opened again; uploads do not wait for it.
--   $1 tenant
--   $2 number
--   $3 states
--   $4 most
WITH closing AS MATERIALIZED (
    SELECT number FROM epoch WHERE tenant = $1 AND number = $2 AND state = 'closing'
    FOR SHARE
)
UPDATE job
SET state = 'cancelled', finished_at = now(), progress = NULL, stuck_at = NULL,
    lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE epoch = $2 AND tenant || '' = $1 AND state || '' = ANY ($3) AND EXISTS (SELECT 1 FROM closing)
    ORDER BY seq + 0
    LIMIT $4
    FOR UPDATE
))
RETURNING seq
