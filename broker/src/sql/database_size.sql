-- database_size.sql: what the database holds, and how long the oldest transaction has kept dead rows from being
-- removed. A role without pg_read_all_stats sees transactions of its own role only.
SELECT pg_database_size(current_database()) AS bytes,
       (SELECT coalesce(sum(n_live_tup), 0)::int8 FROM pg_stat_user_tables) AS live_rows,
       (SELECT coalesce(sum(n_dead_tup), 0)::int8 FROM pg_stat_user_tables) AS dead_rows,
       (SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8
        FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'
          AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
          AND pid <> pg_backend_pid()) AS oldest_snapshot_seconds
