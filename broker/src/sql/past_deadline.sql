-- past_deadline.sql: dead-letters the jobs that wait beyond their deadline. Enqueueing one again
-- with a later deadline reopens it (enqueue.sql). A leased one may still be completed.
--   $1 failure
--   $2 most
UPDATE job
SET state = 'dead', finished_at = now(), stuck_at = NULL,
    failure_class = $1, failure_message = 'its deadline passed before it was done'
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE state IN ('ready', 'delayed', 'input_wanted') AND deadline_at <= now()
    ORDER BY deadline_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
))
RETURNING id
