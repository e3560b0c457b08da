-- enqueue.sql: adds jobs; a known one stays as it is, but for a cancelled one, which is wanted
-- again, and a new rank of one that waits. Returns the ids that became ready.
--   $1 tenant   $2.. columns, one array each
INSERT INTO job (tenant, id, kind, version, epoch, rank, class, input, labels, hard_limit_seconds, deadline_at)
SELECT $1, n.id, n.kind, n.version, n.epoch, n.rank, n.class, n.input, n.labels::jsonb,
       n.hard_limit_seconds, to_timestamp(n.deadline)
FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::smallint[], $8::bytea[],
            $9::text[], $10::integer[], $11::double precision[])
     AS n (id, kind, version, epoch, rank, class, input, labels, hard_limit_seconds, deadline)
ON CONFLICT (tenant, id) DO UPDATE
SET rank = excluded.rank,
    state = 'ready',
    ready_at = CASE WHEN job.state = 'ready' THEN job.ready_at ELSE now() END,
    finished_at = NULL
WHERE job.version = excluded.version
  AND (job.state = 'cancelled' OR (job.state = 'ready' AND job.rank <> excluded.rank))
RETURNING id
