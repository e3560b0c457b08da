-- schema.sql: the schema that the broker uses.
SELECT current_schema()::text AS name
