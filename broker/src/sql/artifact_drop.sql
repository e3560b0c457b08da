-- artifact_drop.sql: forgets the artifacts of an epoch.
--   $1 tenant
--   $2 epoch
DELETE FROM artifact WHERE tenant = $1 AND epoch = $2
