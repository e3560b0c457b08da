-- artifact_objects.sql: the large artifacts of an epoch.
--   $1 tenant
--   $2 epoch
SELECT digest FROM artifact WHERE tenant = $1 AND epoch = $2 AND place = 'object'
