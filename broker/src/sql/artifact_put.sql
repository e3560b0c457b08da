-- artifact_put.sql: records an artifact, after its bytes are stored.
--   $1 tenant
--   $2 digest
--   $3 epoch
--   $4 bytes
--   $5 place
INSERT INTO artifact (tenant, digest, epoch, bytes, place) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant, digest, epoch) DO NOTHING
