-- epochs_due.sql: the epochs that retention is to end, sweep or forget, of every tenant, those with the lowest numbers
-- first.
--   $1 final_seconds
--   $2 given_up_seconds
--   $3 grace_seconds
--   $4 tombstone_seconds
--   $5 most
SELECT tenant, number, state, outcome,
       state = 'gone' AND gone_at < now() - make_interval(secs => $4) AS forget
FROM epoch
WHERE (state = 'closing' AND closed_at < now() - make_interval(secs => greatest($3::float8, CASE outcome
           WHEN 'final' THEN $1::float8 WHEN 'superseded' THEN $2::float8 WHEN 'given_up' THEN $2::float8
           ELSE $3::float8 END)))
   OR (state = 'gone' AND (swept_at IS NULL OR gone_at < now() - make_interval(secs => $4)))
ORDER BY number, tenant
LIMIT $5
