-- partitions.sql: how many tables of bodies there are, one for each epoch with a body in the database, and of how many
-- every tenant's epoch is gone, so that retention has yet to drop them.
SELECT count(*) AS present, count(*) FILTER (WHERE kept.part IS NULL) AS due
FROM pg_inherits
JOIN pg_class ON pg_class.oid = pg_inherits.inhrelid
LEFT JOIN (
    SELECT DISTINCT 'artifact_body_' || number AS part FROM epoch WHERE state IN ('open', 'closing')
) AS kept ON kept.part = pg_class.relname::text
WHERE pg_inherits.inhparent = 'artifact_body'::regclass
