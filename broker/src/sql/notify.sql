-- notify.sql: wakes the other replicas.
--   $1 channel
--   $2 payload
SELECT FROM pg_notify($1, $2)
