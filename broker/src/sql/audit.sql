-- audit.sql: records what an operator or a producer did.
--   $1 tenant
--   $2 label
--   $3 action
--   $4 detail
INSERT INTO audit (tenant, label, action, detail) VALUES ($1, $2, $3, $4)
