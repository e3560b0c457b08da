-- epoch_sweep_jobs.sql: deletes jobs of an epoch, and by the foreign key their attempts.
--   $1 tenant
--   $2 number
--   $3 most
DELETE FROM job
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job WHERE epoch = $2 AND tenant || '' = $1
    LIMIT $3
    FOR UPDATE
))
