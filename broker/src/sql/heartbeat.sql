-- heartbeat.sql: moves the expiry of every lease an agent names and still holds. A lease that ran
-- out but was not expired yet is kept: a broker that was down must not cost running proofs.
--   $1 tenant
--   $2 agent
--   $3 jobs
--   $4 lease_epochs
--   $5 lease
UPDATE job
SET lease_expires_at = least(now() + make_interval(secs => $5::bigint / 1000.0), hard_limit_at)
FROM unnest($3::text[], $4::bigint[]) AS held (id, lease_epoch)
WHERE job.tenant = $1 AND job.id = held.id AND job.lease_epoch = held.lease_epoch
  AND job.state = 'leased' AND job.lease_holder = $2
  AND (job.hard_limit_at > now())
RETURNING job.id, job.lease_epoch
