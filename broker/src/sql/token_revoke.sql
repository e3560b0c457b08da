-- token_revoke.sql: ends a token's validity, for both of its secrets.
--   $1 label
--   $2 tenant
UPDATE token SET revoked_at = now(), previous_hash = NULL, previous_until = NULL
WHERE label = $1 AND revoked_at IS NULL AND ($2::text IS NULL OR tenant = $2)
RETURNING tenant
