-- cancel.sql: cancels jobs that are in one of these states. The sum hides the order from the planner, which otherwise
-- reads all jobs in that order if the table was empty when it planned.
--   $1 tenant
--   $2 jobs
--   $3 states
UPDATE job
SET state = 'cancelled', finished_at = now(), progress = NULL, stuck_at = NULL,
    lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE tenant = $1 AND id = ANY ($2) AND state = ANY ($3)
    ORDER BY seq + 0
    FOR UPDATE
))
RETURNING seq
