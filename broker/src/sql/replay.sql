-- replay.sql: makes dead letters ready, for every agent. Their budget is renewed by attempt_uncount_all.sql.
--   $1 tenant
--   $2 jobs
UPDATE job
SET state = 'ready', ready_at = now(), finished_at = NULL, excluded_agents = '{}', stuck_at = NULL
WHERE tenant = $1 AND id = ANY ($2) AND state = 'dead'
RETURNING seq
