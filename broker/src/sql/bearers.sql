-- bearers.sql: the valid tokens.
SELECT hash, label, role, tenant FROM token WHERE revoked_at IS NULL
