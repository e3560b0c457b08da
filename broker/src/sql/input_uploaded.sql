-- input_uploaded.sql: makes the jobs ready that wait for this input.
--   $1 tenant
--   $2 input
UPDATE job SET state = 'ready', ready_at = now()
WHERE tenant = $1 AND input = $2 AND state = 'input_wanted'
