-- epoch_drop.sql: forgets the jobs of an epoch, and by the foreign key their attempts.
--   $1 tenant
--   $2 epoch
DELETE FROM job WHERE epoch = $2 AND tenant || '' = $1
