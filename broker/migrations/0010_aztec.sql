-- 0010_aztec.sql
--
-- Indexes for jobs of Aztec's prover nodes. Their version is `aztec.` and the number of their type, so
-- no other job is in these indexes.
--
-- Invariants  job.input of such a job is the digest of the text that names its inputs; the digest in its id
--             is Aztec's own, of the inputs themselves, and need not be that of an artifact.

-- Serves sql/aztec_finished.sql: what producers that poll have not heard of yet.
CREATE INDEX job_aztec_finished ON job (tenant, finished_at)
    WHERE version LIKE 'aztec.%' AND finished_at IS NOT NULL;
-- Serves sql/aztec_height.sql and sql/aztec_old.sql: the newest epoch, and those behind it.
CREATE INDEX job_aztec_epoch ON job (tenant, epoch) WHERE version LIKE 'aztec.%';
