-- epoch_sweep_bodies.sql: deletes bodies of one tenant in an epoch that is gone and that others use as well. The lock
-- is that of epoch_sweep_jobs.sql.
--   $1 tenant
--   $2 number
--   $3 generation
--   $4 most
WITH gone AS MATERIALIZED (
    SELECT number FROM epoch
    WHERE tenant = $1 AND number = $2 AND generation = $3 AND state = 'gone' AND swept_at IS NULL
    FOR SHARE
), old AS MATERIALIZED (
    SELECT digest FROM artifact_body WHERE epoch = $2 AND tenant = $1 AND EXISTS (SELECT 1 FROM gone)
    LIMIT $4
)
DELETE FROM artifact_body AS b
USING old
WHERE b.epoch = $2 AND b.tenant = $1 AND b.digest = old.digest
