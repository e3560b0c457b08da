-- 0006_changes.sql
--
-- What a producer must see of a job, by the transaction that changed it: the feed of an epoch.
--
-- Invariants  change is the transaction that last made the job final, made it wait for its input, or reopened it once
--             it was done. NULL before that, and for jobs that were final before this migration; those are as old as
--             can be. A trigger sets it, so that every statement does, those of an older release too.
-- Locks       Adding a column without a default and a trigger lock job for a moment. The index is built under a
--             lock that lets others read; it holds final jobs only.

ALTER TABLE job ADD COLUMN change bigint;

CREATE FUNCTION job_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.change := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END
$$;
CREATE TRIGGER job_change BEFORE UPDATE OF state ON job FOR EACH ROW
    WHEN (OLD.state <> NEW.state
          AND (OLD.state = 'done' OR NEW.state IN ('done', 'dead', 'cancelled', 'input_wanted')))
    EXECUTE FUNCTION job_change();

-- Serves sql/changes.sql exactly.
CREATE INDEX job_change ON job (tenant, epoch, coalesce(change, 0), seq)
    WHERE change IS NOT NULL OR state IN ('done', 'dead', 'cancelled', 'input_wanted');
