-- progress.sql: records how far the work under a lease is.
--   $1 tenant
--   $2 job
--   $3 agent
--   $4 lease_epoch
--   $5 progress
UPDATE job SET progress = $5
WHERE tenant = $1 AND id = $2 AND state = 'leased' AND lease_holder = $3 AND lease_epoch = $4
