-- 0021_path.sql
--
-- How long the jobs take that follow a job, as its producer measured it.
--
-- Invariants  path_ms is in milliseconds, the job's own time included. NULL: the producer did not measure, and rank is a
--             number of jobs. Where it did, rank is the same number, so that the index job_claim orders by it.
-- Step        Expand: a release before this one does not look at the column, and adds jobs without it.
-- Locks       The column locks job for a moment; nothing is rewritten.

ALTER TABLE job ADD COLUMN path_ms integer;
