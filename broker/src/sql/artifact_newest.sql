-- artifact_newest.sql: the newest copy of an artifact, with its body where that lies in the database. The sum hides the
-- order from the planner, as in cancel.sql.
--   $1 tenant
--   $2 digest
SELECT (SELECT b.body FROM artifact_body AS b
        WHERE b.epoch = a.epoch AND b.tenant = a.tenant AND b.digest = a.digest) AS body
FROM artifact AS a
WHERE a.tenant = $1 AND a.digest = $2
ORDER BY a.epoch + 0 DESC
LIMIT 1
