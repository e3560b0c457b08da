-- epoch_bound.sql: what was done to epochs in the future was done now: the clock was set back since. They would be kept for
-- as long as it was set by. An upload to one locks its key alone, and does not keep it from this. It waits for others as
-- stuck_bound.sql does.
UPDATE epoch
SET opened_at = least(opened_at, now()),
    closed_at = CASE WHEN closed_at > now() THEN now() ELSE closed_at END,
    gone_at = CASE WHEN gone_at > now() THEN now() ELSE gone_at END
WHERE (tenant, number) IN (
    SELECT tenant, number FROM epoch
    WHERE opened_at > now() OR closed_at > now() OR gone_at > now()
    ORDER BY tenant, number
    FOR NO KEY UPDATE
)
