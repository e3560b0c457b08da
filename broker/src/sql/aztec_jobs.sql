-- aztec_jobs.sql: jobs as Aztec's clients see them, in the order asked for.
--   $1 tenant
--   $2 jobs
SELECT j.id, j.version, j.state, j.attempts, j.input, j.result, j.lease_epoch, j.lease_holder,
       j.failure_message, (extract(epoch FROM j.created_at) * 1000)::bigint AS created_ms
FROM unnest($2::text[]) WITH ORDINALITY AS asked (id, place)
JOIN job j ON j.tenant = $1 AND j.id = asked.id
ORDER BY asked.place
