-- artifact_exists.sql: whether an artifact was uploaded for an epoch. No index serves the sum, so that it is found by its
-- digest.
--   $1 tenant
--   $2 digest
--   $3 epoch
SELECT EXISTS (SELECT 1 FROM artifact WHERE tenant = $1 AND digest = $2 AND epoch + 0 = $3) AS found
