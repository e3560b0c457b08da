-- artifact_exists.sql: whether an artifact was uploaded.
--   $1 tenant
--   $2 digest
SELECT EXISTS (SELECT 1 FROM artifact WHERE tenant = $1 AND digest = $2) AS found
