-- artifact_objects.sql: the large artifacts of an epoch.
--   $1 tenant
--   $2 epoch
SELECT digest FROM artifact WHERE epoch = $2 AND tenant || '' = $1 AND place = 'object'
