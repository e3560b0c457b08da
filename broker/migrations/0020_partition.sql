-- 0020_partition.sql
--
-- The partition of an epoch that two brokers make at once. The second one waits for the lock. It looked again by
-- to_regclass then, which takes no lock itself and so believed what its session had cached before: that there is none. A
-- query of the catalog sees what was committed meanwhile.
--
-- Step        Expand: the function does the same for every release.
-- Locks       None on tables.

CREATE OR REPLACE FUNCTION artifact_body_partition(wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part text := 'artifact_body_' || wanted;
    here oid := (SELECT oid FROM pg_namespace WHERE nspname = current_schema());
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE relname = part AND relnamespace = here) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('rollmill_artifact_body'), hashtext(current_schema()));
    IF NOT EXISTS (SELECT FROM pg_class WHERE relname = part AND relnamespace = here) THEN
        EXECUTE format('CREATE TABLE %I (LIKE artifact_body INCLUDING ALL, CHECK (epoch = %s))', part, wanted);
        EXECUTE format('ALTER TABLE artifact_body ATTACH PARTITION %I FOR VALUES IN (%s)', part, wanted);
    END IF;
END
$$;
