-- reopen.sql: puts a job that was leased or done back into the queue, at once, after a pause or once
-- its input is uploaded again, or makes it a dead letter.
--   $1 job
--   $2 state
--   $3 pause
--   $4 failure
--   $5 message
--   $6 size
--   $7 excluded
UPDATE job
SET state = $2,
    lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL, progress = NULL,
    stuck_at = NULL,
    result = NULL, result_agent = NULL, stats = NULL,
    ready_at = now() + make_interval(secs => $3::bigint / 1000.0),
    finished_at = CASE WHEN $2 = 'dead' THEN now() END,
    failure_class = $4, failure_message = $5,
    class = $6,
    excluded_agents = CASE
        WHEN $7::text IS NULL OR $7 = ANY (excluded_agents) THEN excluded_agents
        ELSE array_append(excluded_agents, $7) END
WHERE seq = $1
