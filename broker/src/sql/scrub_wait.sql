-- scrub_wait.sql: how long nothing may be taken. Negative while another replica takes what is due.
SELECT extract(epoch FROM due_at - now())::float8 AS wait_seconds FROM scrub
