-- server_version.sql: the version of the server, as a number and as text.
SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS text
