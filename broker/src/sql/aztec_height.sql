-- aztec_height.sql: the newest epoch that Aztec's prover nodes enqueued a job of.
--   $1 tenant
SELECT max(epoch) AS epoch FROM job WHERE tenant = $1 AND version LIKE 'aztec.%'
