-- artifact_epochs.sql: the epochs that have small artifacts of these digests, the newest first.
--   $1 tenant
--   $2 digests
SELECT DISTINCT kept.epoch FROM unnest($2::bytea[]) AS asked (digest)
CROSS JOIN LATERAL (
    SELECT a.epoch FROM artifact AS a WHERE a.tenant = $1 AND a.digest = asked.digest AND a.place = 'row'
    OFFSET 0
) AS kept
ORDER BY kept.epoch DESC
