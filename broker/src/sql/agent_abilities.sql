-- agent_abilities.sql: what the agents seen within a day and not in quarantine can do, of every tenant.
SELECT tenant, able, class, extract(epoch FROM now() - last_seen_at)::float8 AS seen_seconds
FROM agent
WHERE quarantined_at IS NULL AND last_seen_at > now() - interval '1 day'
