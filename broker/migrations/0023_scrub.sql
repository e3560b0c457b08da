-- 0023_scrub.sql
--
-- Where the scrubber is, which reads all stored artifacts again and again.
--
-- Invariants  One row. Copies of artifacts up to (tenant, digest, epoch), in the order of the key of artifact, were taken
--             in this pass; whoever takes the next ones locks the row and moves it, so no two replicas read the same.
--             due_at holds the rate for all replicas together: nothing is taken before it.
-- Step        Expand: a release before this one does not read the table.
-- Locks       None on tables that are there.

CREATE TABLE scrub (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    tenant     text NOT NULL DEFAULT '',          -- before every name
    digest     bytea NOT NULL DEFAULT '',
    epoch      bigint NOT NULL DEFAULT -1,
    passes     bigint NOT NULL DEFAULT 0,         -- that came to their end
    started_at timestamptz NOT NULL DEFAULT now() + interval '1 hour',
    due_at     timestamptz NOT NULL DEFAULT now() + interval '1 hour'
);

INSERT INTO scrub DEFAULT VALUES;
