-- probe.sql: reads the table of jobs and returns no row.
SELECT FROM job LIMIT 1
