-- token_add.sql: records a token by its hash; nothing where the label or the hash is taken.
--   $1 hash
--   $2 label
--   $3 role
--   $4 tenant
--   $5 fleet
--   $6 agent
--   $7 valid_seconds
--   $8 requests_per_second
--   $9 connections
--   $10 certificate
INSERT INTO token (hash, label, role, tenant, fleet, agent, expires_at, requests_per_second, connections, certificate)
VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7::double precision), $8, $9, $10)
ON CONFLICT DO NOTHING
