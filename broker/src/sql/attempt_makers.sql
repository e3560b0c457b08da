-- attempt_makers.sql: how many agents made this result of a job since it was first rejected, or since the job's
-- budget was last renewed.
--   $1 job
--   $2 result
SELECT count(DISTINCT agent) AS count FROM attempt
WHERE job = $1 AND result = $2
  AND id >= (SELECT min(id) FROM attempt
             WHERE job = $1 AND result = $2 AND outcome = 'rejected' AND counted)
