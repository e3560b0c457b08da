-- promote.sql: makes jobs ready whose backoff has passed.
--   $1 most
UPDATE job SET state = 'ready'
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE state = 'delayed' AND ready_at <= now()
    ORDER BY ready_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
))
