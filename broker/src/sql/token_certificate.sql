-- token_certificate.sql: the name in the certificate that stands for a token; NULL where it has a secret, also one that a
-- release before certificates gave it: only a rotation leaves a hash before. It stays so for the caller's transaction.
--   $1 label
--   $2 tenant
SELECT CASE WHEN previous_hash IS NULL THEN certificate END AS certificate FROM token
WHERE label = $1 AND revoked_at IS NULL AND ($2::text IS NULL OR tenant = $2)
FOR UPDATE
