-- 0016_job_held.sql
--
-- Leased jobs by their holder: serves sql/session_open.sql and sql/agents.sql, which hide the tenant from the planner.
-- The index before begins with the tenant, see 0007; the next migration drops it.
--
-- Step        Expand.
-- Locks       Building the index reads all jobs, under a lock that lets others read. Nothing else is locked meanwhile.

CREATE INDEX job_held ON job (lease_holder) WHERE state = 'leased';
