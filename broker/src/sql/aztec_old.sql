-- aztec_old.sql: epochs of Aztec's prover nodes that lie behind their tenant's newest one by more than $1. An
-- epoch with jobs of others is left to its producer.
--   $1 kept
SELECT old.tenant, old.epoch
FROM (SELECT DISTINCT tenant, epoch FROM job WHERE version LIKE 'aztec.%') AS old
WHERE old.epoch < (SELECT max(epoch) FROM job WHERE tenant = old.tenant AND version LIKE 'aztec.%') - $1
  AND NOT EXISTS (SELECT FROM job AS other
                  WHERE other.tenant = old.tenant AND other.epoch = old.epoch
                    AND other.version NOT LIKE 'aztec.%')
