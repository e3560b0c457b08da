-- epoch_wanted.sql: whether an epoch has unfinished jobs without this label.
--   $1 tenant
--   $2 number
--   $3 states
--   $4 label
--   $5 value
SELECT EXISTS (
    SELECT 1 FROM job
    WHERE epoch = $2 AND tenant || '' = $1 AND state || '' = ANY ($3)
      AND labels ->> $4 IS DISTINCT FROM $5
) AS found
