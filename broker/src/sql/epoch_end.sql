-- epoch_end.sql: ends an epoch: what it has is deleted from now on. A later end of one that is gone has it swept again.
--   $1 tenant
--   $2 number
--   $3 outcome
--   $4 forgotten
UPDATE epoch
SET state = 'gone', outcome = coalesce(outcome, $3), closed_at = coalesce(closed_at, now()),
    gone_at = coalesce(gone_at, now()), swept_at = NULL, forgotten = forgotten OR $4
WHERE tenant = $1 AND number = $2
