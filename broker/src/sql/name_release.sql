-- name_release.sql: releases a name. The row stays, so that its fence keeps growing.
--   $1 tenant
--   $2 name
--   $3 holder
--   $4 fence
--   $5 incarnation
UPDATE named_lease SET holder = NULL, incarnation = NULL, expires_at = now()
WHERE tenant = $1 AND name = $2 AND holder = $3 AND fence = $4 AND incarnation = $5
