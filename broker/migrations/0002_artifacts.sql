-- 0002_artifacts.sql
--
-- Inputs and results, addressed by SHA-256.
--
-- Invariants  artifact says what exists and where; small bodies lie in artifact_body, large ones in
--             the object store under their digest. One artifact needed by two epochs has a row for
--             each, so that dropping the one epoch cannot take the other's bytes.
-- Layout      artifact_body has one partition an epoch: dropping an epoch drops a table and leaves
--             no dead rows.

CREATE TABLE artifact (
    tenant     text NOT NULL,
    digest     bytea NOT NULL CHECK (octet_length(digest) = 32),
    epoch      bigint NOT NULL CHECK (epoch >= 0),
    bytes      bigint NOT NULL,
    place      text NOT NULL CHECK (place IN ('row', 'object')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, digest, epoch)
);
CREATE INDEX artifact_epoch ON artifact (tenant, epoch);

CREATE TABLE artifact_body (
    tenant text NOT NULL,
    digest bytea NOT NULL,
    epoch  bigint NOT NULL,
    body   bytea NOT NULL,
    PRIMARY KEY (epoch, tenant, digest)
) PARTITION BY LIST (epoch);

-- Proofs and hashes do not compress; trying costs time on every write.
ALTER TABLE artifact_body ALTER COLUMN body SET STORAGE EXTERNAL;

-- Makes the partition of an epoch. ATTACH, unlike CREATE ... PARTITION OF, lets others read and
-- write meanwhile. The lock keeps two brokers from making the same one.
CREATE FUNCTION artifact_body_partition(wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part text := 'artifact_body_' || wanted;
BEGIN
    IF to_regclass(format('%I', part)) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('rollmill_artifact_body'), hashtext(current_schema()));
    IF to_regclass(format('%I', part)) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE artifact_body INCLUDING ALL, CHECK (epoch = %s))', part, wanted);
        EXECUTE format('ALTER TABLE artifact_body ATTACH PARTITION %I FOR VALUES IN (%s)', part, wanted);
    END IF;
END
$$;
