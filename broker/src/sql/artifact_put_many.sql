-- artifact_put_many.sql: stores small artifacts with their bodies in epochs that are open, repairs bodies that differ,
-- and makes the jobs ready that wait for them as their input. Returns each with whether its epoch is open, and the number
-- of those jobs.
--   $1 tenants
--   $2 digests
--   $3 epochs
--   $4 bodies
--   $5 place
WITH sent AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bytea[])
        WITH ORDINALITY AS s (tenant, digest, epoch, body, place)
), held AS MATERIALIZED (
    SELECT e.tenant, e.number
    FROM (SELECT DISTINCT tenant, epoch FROM sent ORDER BY tenant, epoch) AS s
    JOIN epoch AS e ON e.tenant = s.tenant AND e.number = s.epoch
    WHERE e.state || '' = 'open'
    FOR KEY SHARE OF e
), kept AS MATERIALIZED (
    SELECT s.* FROM sent AS s JOIN held AS h ON h.tenant = s.tenant AND h.number = s.epoch
), bodies AS (
    INSERT INTO artifact_body (tenant, digest, epoch, body)
    SELECT tenant, digest, epoch, body FROM kept ORDER BY epoch, tenant, digest
    ON CONFLICT (epoch, tenant, digest) DO UPDATE SET body = excluded.body
    WHERE artifact_body.body <> excluded.body
), stored AS (
    INSERT INTO artifact (tenant, digest, epoch, bytes, place)
    SELECT tenant, digest, epoch, octet_length(body), $5 FROM kept ORDER BY tenant, digest, epoch
    ON CONFLICT (tenant, digest, epoch) DO NOTHING
), woken AS (
    UPDATE job SET state = 'ready', ready_at = now()
    WHERE state || '' = 'input_wanted' AND seq = ANY (ARRAY(
        SELECT j.seq FROM kept AS s
        CROSS JOIN LATERAL (
            SELECT seq FROM job
            WHERE job.tenant = s.tenant AND job.input = s.digest AND job.state = 'input_wanted'
            OFFSET 0 -- one index lookup for each artifact, also where the table is small
        ) AS j))
    RETURNING tenant, input
)
SELECT s.place, h.number IS NOT NULL AS is_open,
       (SELECT count(*) FROM woken WHERE woken.tenant = s.tenant AND woken.input = s.digest) AS made_ready
FROM sent AS s
LEFT JOIN held AS h ON h.tenant = s.tenant AND h.number = s.epoch
