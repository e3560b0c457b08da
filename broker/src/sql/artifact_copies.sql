-- artifact_copies.sql: where the copies of an artifact lie, the newest epoch first. The version of a copy is another
-- one after each write of its row and of its body, so it tells whether what was read before is still what there is.
--   $1 tenant
--   $2 digest
SELECT a.epoch, a.place, a.bytes,
       coalesce((SELECT e.generation FROM epoch AS e WHERE e.tenant = a.tenant AND e.number = a.epoch), 1)
           AS generation,
       a.xmin::text || '/' || coalesce((SELECT b.xmin::text FROM artifact_body AS b
                                        WHERE b.epoch = a.epoch AND b.tenant = a.tenant AND b.digest = a.digest), '')
           AS version
FROM artifact AS a
WHERE a.tenant = $1 AND a.digest = $2
ORDER BY a.epoch DESC
