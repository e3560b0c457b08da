-- 0005_failure_classes.sql
--
-- The failure classes, as the states and outcomes have been listed before.
--
-- Invariants  The lists are those of the enums in rollmill-broker-client; a test compares them. NOT VALID
--             first, so that the lock is short; validating lets others read and write.

ALTER TABLE job ADD CONSTRAINT job_failure_class_check CHECK (failure_class IN (
    'transient', 'input_missing', 'out_of_memory', 'invalid_proof', 'version_mismatch', 'bad_input',
    'result_too_large', 'agent_died', 'hard_limit', 'result_lost', 'past_deadline')) NOT VALID;
ALTER TABLE job VALIDATE CONSTRAINT job_failure_class_check;

ALTER TABLE attempt ADD CONSTRAINT attempt_failure_class_check CHECK (failure_class IN (
    'transient', 'input_missing', 'out_of_memory', 'invalid_proof', 'version_mismatch', 'bad_input',
    'result_too_large', 'agent_died', 'hard_limit', 'result_lost', 'past_deadline')) NOT VALID;
ALTER TABLE attempt VALIDATE CONSTRAINT attempt_failure_class_check;

COMMENT ON COLUMN job.rank IS 'proofs on the path from this job to the root, its own included; higher first';
