-- schema_oldest.sql: the last migration that a release must know to run on this schema.
SELECT oldest FROM schema_release
