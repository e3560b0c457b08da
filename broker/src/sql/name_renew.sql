-- name_renew.sql: extends a name held under this fence. One that has expired but that nobody acquired is still
-- held.
--   $1 tenant
--   $2 name
--   $3 holder
--   $4 fence
--   $5 ttl
--   $6 incarnation
UPDATE named_lease
SET expires_at = now() + make_interval(secs => $5::bigint / 1000.0)
WHERE tenant = $1 AND name = $2 AND holder = $3 AND fence = $4 AND incarnation = $6
RETURNING holder, incarnation, fence,
          (extract(epoch FROM expires_at - now()) * 1000)::bigint AS expires_in_ms
