-- epoch_open.sql: opens an epoch that is new, is closing, or is gone and swept; the last as a new generation. Does nothing,
-- and returns nothing, where it is open already, is not swept yet, or the tenant has `most` others open.
--   $1 tenant
--   $2 number
--   $3 most
INSERT INTO epoch (tenant, number)
SELECT $1, $2
WHERE (SELECT count(*) FROM epoch WHERE tenant = $1 AND state = 'open' AND counted) < $3
ON CONFLICT (tenant, number) DO UPDATE
SET state = 'open', outcome = NULL, counted = true,
    generation = epoch.generation + CASE WHEN epoch.state = 'gone' THEN 1 ELSE 0 END,
    forgotten = false, opened_at = now(), closed_at = NULL, gone_at = NULL, swept_at = NULL
WHERE epoch.state = 'closing' OR epoch.swept_at IS NOT NULL
RETURNING number, generation, state, outcome, swept_at IS NOT NULL AS swept, forgotten,
          (extract(epoch FROM opened_at) * 1000)::bigint AS opened_ms,
          (extract(epoch FROM closed_at) * 1000)::bigint AS closed_ms
