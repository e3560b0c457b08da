-- agent_bound.sql: agents that were seen in the future were seen now: the clock was set back since. One that is gone would
-- count as live until then, and keep its identity from another installation. By their places, as in agents_forget.sql.
UPDATE agent SET last_seen_at = now()
WHERE ctid = ANY (ARRAY(SELECT ctid FROM agent WHERE last_seen_at > now()))
