-- attempt_reopen.sql: gives cancelled jobs that their producer adds again a fresh budget, and ends the ban of
-- results that were rejected.
--   $1 tenant
--   $2 ids
UPDATE attempt SET counted = false
WHERE counted
  AND job IN (SELECT seq FROM job WHERE tenant = $1 AND id = ANY ($2) AND state = 'cancelled')
