-- epochs_unfinished.sql: epochs that are closing and have unfinished jobs, since whoever closed them died before all
-- were cancelled, or a release before this one added some. It looks at unfinished jobs, of which there are fewer than
-- of others.
--   $1 most
WITH unfinished AS MATERIALIZED (
    SELECT DISTINCT tenant, epoch FROM job WHERE state IN ('ready', 'delayed', 'input_wanted', 'leased')
)
SELECT e.tenant, e.number
FROM unfinished AS u JOIN epoch AS e ON e.tenant = u.tenant AND e.number = u.epoch
WHERE e.state || '' = 'closing'
ORDER BY e.number
LIMIT $1
