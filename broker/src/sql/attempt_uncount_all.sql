-- attempt_uncount_all.sql: gives jobs a fresh budget: no attempt so far counts.
--   $1 jobs
UPDATE attempt SET counted = false WHERE job = ANY ($1)
