-- lock_result.sql: locks the done jobs that have this result.
--   $1 tenant
--   $2 result
SELECT seq FROM job
WHERE seq = ANY (ARRAY(SELECT seq FROM job WHERE tenant = $1 AND result = $2 AND state = 'done'))
  AND tenant || '' = $1 AND result || ''::bytea = $2 AND state || '' = 'done'
ORDER BY seq
FOR UPDATE
