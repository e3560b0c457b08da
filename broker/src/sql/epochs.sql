-- epochs.sql: the newest epochs of a tenant, without those that it dropped.
--   $1 tenant
--   $2 most
SELECT number, generation, state, outcome, swept_at IS NOT NULL AS swept, forgotten,
       (extract(epoch FROM opened_at) * 1000)::bigint AS opened_ms,
       (extract(epoch FROM closed_at) * 1000)::bigint AS closed_ms
FROM epoch WHERE tenant = $1 AND NOT (state = 'gone' AND forgotten)
ORDER BY number DESC
LIMIT $2
