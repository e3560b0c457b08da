-- clock.sql: the clock by which leases expire.
SELECT (extract(epoch FROM now()) * 1000)::bigint AS unix_ms
