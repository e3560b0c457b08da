-- second_end.sql: ends a second lease that its agent gives up, or that never reached it.
--   $1 tenant
--   $2 job
--   $3 agent
--   $4 lease_epoch
DELETE FROM second_lease
WHERE job = (SELECT seq FROM job WHERE job.tenant = $1 AND job.id = $2) AND agent = $3 AND lease_epoch = $4
