-- 0007_index_choice.sql
--
-- One index for each question. On a table that was empty when PostgreSQL last looked, every index costs the same, and
-- a cached plan may ask one that has only the tenant in common with the question: it then reads all jobs for each one.
-- So no index but the unique one begins with the tenant and is there whatever the state; statements that must not use
-- a partial index hide the state from the planner (state || '').
--
-- Locks       Each index is built under a lock that lets others read. The old ones go after the new ones are there.

CREATE INDEX job_of_epoch ON job (epoch);
DROP INDEX job_epoch;
CREATE INDEX artifact_of_epoch ON artifact (epoch);
DROP INDEX artifact_epoch;
