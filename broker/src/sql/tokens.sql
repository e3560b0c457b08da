-- tokens.sql: every token of a tenant, the oldest first; of all tenants where none is given. A certificate stands for one
-- as token_certificate.sql says, and nothing that bearers.sql passes over is shown as valid.
--   $1 tenant
SELECT label, role, fleet, tenant, agent, CASE WHEN previous_hash IS NULL THEN certificate END AS certificate,
       requests_per_second, connections, rejected,
       revoked_at IS NOT NULL AS revoked,
       suspended_at IS NOT NULL AS suspended,
       coalesce(expires_at <= now(), false) AS expired,
       (extract(epoch FROM created_at) * 1000)::bigint AS created_ms,
       (extract(epoch FROM expires_at) * 1000)::bigint AS expires_ms,
       CASE WHEN previous_until > now() AND certificate IS NULL
            THEN (extract(epoch FROM previous_until) * 1000)::bigint END AS previous_ms
FROM token
WHERE $1::text IS NULL OR tenant = $1
ORDER BY created_at, label
