-- agent_drain.sql: asks an agent to leave, or takes that back where nobody is named. Returns nothing for an agent that
-- is not known, else whether that changed anything. Who asked first stays on record.
--   $1 tenant
--   $2 agent
--   $3 by
WITH before AS MATERIALIZED (
    SELECT draining_by FROM agent WHERE tenant = $1 AND id = $2
    FOR NO KEY UPDATE
), changed AS (
    UPDATE agent SET draining_by = $3::text
    FROM before
    WHERE agent.tenant = $1 AND agent.id = $2 AND (before.draining_by IS NULL) <> ($3::text IS NULL)
    RETURNING agent.id
)
SELECT EXISTS (SELECT 1 FROM changed) AS changed FROM before
