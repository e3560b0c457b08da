-- kept_bytes.sql: space of the bodies in the database, with their indexes, and bytes in the object store.
SELECT (SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint FROM pg_inherits
        WHERE inhparent = 'artifact_body'::regclass) AS rows,
       (SELECT coalesce(sum(bytes), 0)::bigint FROM artifact WHERE place = 'object') AS objects
