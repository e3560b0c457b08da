-- view.sql: jobs as shown to producers and people, in the order asked for.
--   $1 tenant
--   $2 jobs
SELECT j.id, j.version, j.rank, j.class, j.state, j.attempts, j.lease_epoch, j.lease_holder,
       (extract(epoch FROM j.lease_expires_at - now()) * 1000)::bigint AS expires_in_ms,
       j.progress, j.result, j.result_agent, j.stats::text AS stats, j.labels::text AS labels,
       j.failure_class, j.failure_message,
       (extract(epoch FROM j.created_at) * 1000)::bigint AS created_ms,
       (extract(epoch FROM j.finished_at) * 1000)::bigint AS finished_ms
FROM unnest($2::text[]) WITH ORDINALITY AS asked (id, place)
CROSS JOIN LATERAL (
    SELECT * FROM job WHERE job.tenant = $1 AND job.id = asked.id
    OFFSET 0 -- one index lookup for each job, also by a plan of when there were none
) AS j
ORDER BY asked.place
