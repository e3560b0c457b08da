-- stuck_bound.sql: jobs that were found in the future to exclude everybody were found so now: the clock was set back since.
-- Their exclusions would not be forgiven until then.
UPDATE job SET stuck_at = now()
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE state = 'ready' AND excluded_agents <> '{}' AND stuck_at > now()
    FOR UPDATE SKIP LOCKED
))
