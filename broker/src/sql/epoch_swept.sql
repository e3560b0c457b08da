-- epoch_swept.sql: records that nothing is left of an epoch that is gone, if that is so: what another replica is
-- deleting just now is still there. Of the replicas that delete it one does this.
--   $1 tenant
--   $2 number
--   $3 generation
UPDATE epoch SET swept_at = now()
WHERE tenant = $1 AND number = $2 AND generation = $3 AND state = 'gone' AND swept_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM job AS j WHERE j.epoch = $2 AND j.tenant || '' = $1)
  AND NOT EXISTS (SELECT 1 FROM artifact AS a WHERE a.epoch = $2 AND a.tenant || '' = $1)
  AND NOT EXISTS (SELECT 1 FROM artifact_body AS b WHERE b.epoch = $2 AND b.tenant = $1)
