-- artifact_whole.sql: those of the digests whose bodies in an epoch are whole. No index serves the sum, so that
-- each artifact is found by its digest, one index lookup for each: given the whole array, the server reads the
-- epoch from end to end while it takes the new table of bodies for an empty one.
--   $1 tenant
--   $2 digests
--   $3 epoch
SELECT whole.digest FROM unnest($2::bytea[]) AS asked (digest)
CROSS JOIN LATERAL (
    SELECT b.digest FROM artifact_body AS b
    WHERE b.epoch = $3 AND b.tenant = $1 AND b.digest = asked.digest AND sha256(b.body) = asked.digest
    OFFSET 0
) AS whole
WHERE EXISTS (SELECT 1 FROM artifact a WHERE a.tenant = $1 AND a.digest = whole.digest AND a.epoch + 0 = $3
              OFFSET 0)
