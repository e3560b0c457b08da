-- 0012_object_store.sql
--
-- Which object store holds the large artifacts of this database.
--
-- Invariants  At most one row. identity is the text of the object `rollmill-store-id` of that store. A broker whose
--             store has another identity does not serve: replicas with a store each would lose artifacts.
-- Step        Expand: a table that older releases do not know, and do not need.
-- Locks       None on tables that are there.

CREATE TABLE object_store (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    identity  text NOT NULL,
    name      text NOT NULL,                      -- its URL, without credentials
    joined_at timestamptz NOT NULL DEFAULT now()
);
