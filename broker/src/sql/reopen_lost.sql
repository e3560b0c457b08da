-- reopen_lost.sql: reopens done jobs whose result cannot be read. Nobody is charged.
--   $1 jobs
--   $2 failure
--   $3 message
UPDATE job
SET state = 'ready', ready_at = now(), finished_at = NULL, stuck_at = NULL,
    result = NULL, result_agent = NULL, stats = NULL,
    failure_class = $2, failure_message = $3
WHERE seq = ANY ($1)
