-- list.sql: the newest jobs that match, or the newest of those that are older than a named one; none if that is unknown.
--   $1 tenant
--   $2 state
--   $3 epoch
--   $4 label
--   $5 value
--   $6 before
--   $7 most
SELECT id FROM job
WHERE tenant = $1 AND ($2::text IS NULL OR state = $2) AND ($3::bigint IS NULL OR epoch = $3)
  AND ($4::text IS NULL OR labels ->> $4::text = $5)
  AND seq < CASE WHEN $6::text IS NULL THEN 9223372036854775807
                 ELSE (SELECT seq FROM job WHERE tenant = $1 AND id = $6) END
ORDER BY seq DESC LIMIT $7
