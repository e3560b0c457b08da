-- epoch_sweep_artifacts.sql: forgets artifacts of an epoch that is gone. The lock is that of epoch_sweep_jobs.sql.
--   $1 tenant
--   $2 number
--   $3 generation
--   $4 most
WITH gone AS MATERIALIZED (
    SELECT number FROM epoch
    WHERE tenant = $1 AND number = $2 AND generation = $3 AND state = 'gone' AND swept_at IS NULL
    FOR SHARE
)
DELETE FROM artifact
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM artifact WHERE epoch = $2 AND tenant || '' = $1 AND EXISTS (SELECT 1 FROM gone)
    LIMIT $4
    FOR UPDATE
))
