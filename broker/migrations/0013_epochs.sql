-- 0013_epochs.sql
--
-- Epochs as rows: who may still write into one, and until when it is kept.
--
-- Invariants  Uploads and enqueues lock their epoch's row FOR KEY SHARE and need it to be open; whoever closes or drops an
--             epoch locks it FOR UPDATE. So nothing is added to an epoch after it is closed, and no acknowledged byte of an
--             open epoch is dropped. What deletes locks the row FOR SHARE and needs it to be gone, of the same
--             generation and not swept; so a replica that is late deletes nothing of the next generation. A row that is
--             gone and swept has no job and no artifact left; a later generation begins empty. A number that was
--             dropped keeps its row for as long as others, so that no generation comes twice while somebody still works
--             on it. Only requests of producers open an epoch.
-- Step        Expand. Older releases do not know the table. They add jobs without looking at it, so a trigger adds the
--             row of an epoch that has none; what they add to an epoch that is gone is swept with its row.
-- Locks       Reading the epochs of job and artifact locks nothing against writers, and comes first. The trigger locks
--             job until the end: only the unfinished jobs are read under it, by their index, for those that came while
--             all were read.

CREATE TABLE epoch (
    tenant     text NOT NULL,
    number     bigint NOT NULL CHECK (number >= 0),
    generation bigint NOT NULL DEFAULT 1,         -- counts how often it was opened anew after it was gone
    state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closing', 'gone')),
    outcome    text CHECK (outcome IN ('final', 'superseded', 'given_up', 'silent', 'operator')),
    counted    boolean NOT NULL DEFAULT true,     -- false: older than this table, and not counted as open
    forgotten  boolean NOT NULL DEFAULT false,    -- its producer dropped it: the next upload opens it again by itself
    opened_at  timestamptz NOT NULL DEFAULT now(),
    closed_at  timestamptz,
    gone_at    timestamptz,
    swept_at   timestamptz,                       -- its jobs and artifacts are deleted
    PRIMARY KEY (tenant, number),
    CONSTRAINT epoch_outcome_matches_state CHECK ((state = 'open') = (outcome IS NULL)),
    CONSTRAINT epoch_closed_matches_state CHECK ((state = 'open') = (closed_at IS NULL)),
    CONSTRAINT epoch_gone_matches_state CHECK ((state = 'gone') = (gone_at IS NOT NULL))
);
-- Each has the epochs that its statements are about, so that neither competes with the primary key for an epoch that is
-- named: on a small table they would cost the same.
CREATE INDEX epoch_open ON epoch (tenant, number) WHERE state = 'open';
CREATE INDEX epoch_ended ON epoch (state, closed_at) WHERE state <> 'open';

INSERT INTO epoch (tenant, number, counted)
SELECT tenant, epoch, false FROM job UNION SELECT tenant, epoch, false FROM artifact;

-- What an epoch leaves is vacuumed by number, so that its space serves the next one.
ALTER TABLE attempt SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000,
                         autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE artifact SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000,
                          autovacuum_analyze_scale_factor = 0.02);

CREATE FUNCTION job_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO epoch (tenant, number) SELECT DISTINCT tenant, epoch FROM added ORDER BY tenant, epoch
    ON CONFLICT (tenant, number) DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER job_epoch AFTER INSERT ON job REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION job_epoch();

-- What brokers of the release before added after the epochs were read and before there was the trigger.
INSERT INTO epoch (tenant, number, counted)
SELECT DISTINCT tenant, epoch, false FROM job WHERE state IN ('ready', 'delayed', 'input_wanted', 'leased')
ON CONFLICT (tenant, number) DO NOTHING;
