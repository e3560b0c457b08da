-- artifact_body.sql: the body of a small artifact.
--   $1 tenant
--   $2 digest
--   $3 epoch
SELECT body FROM artifact_body WHERE epoch = $3 AND tenant = $1 AND digest = $2
