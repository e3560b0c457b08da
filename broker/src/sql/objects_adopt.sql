-- objects_adopt.sql: registers another object store in place of the present one.
--   $1 identity
--   $2 name
INSERT INTO object_store (identity, name) VALUES ($1, $2)
ON CONFLICT (one) DO UPDATE SET identity = excluded.identity, name = excluded.name, joined_at = now()
