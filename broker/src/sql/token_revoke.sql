-- token_revoke.sql: ends a token's validity, for both of its secrets. The name of a certificate is free again: the hash that
-- takes its place is that of nothing.
--   $1 label
--   $2 tenant
UPDATE token SET revoked_at = now(), previous_hash = NULL, previous_until = NULL,
    hash = CASE WHEN certificate IS NULL THEN hash ELSE sha256(hash || convert_to(label, 'UTF8')) END
WHERE label = $1 AND revoked_at IS NULL AND ($2::text IS NULL OR tenant = $2)
RETURNING tenant
