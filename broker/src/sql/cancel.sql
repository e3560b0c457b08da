-- cancel.sql: cancels jobs that are in one of these states. Each is found by its id, and they are locked in the order of
-- their numbers.
--   $1 tenant
--   $2 jobs
--   $3 states
UPDATE job
SET state = 'cancelled', finished_at = now(), progress = NULL, stuck_at = NULL,
    lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE seq = ANY (ARRAY(
        SELECT known.seq FROM unnest($2::text[]) AS asked (id)
        CROSS JOIN LATERAL (SELECT j.seq FROM job AS j WHERE j.tenant = $1 AND j.id = asked.id OFFSET 0) AS known
    )) AND state || '' = ANY ($3)
    ORDER BY seq + 0
    FOR UPDATE
))
RETURNING seq
