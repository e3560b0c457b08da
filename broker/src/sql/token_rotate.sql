-- token_rotate.sql: gives a valid token another secret. The one before stays valid for the overlap, but not longer
-- than it was. Suspensions and limits stay. A name of a certificate that no longer stands for it goes.
--   $1 label
--   $2 hash
--   $3 overlap_seconds
--   $4 valid_seconds
--   $5 tenant
UPDATE token
SET previous_hash = hash, hash = $2, certificate = NULL,
    previous_until = least(now() + make_interval(secs => $3::double precision), expires_at),
    expires_at = coalesce(now() + make_interval(secs => $4::double precision), expires_at)
WHERE label = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
  AND ($5::text IS NULL OR tenant = $5)
RETURNING tenant
