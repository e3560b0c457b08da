-- audit_list.sql: what was done in a tenant, the newest first; in all where none is given.
--   $1 tenant
--   $2 before
--   $3 most
SELECT id, (extract(epoch FROM at) * 1000)::bigint AS at_ms, tenant, label, action, detail
FROM audit
WHERE id < $2 AND ($1::text IS NULL OR tenant = $1)
ORDER BY id DESC LIMIT $3
