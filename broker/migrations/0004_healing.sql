-- 0004_healing.sql
--
-- Results that can be lost and made again, inputs that can be asked for, exclusions that end, and
-- named leases that tell two processes of one holder apart.
--
-- Invariants  A row of named_lease is never deleted: the trigger keeps it, so that no fence is issued
--             twice. stuck_at is set exactly while a job is ready and every live able agent is
--             excluded from it.

ALTER TABLE named_lease ADD COLUMN incarnation text; -- which start of the holder holds it

CREATE FUNCTION named_lease_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of named_lease are never deleted: a fence would be issued twice';
END
$$;
CREATE TRIGGER named_lease_keep BEFORE DELETE OR TRUNCATE ON named_lease
    FOR EACH STATEMENT EXECUTE FUNCTION named_lease_keep();

ALTER TABLE job
    DROP CONSTRAINT job_state_check,
    ADD CONSTRAINT job_state_check CHECK (state IN (
        'ready', 'delayed', 'input_wanted', 'leased', 'done', 'dead', 'cancelled')),
    ADD COLUMN stuck_at timestamptz,                 -- since when every live able agent is excluded
    ADD COLUMN forgiven integer NOT NULL DEFAULT 0;  -- times its exclusions were forgiven

ALTER TABLE attempt
    DROP CONSTRAINT attempt_outcome_check,
    ADD CONSTRAINT attempt_outcome_check CHECK (outcome IN (
        'running', 'completed', 'completed_late', 'failed', 'expired', 'released', 'rejected',
        'superseded', 'cancelled', 'result_lost'));

ALTER TABLE agent
    ADD COLUMN class smallint NOT NULL DEFAULT 0,
    ADD COLUMN able text[] NOT NULL DEFAULT '{}';    -- 'type/version' of what it can do

-- Finds the jobs whose result cannot be read, and those that an upload makes ready.
CREATE INDEX job_result ON job (tenant, result) WHERE state = 'done';
CREATE INDEX job_wanted ON job (tenant, input) WHERE state = 'input_wanted';
-- Serves sql/forgive.sql and sql/past_deadline.sql; both hold few rows.
CREATE INDEX job_excluded ON job (seq) WHERE state = 'ready' AND excluded_agents <> '{}';
CREATE INDEX job_deadline ON job (deadline_at)
    WHERE state IN ('ready', 'delayed', 'input_wanted') AND deadline_at IS NOT NULL;
-- Serves sql/queue.sql without touching finished jobs.
DROP INDEX job_open;
CREATE INDEX job_open ON job (tenant, kind, version, class, state, created_at)
    WHERE state IN ('ready', 'delayed', 'input_wanted', 'leased');
CREATE INDEX agent_seen ON agent (last_seen_at);
