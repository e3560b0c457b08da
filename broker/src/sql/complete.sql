-- complete.sql: the completion rule. The first result offered while the job has none stays,
-- whether or not the agent's lease is still valid.
--   $1 tenant
--   $2 job
--   $3 result
--   $4 agent
--   $5 stats
UPDATE job
SET state = 'done',
    result = $3, result_agent = $4, stats = $5::text::jsonb,
    lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL, progress = NULL,
    stuck_at = NULL, finished_at = now()
WHERE tenant = $1 AND id = $2 AND state IN ('ready', 'delayed', 'input_wanted', 'leased', 'dead')
