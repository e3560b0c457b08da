-- artifact_copies.sql: where the copies of an artifact lie, the newest epoch first.
--   $1 tenant
--   $2 digest
SELECT epoch, place, bytes FROM artifact WHERE tenant = $1 AND digest = $2 ORDER BY epoch DESC
