-- 0014_artifact_object.sql
--
-- The objects alone, and of those the size alone: serves sql/kept_bytes.sql.
--
-- Step        Expand.
-- Locks       The index is built under a lock that lets others read. It has a migration of its own, since a statement
--             of a broker that runs locks several tables, and must not meet two locks of one migration in another
--             order.

CREATE INDEX artifact_object ON artifact (bytes) WHERE place = 'object';
