-- epochs_silent.sql: open epochs of which nothing was heard for a while: no job is that young or was finished since, no
-- deadline lies ahead or passed since, and no artifact was uploaded.
--   $1 silent_seconds
--   $2 most
SELECT tenant, number FROM epoch
WHERE state = 'open' AND opened_at < now() - make_interval(secs => $1)
  AND NOT EXISTS (SELECT 1 FROM job
                  WHERE job.epoch = epoch.number AND job.tenant || '' = epoch.tenant
                    AND greatest(job.created_at, job.finished_at, job.deadline_at)
                        > now() - make_interval(secs => $1))
  AND NOT EXISTS (SELECT 1 FROM artifact
                  WHERE artifact.epoch = epoch.number AND artifact.tenant || '' = epoch.tenant
                    AND artifact.created_at > now() - make_interval(secs => $1))
ORDER BY number
LIMIT $2
