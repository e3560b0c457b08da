-- artifact_body_drop.sql: deletes the bodies of one tenant of an epoch that others use as well.
--   $1 tenant
--   $2 epoch
DELETE FROM artifact_body WHERE tenant = $1 AND epoch = $2
