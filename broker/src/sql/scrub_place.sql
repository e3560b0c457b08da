-- scrub_place.sql: where the scrubber is, if artifacts may be taken now. Locks the row for whoever takes them, and returns
-- none while another replica does.
SELECT tenant, digest, epoch FROM scrub WHERE due_at <= now() FOR UPDATE SKIP LOCKED
