-- audit_forget.sql: forgets the oldest records of what operators and producers did. It looks at the first ones only:
-- where they are young, so is the rest.
--   $1 seconds
--   $2 most
DELETE FROM audit
WHERE id = ANY (ARRAY(SELECT id FROM audit ORDER BY id LIMIT $2))
  AND at < now() - make_interval(secs => $1)
