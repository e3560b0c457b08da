-- attempts.sql: every attempt at a job, the newest first.
--   $1 tenant
--   $2 job
SELECT a.agent, a.lease_epoch, a.outcome, a.failure_class, a.failure_message, a.result,
       (extract(epoch FROM a.started_at) * 1000)::bigint AS started_ms,
       (extract(epoch FROM a.ended_at) * 1000)::bigint AS ended_ms
FROM attempt a JOIN job j ON j.seq = a.job
WHERE j.tenant = $1 AND j.id = $2
ORDER BY a.id DESC LIMIT 1000
