-- name_acquire.sql: grants a name that is free, has expired, or is held by the caller's own incarnation. The fence
-- grows each time, and is never below the milliseconds of this clock: who keeps fences must not see smaller ones
-- after the database was lost or restored.
--   $1 tenant
--   $2 name
--   $3 holder
--   $4 ttl
--   $5 incarnation
INSERT INTO named_lease AS l (tenant, name, holder, incarnation, fence, expires_at)
VALUES ($1, $2, $3, $5, (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
        now() + make_interval(secs => $4::bigint / 1000.0))
ON CONFLICT (tenant, name) DO UPDATE
SET holder = excluded.holder, incarnation = excluded.incarnation,
    fence = greatest(l.fence + 1, excluded.fence), expires_at = excluded.expires_at
WHERE l.holder IS NULL OR l.expires_at <= now()
   OR (l.holder = excluded.holder AND l.incarnation = excluded.incarnation)
RETURNING holder, incarnation, fence,
          (extract(epoch FROM expires_at - now()) * 1000)::bigint AS expires_in_ms
