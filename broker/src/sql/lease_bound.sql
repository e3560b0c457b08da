-- lease_bound.sql: lets leases that end later than any that is granted now end as if they were. The clock was set
-- back since they were granted or kept. hard_limit_seconds is the limit of jobs that name none.
--   $1 lease
--   $2 hard_limit_seconds
UPDATE job
SET lease_expires_at = now() + least(
        make_interval(secs => $1::bigint / 1000.0),
        make_interval(secs => coalesce(hard_limit_seconds, $2))),
    hard_limit_at = least(hard_limit_at, now() + make_interval(secs => coalesce(hard_limit_seconds, $2)))
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE state = 'leased' AND lease_expires_at > now() + make_interval(secs => $1::bigint / 1000.0)
    ORDER BY lease_expires_at
    FOR UPDATE SKIP LOCKED
))
