-- scrub_bound.sql: lets the scrubber go on now if it would wait for longer than a pass: the clock was set back since.
--   $1 pass
UPDATE scrub SET started_at = least(started_at, now()), due_at = now()
WHERE due_at > now() + make_interval(secs => $1::bigint / 1000.0)
