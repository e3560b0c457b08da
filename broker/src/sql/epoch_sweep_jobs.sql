-- epoch_sweep_jobs.sql: deletes jobs of an epoch that is gone, and by the foreign key their attempts. While the lock is
-- held the epoch cannot be opened again, so that a replica that is late deletes nothing of the next generation.
--   $1 tenant
--   $2 number
--   $3 generation
--   $4 most
WITH gone AS MATERIALIZED (
    SELECT number FROM epoch
    WHERE tenant = $1 AND number = $2 AND generation = $3 AND state = 'gone' AND swept_at IS NULL
    FOR SHARE
)
DELETE FROM job
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job WHERE epoch = $2 AND tenant || '' = $1 AND EXISTS (SELECT 1 FROM gone)
    LIMIT $4
    FOR UPDATE
))
