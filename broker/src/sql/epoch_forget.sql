-- epoch_forget.sql: forgets that there was an epoch, once nothing is left of it and its time is over.
--   $1 tenant
--   $2 number
--   $3 tombstone_seconds
DELETE FROM epoch
WHERE tenant = $1 AND number = $2 AND state = 'gone' AND swept_at IS NOT NULL
  AND gone_at < now() - make_interval(secs => $3)
