-- artifact_shared.sql: whether any tenant has artifacts of an epoch.
--   $1 epoch
SELECT EXISTS (SELECT 1 FROM artifact WHERE epoch = $1) AS found
