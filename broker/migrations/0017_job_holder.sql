-- 0017_job_holder.sql
--
-- job_held is there in its place.
--
-- Step        Expand: a release before this one has the other indexes.
-- Locks       Dropping an index locks job for a moment. In one migration with the new index it would wait for
--             statements that wait for that migration.

DROP INDEX job_holder;
