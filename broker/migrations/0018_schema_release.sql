-- 0018_schema_release.sql
--
-- Which releases may run on this schema. While brokers are being replaced, one of the release before may crash; it must be
-- able to start again on what the newer one has migrated.
--
-- Invariants  One row. oldest is the last migration that a release must know to run on this schema. A migration that takes
--             away what the release before needs raises it; every other leaves it.
-- Step        Expand: a table that older releases do not know. They do not start on it, as before.
-- Locks       None on tables that are there.

CREATE TABLE schema_release (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    oldest bigint NOT NULL
);

INSERT INTO schema_release (oldest) VALUES (18);
