-- migrations_recorded.sql: whether the database records migrations.
SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS found
