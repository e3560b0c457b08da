-- name_holder.sql: who holds a name.
--   $1 tenant
--   $2 name
SELECT holder, incarnation, fence,
       (extract(epoch FROM expires_at - now()) * 1000)::bigint AS expires_in_ms
FROM named_lease WHERE tenant = $1 AND name = $2
