-- scrub_again.sql: ends a pass. The next one begins at the beginning, once pass is over since this one began.
--   $1 pass
UPDATE scrub
SET tenant = DEFAULT, digest = DEFAULT, epoch = DEFAULT, passes = passes + 1,
    started_at = greatest(now(), started_at + make_interval(secs => $1::bigint / 1000.0)),
    due_at = greatest(now(), started_at + make_interval(secs => $1::bigint / 1000.0))
