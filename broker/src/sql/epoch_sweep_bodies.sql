-- epoch_sweep_bodies.sql: deletes bodies of one tenant in an epoch that others use as well.
--   $1 tenant
--   $2 number
--   $3 most
DELETE FROM artifact_body
WHERE epoch = $2 AND tenant = $1 AND digest = ANY (ARRAY(
    SELECT digest FROM artifact_body WHERE epoch = $2 AND tenant = $1
    LIMIT $3
))
