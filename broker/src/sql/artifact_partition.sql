-- artifact_partition.sql: creates the partition for the bodies of an epoch, if there is none.
--   $1 epoch
SELECT FROM artifact_body_partition($1)
