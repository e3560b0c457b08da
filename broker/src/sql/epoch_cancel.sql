-- epoch_cancel.sql: cancels the unfinished jobs of an epoch.
--   $1 tenant
--   $2 number
--   $3 states
UPDATE job
SET state = 'cancelled', finished_at = now(), progress = NULL, stuck_at = NULL,
    lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE epoch = $2 AND tenant || '' = $1 AND state || '' = ANY ($3)
    ORDER BY seq + 0
    FOR UPDATE
))
RETURNING seq
