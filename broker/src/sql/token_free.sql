-- token_free.sql: gives a revoked token another hash, which is that of nothing, so that the name of its certificate is free.
-- A release before certificates leaves it the old one when it revokes it.
--   $1 hash
UPDATE token SET hash = sha256(hash || convert_to(label, 'UTF8'))
WHERE hash = $1 AND revoked_at IS NOT NULL
