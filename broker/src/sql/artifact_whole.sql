-- artifact_whole.sql: those of the digests whose bodies in an epoch are whole. No index serves the sum, so that
-- each artifact is found by its digest.
--   $1 tenant
--   $2 digests
--   $3 epoch
SELECT digest FROM artifact_body
WHERE epoch = $3 AND tenant = $1 AND digest = ANY ($2) AND sha256(body) = digest
  AND EXISTS (SELECT 1 FROM artifact a
              WHERE a.tenant = $1 AND a.digest = artifact_body.digest AND a.epoch + 0 = $3)
