-- artifact_body_put.sql: stores the body of a small artifact, and repairs one that differs.
--   $1 tenant
--   $2 digest
--   $3 epoch
--   $4 body
INSERT INTO artifact_body (tenant, digest, epoch, body) VALUES ($1, $2, $3, $4)
ON CONFLICT (epoch, tenant, digest) DO UPDATE SET body = excluded.body
WHERE artifact_body.body <> excluded.body
