-- artifact_copies.sql: where the copies of an artifact lie, the newest epoch first.
--   $1 tenant
--   $2 digest
SELECT a.epoch, a.place, a.bytes,
       coalesce((SELECT e.generation FROM epoch AS e WHERE e.tenant = a.tenant AND e.number = a.epoch), 1) AS generation
FROM artifact AS a
WHERE a.tenant = $1 AND a.digest = $2
ORDER BY a.epoch DESC
