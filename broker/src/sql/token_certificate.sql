-- token_certificate.sql: the name in the certificate that stands for a token; NULL where it has a secret. It stays so for
-- the caller's transaction.
--   $1 label
--   $2 tenant
SELECT certificate FROM token
WHERE label = $1 AND revoked_at IS NULL AND ($2::text IS NULL OR tenant = $2)
FOR UPDATE
