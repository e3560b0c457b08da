-- name_bound.sql: lets a named lease that ends later than if it were given now end as if it were. The clock was set back
-- since it was given or renewed.
--   $1 tenant
--   $2 name
UPDATE named_lease SET expires_at = now() + make_interval(secs => ttl_seconds)
WHERE tenant = $1 AND name = $2 AND expires_at > now() + make_interval(secs => ttl_seconds)
