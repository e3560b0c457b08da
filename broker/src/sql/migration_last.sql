-- migration_last.sql: the last migration that the database records.
SELECT max(version) AS version FROM _sqlx_migrations
