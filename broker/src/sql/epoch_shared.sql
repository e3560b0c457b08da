-- epoch_shared.sql: whether other tenants have bodies in an epoch.
--   $1 tenant
--   $2 number
SELECT EXISTS (SELECT 1 FROM artifact_body WHERE epoch = $2 AND tenant < $1)
    OR EXISTS (SELECT 1 FROM artifact_body WHERE epoch = $2 AND tenant > $1) AS found
