-- tokens.sql: every token of a tenant, the oldest first; of all tenants where none is given.
--   $1 tenant
SELECT label, role, fleet, tenant, agent, certificate, requests_per_second, connections, rejected,
       revoked_at IS NOT NULL AS revoked,
       suspended_at IS NOT NULL AS suspended,
       coalesce(expires_at <= now(), false) AS expired,
       (extract(epoch FROM created_at) * 1000)::bigint AS created_ms,
       (extract(epoch FROM expires_at) * 1000)::bigint AS expires_ms,
       CASE WHEN previous_until > now() THEN (extract(epoch FROM previous_until) * 1000)::bigint END AS previous_ms
FROM token
WHERE $1::text IS NULL OR tenant = $1
ORDER BY created_at, label
