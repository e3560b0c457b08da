-- pause_bound.sql: ends backoffs that last for longer than any that begins now. The clock was set back since they
-- began.
--   $1 longest
UPDATE job SET ready_at = now()
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE state = 'delayed' AND ready_at > now() + make_interval(secs => $1::bigint / 1000.0)
    ORDER BY ready_at
    FOR UPDATE SKIP LOCKED
))
