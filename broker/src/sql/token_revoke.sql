-- token_revoke.sql: ends a token's validity.
--   $1 label
UPDATE token SET revoked_at = now() WHERE label = $1 AND revoked_at IS NULL
