-- probe.sql: changes nothing in the table of jobs. It succeeds only where that could be changed: not while the table is
-- locked, and not on a server that became a standby.
UPDATE job SET rank = rank WHERE false
