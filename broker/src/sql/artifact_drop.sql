-- artifact_drop.sql: forgets the artifacts of an epoch.
--   $1 tenant
--   $2 epoch
DELETE FROM artifact WHERE epoch = $2 AND tenant || '' = $1
