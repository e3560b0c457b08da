-- second_bound.sql: lets second leases that end later than any that is given now end as if they were, as
-- lease_bound.sql does.
--   $1 lease
UPDATE second_lease SET expires_at = now() + make_interval(secs => $1::bigint / 1000.0)
WHERE job = ANY (ARRAY(
    SELECT job FROM second_lease
    WHERE expires_at > now() + make_interval(secs => $1::bigint / 1000.0)
    FOR UPDATE SKIP LOCKED
))
