-- session_of.sql: the session of an agent, and whether it is in quarantine.
--   $1 tenant
--   $2 agent
SELECT session, quarantined_at IS NOT NULL AS quarantined FROM agent WHERE tenant = $1 AND id = $2
