-- token_charge.sql: counts a wrong proof against the token of its agent, and suspends it at the last one allowed. After
-- a day without one the count begins anew, or a large farm would be suspended in time for what single cards did over
-- years. A token that does more than prove is not charged.
--   $1 label
--   $2 role
--   $3 rejections_max
--   $4 tenant
WITH counted AS MATERIALIZED (
    SELECT hash, CASE WHEN rejected_at > now() - interval '1 day' THEN rejected + 1 ELSE 1 END AS count
    FROM token
    WHERE label = $1 AND role = $2 AND tenant = $4 AND revoked_at IS NULL
    FOR UPDATE
)
UPDATE token AS t
SET rejected = counted.count, rejected_at = now(),
    suspended_at = CASE WHEN counted.count >= $3 THEN coalesce(t.suspended_at, now()) ELSE t.suspended_at END
FROM counted
WHERE t.hash = counted.hash
RETURNING t.rejected = $3 AS suspended
