-- bearers.sql: the secrets that open the broker, or would if their token were not suspended. A token of a certificate that
-- a release before certificates gave a secret is opened by that alone: what it had before is the name of its certificate,
-- which may be another token's by now.
SELECT s.hash, t.label, t.role, t.fleet, t.tenant, t.agent, t.requests_per_second, t.connections,
       t.suspended_at IS NOT NULL AS suspended,
       extract(epoch FROM t.expires_at)::bigint AS expires
FROM token AS t
CROSS JOIN LATERAL (
    SELECT t.hash
    UNION ALL
    SELECT t.previous_hash WHERE t.previous_until > now() AND t.previous_hash IS NOT NULL AND t.certificate IS NULL
) AS s (hash)
WHERE t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
