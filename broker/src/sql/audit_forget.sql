-- audit_forget.sql: forgets the oldest records of what operators and producers did.
--   $1 seconds
--   $2 most
DELETE FROM audit
WHERE id IN (
    SELECT id FROM audit WHERE at < now() - make_interval(secs => $1)
    ORDER BY id
    LIMIT $2
)
