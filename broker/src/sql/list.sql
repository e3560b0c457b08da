-- list.sql: the newest jobs that match.
--   $1 tenant
--   $2 state
--   $3 epoch
--   $4 label
--   $5 value
--   $6 most
SELECT id FROM job
WHERE tenant = $1 AND ($2::text IS NULL OR state = $2) AND ($3::bigint IS NULL OR epoch = $3)
  AND ($4::text IS NULL OR labels ->> $4::text = $5)
ORDER BY seq DESC LIMIT $6
