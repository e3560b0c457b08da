-- forgive.sql: ends exclusions that leave nobody. A job is stuck while it is ready and every live
-- agent that could do it is excluded from it; after a while its exclusions are forgotten, and the
-- next time takes twice as long. Digests that were rejected stay banned.
--   $1 live_seconds
--   $2 forgive_seconds
WITH held AS (
    SELECT j.seq, j.stuck_at, j.forgiven,
           count(a.id) > 0 AND bool_and(a.id = ANY (j.excluded_agents)) AS stuck
    FROM unnest(ARRAY(
        SELECT seq FROM job
        WHERE state = 'ready' AND excluded_agents <> '{}'
        ORDER BY seq LIMIT 1000
        FOR UPDATE SKIP LOCKED
    )) AS found (seq)
    CROSS JOIN LATERAL (SELECT * FROM job WHERE job.seq = found.seq OFFSET 0) AS j
    LEFT JOIN agent a
      ON a.tenant = j.tenant AND a.quarantined_at IS NULL AND a.draining_by IS NULL AND a.class >= j.class
     AND a.last_seen_at > now() - make_interval(secs => $1)
     AND a.able @> ARRAY[j.kind || '/' || j.version]
    GROUP BY j.seq, j.stuck_at, j.forgiven
), decided AS (
    SELECT seq, coalesce(stuck, false) AS stuck,
           coalesce(stuck AND stuck_at <= now() - make_interval(secs => $2 * 2 ^ least(forgiven, 10)),
                    false) AS forgive
    FROM held
)
UPDATE job
SET stuck_at = CASE WHEN d.stuck AND NOT d.forgive THEN coalesce(job.stuck_at, now()) END,
    excluded_agents = CASE WHEN d.forgive THEN '{}' ELSE job.excluded_agents END,
    forgiven = job.forgiven + d.forgive::integer
FROM decided d
WHERE job.seq = d.seq AND (d.forgive OR d.stuck <> (job.stuck_at IS NOT NULL))
RETURNING job.id, d.forgive
