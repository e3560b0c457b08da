-- epochs_early.sql: the final epoch that was closed first and has had its grace, for the time when the disk is nearly full.
--   $1 grace_seconds
SELECT tenant, number FROM epoch
WHERE state = 'closing' AND outcome = 'final' AND closed_at < now() - make_interval(secs => $1)
ORDER BY closed_at
LIMIT 1
