-- replay.sql: makes dead letters ready, for every agent. Each is found by its id, and they are locked in the order of their
-- numbers. Their budget is renewed by attempt_uncount_all.sql.
--   $1 tenant
--   $2 jobs
UPDATE job
SET state = 'ready', ready_at = now(), finished_at = NULL, excluded_agents = '{}', stuck_at = NULL
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE seq = ANY (ARRAY(
        SELECT known.seq FROM unnest($2::text[]) AS asked (id)
        CROSS JOIN LATERAL (SELECT j.seq FROM job AS j WHERE j.tenant = $1 AND j.id = asked.id OFFSET 0) AS known
    )) AND state || '' = 'dead'
    ORDER BY seq + 0
    FOR UPDATE
))
RETURNING seq
