-- attempt_uncount.sql: takes one attempt out of the budget.
--   $1 job
--   $2 lease_epoch
UPDATE attempt SET counted = false WHERE job = $1 AND lease_epoch = $2
