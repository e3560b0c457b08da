-- token_add.sql: records a token by its hash; nothing where the label is taken.
--   $1 hash
--   $2 label
--   $3 role
--   $4 tenant
INSERT INTO token (hash, label, role, tenant) VALUES ($1, $2, $3, $4)
ON CONFLICT (label) DO NOTHING
