-- second_candidates.sql: running jobs of epochs that are at risk, the most urgent first, with who works on them and for how
-- long; whether a second agent does already; and whether other jobs of the kind wait, for which an agent would be
-- needed more. Read once a second at most, while agents wait in vain. Tenant and epoch are hidden from the planner, so that only
-- leased jobs are read.
--   $1 tenants
--   $2 epochs
--   $3 most
SELECT j.seq, j.tenant, j.kind, j.version, j.class, j.epoch, j.rank, j.lease_epoch, j.lease_holder, j.excluded_agents,
       coalesce((SELECT extract(epoch FROM now() - a.started_at) FROM attempt AS a
                 WHERE a.job = j.seq AND a.lease_epoch = j.lease_epoch AND a.outcome = 'running'
                 LIMIT 1), 0)::float8 AS running_seconds,
       EXISTS (SELECT FROM second_lease AS s WHERE s.job = j.seq AND s.expires_at > now()) AS has_second,
       EXISTS (SELECT FROM job AS w
               WHERE w.state = 'ready' AND w.tenant = j.tenant AND w.version = j.version AND w.kind = j.kind
                 AND w.class = j.class) AS is_crowded
FROM job AS j
WHERE j.state = 'leased' AND j.deadline_at > now()
  AND EXISTS (SELECT FROM unnest($1::text[], $2::bigint[]) AS risk (tenant, epoch)
              WHERE risk.tenant = j.tenant || '' AND risk.epoch = j.epoch + 0)
ORDER BY j.epoch + 0, j.rank DESC, j.seq
LIMIT $3
