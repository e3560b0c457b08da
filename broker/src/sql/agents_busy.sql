-- agents_busy.sql: who holds a lease or a second lease, of every tenant, whichever replica granted it. Read at most once every
-- few seconds, and once a second while second leases are given. The limit keeps the planner from reading all jobs for the few
-- second leases.
SELECT DISTINCT tenant, lease_holder || '' AS agent FROM job WHERE state = 'leased'
UNION
SELECT j.tenant, s.agent
FROM second_lease AS s
CROSS JOIN LATERAL (
    SELECT tenant FROM job
    WHERE job.seq = s.job AND job.state || '' NOT IN ('done', 'dead', 'cancelled')
    LIMIT 1
) AS j
WHERE s.expires_at > now()
