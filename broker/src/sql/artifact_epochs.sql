-- artifact_epochs.sql: the epochs that have small artifacts of these digests, the newest first.
--   $1 tenant
--   $2 digests
SELECT DISTINCT epoch FROM artifact
WHERE tenant = $1 AND digest = ANY ($2) AND place = 'row'
ORDER BY epoch DESC
