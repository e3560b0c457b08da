-- agent_bound.sql: agents that were seen in the future were seen now: the clock was set back since. One that is gone would
-- count as live until then, and keep its identity from another installation. Locked in the order of agent_admit_many.sql,
-- by expressions, so that the index of the condition is read and not that of the order. By their places, as in
-- agents_forget.sql; one that is seen meanwhile has another place, and stays as it is.
UPDATE agent SET last_seen_at = now()
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM agent
    WHERE last_seen_at > now()
    ORDER BY tenant || '', id || ''
    FOR NO KEY UPDATE
))
