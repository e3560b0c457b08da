-- token_charge.sql: counts a wrong proof against the token of its agent, and suspends it at the last one allowed. A
-- token that does more than prove is not charged.
--   $1 label
--   $2 role
--   $3 rejections_max
--   $4 tenant
UPDATE token
SET rejected = rejected + 1,
    suspended_at = CASE WHEN rejected + 1 >= $3 THEN coalesce(suspended_at, now()) ELSE suspended_at END
WHERE label = $1 AND role = $2 AND tenant = $4 AND revoked_at IS NULL
RETURNING rejected = $3 AS suspended
