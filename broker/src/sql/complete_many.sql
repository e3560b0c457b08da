-- complete_many.sql: completes many jobs that their agents hold, and ends their attempts. What is not as usual (no
-- valid lease, a result that was not uploaded for the job's epoch or was rejected before, an agent in quarantine, a job that is locked)
-- is left alone, and complete.sql judges it. So no job that somebody locks delays the others.
--   $1 tenants
--   $2 jobs
--   $3 agents
--   $4 lease_epochs
--   $5 results
--   $6 stats
--   $7 outcome
WITH offered AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::text[])
        WITH ORDINALITY AS o (tenant, job, agent, lease_epoch, result, stats, place)
), locked AS MATERIALIZED (
    SELECT seq, tenant, id, epoch, lease_epoch, lease_holder, excluded_agents FROM job
    WHERE seq = ANY (ARRAY(
        SELECT j.seq FROM offered AS o
        CROSS JOIN LATERAL (SELECT seq FROM job WHERE job.tenant = o.tenant AND job.id = o.job) AS j
    )) AND state || '' = 'leased'
    ORDER BY seq
    FOR UPDATE SKIP LOCKED
), taken AS MATERIALIZED (
    SELECT DISTINCT ON (l.seq) l.seq, o.place, o.agent, o.lease_epoch, o.result, o.stats
    FROM offered AS o
    JOIN locked AS l ON l.tenant = o.tenant AND l.id = o.job
    WHERE l.lease_epoch = o.lease_epoch AND l.lease_holder = o.agent
      AND NOT (o.agent = ANY (l.excluded_agents))
      AND EXISTS (SELECT 1 FROM artifact AS a
                  WHERE a.tenant = o.tenant AND a.digest = o.result AND a.epoch + 0 = l.epoch
                  OFFSET 0) -- one index lookup for each result, here and below
      AND NOT EXISTS (SELECT 1 FROM agent AS g
                      WHERE g.tenant = o.tenant AND g.id = o.agent AND g.quarantined_at IS NOT NULL
                      OFFSET 0)
      AND NOT EXISTS (SELECT 1 FROM attempt AS t
                      WHERE t.job = l.seq AND t.outcome = 'rejected' AND t.counted AND t.result = o.result
                      OFFSET 0)
    ORDER BY l.seq, o.place
), done AS (
    UPDATE job
    SET state = 'done',
        result = taken.result, result_agent = taken.agent, stats = taken.stats::jsonb,
        lease_holder = NULL, lease_expires_at = NULL, hard_limit_at = NULL, progress = NULL,
        stuck_at = NULL, finished_at = now()
    FROM taken
    WHERE job.seq = taken.seq
    RETURNING taken.place
), ended AS (
    UPDATE attempt SET outcome = $7, result = taken.result, ended_at = now()
    FROM taken
    WHERE attempt.job = taken.seq AND attempt.lease_epoch = taken.lease_epoch AND attempt.agent = taken.agent
)
SELECT place FROM done
