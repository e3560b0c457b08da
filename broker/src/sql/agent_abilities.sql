-- agent_abilities.sql: what the agents seen within a day can do, of every tenant, without those in quarantine and those
-- that were asked to leave.
SELECT tenant, able, class, extract(epoch FROM now() - last_seen_at)::float8 AS seen_seconds
FROM agent
WHERE quarantined_at IS NULL AND draining_by IS NULL AND last_seen_at > now() - interval '1 day'
