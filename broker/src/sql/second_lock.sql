-- second_lock.sql: one replica at a time gives second leases, or two of them would give more than may be. Heartbeats and
-- ends of second leases do not wait for it.
SELECT FROM pg_advisory_xact_lock(hashtext('rollmill_second_lease'), hashtext(current_schema()))
