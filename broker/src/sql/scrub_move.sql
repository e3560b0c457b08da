-- scrub_move.sql: moves the scrubber behind the last copy that was taken. pause is what the bytes take at its rate.
--   $1 tenant
--   $2 digest
--   $3 epoch
--   $4 pause
UPDATE scrub
SET tenant = $1, digest = $2, epoch = $3, due_at = now() + make_interval(secs => $4::bigint / 1000.0)
