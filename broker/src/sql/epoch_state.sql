-- epoch_state.sql: an epoch, if its tenant ever opened it.
--   $1 tenant
--   $2 number
SELECT number, generation, state, outcome, swept_at IS NOT NULL AS swept, forgotten,
       (extract(epoch FROM opened_at) * 1000)::bigint AS opened_ms,
       (extract(epoch FROM closed_at) * 1000)::bigint AS closed_ms
FROM epoch WHERE tenant = $1 AND number = $2
