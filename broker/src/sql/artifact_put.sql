-- artifact_put.sql: records an artifact whose bytes are stored as an object, if its epoch is open and is still the
-- generation that the object was written for.
--   $1 tenant
--   $2 digest
--   $3 epoch
--   $4 bytes
--   $5 place
--   $6 generation
WITH held AS MATERIALIZED (
    SELECT number FROM epoch
    WHERE tenant = $1 AND number = $3 AND state || '' = 'open' AND generation = $6
    FOR KEY SHARE
)
INSERT INTO artifact (tenant, digest, epoch, bytes, place)
SELECT $1, $2, number, $4, $5 FROM held
ON CONFLICT (tenant, digest, epoch) DO UPDATE SET bytes = excluded.bytes, place = excluded.place
