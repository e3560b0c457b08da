-- agents_busy.sql: who holds a lease, of every tenant, whichever replica granted it. Read at most once every few seconds.
SELECT DISTINCT tenant, lease_holder || '' AS agent FROM job WHERE state = 'leased'
