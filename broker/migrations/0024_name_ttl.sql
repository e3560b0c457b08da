-- 0024_name_ttl.sql
--
-- How long a named lease was given for, so that one that ends later than any that is given now is recognised: the clock
-- was set back since, and its holder may be gone.
--
-- Invariants  ttl_seconds is what was left of the lease when expires_at was written, by the clock of that moment. A trigger
--             keeps it, so that leases which brokers of a release before this one give have it too. Before the first
--             renewal it is the longest time that any request may ask for.
-- Step        Expand: a release before this one does not know the column, and its statements write it by the trigger.
-- Locks       ACCESS EXCLUSIVE on named_lease, for metadata only: it has a row for each name.

ALTER TABLE named_lease ADD COLUMN ttl_seconds double precision NOT NULL DEFAULT 86400;

CREATE FUNCTION named_lease_ttl() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.ttl_seconds := greatest(extract(epoch FROM NEW.expires_at - now()), 0);
    RETURN NEW;
END
$$;
CREATE TRIGGER named_lease_ttl BEFORE INSERT OR UPDATE OF expires_at ON named_lease
    FOR EACH ROW EXECUTE FUNCTION named_lease_ttl();
