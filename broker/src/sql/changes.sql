-- changes.sql: the jobs of an epoch that changed in a way that their producer must see, oldest change first, with
-- the snapshot they were read under. A change is seen by the snapshot `seen` or it is not, whatever the order in
-- which transactions end, so that none is missed and none comes twice. A page goes on after a change and a job,
-- under the snapshot `until` of the first page. The first row has the snapshot also when there is no job.
--   $1 tenant
--   $2 epoch
--   $3 seen
--   $4 until
--   $5 after_change
--   $6 after_seq
--   $7 most
SELECT coalesce($4::text, pg_current_snapshot()::text) AS until, j.seq, j.id, j.change
FROM (SELECT 1) AS always
LEFT JOIN LATERAL (
    SELECT seq, id, coalesce(change, 0) AS change FROM job
    WHERE tenant = $1 AND epoch = $2
      AND (change IS NOT NULL OR state IN ('done', 'dead', 'cancelled', 'input_wanted'))
      AND (coalesce(change, 0), seq) > ($5, $6)
      AND NOT coalesce(pg_visible_in_snapshot(coalesce(change, 0)::text::xid8, $3::text::pg_snapshot), false)
      AND coalesce(pg_visible_in_snapshot(coalesce(change, 0)::text::xid8, $4::text::pg_snapshot), true)
    ORDER BY coalesce(change, 0), seq
    LIMIT $7
) AS j ON true
