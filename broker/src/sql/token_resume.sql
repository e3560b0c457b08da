-- token_resume.sql: ends the suspension of a token that is not revoked, and forgets what led to it.
--   $1 label
--   $2 tenant
UPDATE token AS t
SET suspended_at = NULL, rejected = 0
FROM (SELECT label, suspended_at IS NOT NULL AS suspended FROM token
      WHERE label = $1 AND revoked_at IS NULL AND ($2::text IS NULL OR tenant = $2)
      FOR UPDATE) AS before
WHERE t.label = before.label
RETURNING t.tenant, before.suspended
