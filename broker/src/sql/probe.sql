-- probe.sql: asks the table of jobs for nothing.
SELECT FROM job LIMIT 1
