-- name_bound.sql: lets a named lease that ends later than if it were given now end as if it were. The clock was set back
-- since it was given or renewed. By the time of the statement: to a transaction that began before a renewal and stopped
-- meanwhile, the renewed lease would seem to end too late by its own now(), and would end before its holder expects it.
--   $1 tenant
--   $2 name
UPDATE named_lease SET expires_at = clock_timestamp() + make_interval(secs => ttl_seconds)
WHERE tenant = $1 AND name = $2 AND expires_at > clock_timestamp() + make_interval(secs => ttl_seconds)
