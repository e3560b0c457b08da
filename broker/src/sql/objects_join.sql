-- objects_join.sql: registers the object store of the database, if an identity is given and there is none yet, and
-- returns the one that is registered. Of brokers that do this at once the first one's stays.
--   $1 identity
--   $2 name
WITH known AS MATERIALIZED (
    SELECT identity, name FROM object_store
), joined AS (
    INSERT INTO object_store (identity, name) SELECT $1, $2 WHERE $1::text IS NOT NULL
    ON CONFLICT (one) DO UPDATE SET one = object_store.one
    RETURNING identity, name
)
SELECT identity, name FROM joined
UNION ALL
SELECT identity, name FROM known WHERE $1::text IS NULL
