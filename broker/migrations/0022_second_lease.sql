-- 0022_second_lease.sql
--
-- Jobs that a second agent works on, because the first is slow and their epoch at risk.
--
-- Invariants  At most one row a job. agent is not the holder of the lease lease_epoch of the job, which ran when the row was
--             made. A row says only that its agent may go on: the job's own row does not depend on it, and the result of
--             either agent is accepted by the one rule for results.
-- Step        Expand: a release before this one makes no rows, and answers the heartbeats of such an agent that its lease
--             is lost.
-- Locks       Referring to job locks it for a moment, against writers.

CREATE TABLE second_lease (
    job           bigint PRIMARY KEY REFERENCES job (seq) ON DELETE CASCADE,
    lease_epoch   bigint NOT NULL,
    agent         text NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL, -- moved on by heartbeats, never past hard_limit_at
    hard_limit_at timestamptz NOT NULL
);
