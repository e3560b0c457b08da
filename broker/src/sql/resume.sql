-- resume.sql: gives an agent its expired lease back, if nobody got the job since: its number is still the
-- last one, and its attempt ended by that expiry. The attempt goes on as this agent's, so that what the agent makes is
-- recorded there, and its expiry counts no more.
--   $1 tenant
--   $2 job
--   $3 lease_epoch
--   $4 agent
--   $5 lease
--   $6 hard_limit_seconds
WITH resumed AS (
    UPDATE job
    SET state = 'leased', lease_holder = $4, stuck_at = NULL,
        hard_limit_at = now() + make_interval(secs => coalesce(hard_limit_seconds, $6)),
        lease_expires_at = now() + least(
            make_interval(secs => $5::bigint / 1000.0),
            make_interval(secs => coalesce(hard_limit_seconds, $6)))
    WHERE tenant = $1 AND id = $2 AND lease_epoch = $3 AND lease_epoch > 0
      AND state IN ('ready', 'delayed') AND failure_class = 'agent_died'
      AND (deadline_at IS NULL OR deadline_at > now())
      AND EXISTS (SELECT 1 FROM attempt
                  WHERE attempt.job = job.seq AND attempt.lease_epoch = $3 AND attempt.outcome = 'expired')
    RETURNING seq
), running AS (
    UPDATE attempt
    SET outcome = 'running', agent = $4, counted = true, failure_class = NULL, failure_message = NULL, ended_at = NULL
    WHERE job IN (SELECT seq FROM resumed) AND lease_epoch = $3 AND outcome = 'expired'
)
SELECT seq FROM resumed
