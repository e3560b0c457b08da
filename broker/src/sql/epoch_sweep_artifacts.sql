-- epoch_sweep_artifacts.sql: forgets artifacts of an epoch.
--   $1 tenant
--   $2 number
--   $3 most
DELETE FROM artifact
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM artifact WHERE epoch = $2 AND tenant || '' = $1
    LIMIT $3
    FOR UPDATE
))
