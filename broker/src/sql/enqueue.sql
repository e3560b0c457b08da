-- enqueue.sql: adds jobs of epochs that are open. A known one that is not done takes over rank, labels and deadline, and the
-- class where it is larger (memory may have shown that the job needs more than its producer knew). A
-- cancelled one is reopened for every agent, with a fresh budget and no result banned, since its producer may
-- be another release by now; one whose deadline passed and now lies ahead is reopened as it was.
-- Locks: the epochs, then the known jobs in the order of their numbers, as replay.sql, cancel.sql and others that wait
-- for several jobs; then new jobs in the order of their ids, which two producers of one batch share.
--   $1 tenant
--   $2 ids
--   $3 kinds
--   $4 versions
--   $5 epochs
--   $6 ranks
--   $7 sizes
--   $8 inputs
--   $9 labels
--   $10 hard_limits
--   $11 deadlines
--   $12 paths
WITH held AS MATERIALIZED (
    SELECT number FROM epoch
    WHERE tenant = $1 AND number = ANY ($5::bigint[]) AND state || '' = 'open'
    ORDER BY number
    FOR KEY SHARE
), existing AS MATERIALIZED (
    SELECT seq, state FROM job
    WHERE seq = ANY (ARRAY(
        SELECT found.seq FROM unnest($2::text[]) AS asked (id)
        CROSS JOIN LATERAL (
            SELECT j.seq, j.epoch FROM job AS j WHERE j.tenant = $1 AND j.id = asked.id
            OFFSET 0
        ) AS found
        WHERE found.epoch = ANY (ARRAY(SELECT number FROM held))
    ))
    ORDER BY seq + 0
    FOR NO KEY UPDATE
), reopened AS (
    UPDATE attempt SET counted = false
    WHERE counted
      AND job = ANY (ARRAY(SELECT existing.seq FROM existing WHERE existing.state = 'cancelled'))
)
INSERT INTO job (tenant, id, kind, version, epoch, rank, class, input, labels, hard_limit_seconds, deadline_at, path_ms)
SELECT $1, n.id, n.kind, n.version, n.epoch, n.rank, n.class, n.input, n.labels::jsonb,
       n.hard_limit_seconds, to_timestamp(n.deadline), n.path_ms
FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::smallint[], $8::bytea[],
            $9::text[], $10::integer[], $11::double precision[], $12::integer[])
     AS n (id, kind, version, epoch, rank, class, input, labels, hard_limit_seconds, deadline, path_ms)
JOIN held ON held.number = n.epoch
WHERE (SELECT count(*) FROM existing) >= 0 -- always true: all locks are taken before the first row
ORDER BY n.id COLLATE "C"
ON CONFLICT (tenant, id) DO UPDATE
SET rank = excluded.rank,
    path_ms = excluded.path_ms,
    labels = excluded.labels,
    class = greatest(job.class, excluded.class),
    deadline_at = coalesce(excluded.deadline_at, job.deadline_at),
    excluded_agents = CASE WHEN job.state = 'cancelled' THEN '{}' ELSE job.excluded_agents END,
    (state, ready_at, finished_at, stuck_at) = (
        SELECT CASE WHEN again THEN 'ready' ELSE job.state END,
               CASE WHEN again THEN now() ELSE job.ready_at END,
               CASE WHEN again THEN NULL ELSE job.finished_at END,
               CASE WHEN again THEN NULL ELSE job.stuck_at END
        FROM (SELECT job.state = 'cancelled'
                  OR (job.state = 'dead' AND job.failure_class = 'past_deadline'
                      AND coalesce(excluded.deadline_at, job.deadline_at) > now())) AS known (again))
WHERE job.version = excluded.version AND job.state <> 'done'
  AND (job.state = 'cancelled'
       OR (job.rank, job.path_ms, job.labels, job.class, job.deadline_at) IS DISTINCT FROM
          (excluded.rank, excluded.path_ms, excluded.labels, greatest(job.class, excluded.class),
           coalesce(excluded.deadline_at, job.deadline_at)))
