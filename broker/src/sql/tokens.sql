-- tokens.sql: every token, the oldest first.
SELECT label, role, tenant, revoked_at IS NOT NULL AS revoked FROM token ORDER BY created_at
