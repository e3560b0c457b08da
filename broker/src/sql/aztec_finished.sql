-- aztec_finished.sql: jobs of Aztec's prover nodes that became final within this time, the newest first. The
-- predicate on the version is that of the index job_aztec_finished.
--   $1 tenant
--   $2 within
--   $3 most
SELECT id FROM job
WHERE tenant = $1 AND version LIKE 'aztec.%' AND state IN ('done', 'dead', 'cancelled')
  AND finished_at > now() - make_interval(secs => $2::bigint / 1000.0)
ORDER BY finished_at DESC
LIMIT $3
