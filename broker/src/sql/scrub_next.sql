-- scrub_next.sql: the next copies of artifacts in the order of their key, whatever the state of their epochs: those of
-- epochs that are not open are passed over, and the limit counts them too, or one look could read all of them.
--   $1 tenant
--   $2 digest
--   $3 epoch
--   $4 most
SELECT a.tenant, a.digest, a.epoch, a.bytes,
       coalesce((SELECT e.state || '' = 'open' FROM epoch AS e
                 WHERE e.tenant = a.tenant AND e.number = a.epoch), false) AS is_open
FROM artifact AS a
WHERE (a.tenant, a.digest, a.epoch) > ($1, $2, $3)
ORDER BY a.tenant, a.digest, a.epoch
LIMIT $4
