-- input_uploaded.sql: makes the jobs ready that wait for this input. They are locked in the order of their numbers.
--   $1 tenant
--   $2 input
UPDATE job SET state = 'ready', ready_at = now()
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE tenant = $1 AND input = $2 AND state = 'input_wanted'
    ORDER BY seq + 0
    FOR UPDATE
))
