-- epochs_count.sql: how many epochs there are in each state, of every tenant.
SELECT state, count(*) AS count FROM epoch GROUP BY state
