-- second_free.sql: deletes second leases that ran out, and those of jobs that need no result any more, and counts those
-- that are left. One that a heartbeat moves at the same time stays, and counts. Under the lock of second_lock.sql, so that
-- none comes meanwhile.
--   $1 states
WITH ended AS MATERIALIZED (
    SELECT s.job FROM second_lease AS s
    WHERE s.expires_at <= now()
       OR (SELECT NOT (job.state || '' = ANY ($1)) FROM job WHERE job.seq = s.job)
    FOR UPDATE OF s SKIP LOCKED
), deleted AS (
    DELETE FROM second_lease
    WHERE second_lease.job = ANY (ARRAY(SELECT ended.job FROM ended))
)
SELECT count(*) - (SELECT count(*) FROM ended) AS count FROM second_lease
