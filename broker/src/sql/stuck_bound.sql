-- stuck_bound.sql: jobs that were found in the future to exclude everybody were found so now: the clock was set back since.
-- Their exclusions would not be forgiven until then. None that is locked is passed over, since forgive.sql locks all of
-- them and this runs once: it waits as long as its caller allows, and runs again where that is not enough.
UPDATE job SET stuck_at = now()
WHERE seq = ANY (ARRAY(
    SELECT seq FROM job
    WHERE state = 'ready' AND excluded_agents <> '{}' AND stuck_at > now()
    ORDER BY seq
    FOR UPDATE
))
