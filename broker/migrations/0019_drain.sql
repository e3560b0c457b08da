-- 0019_drain.sql
--
-- Agents that somebody asked to leave.
--
-- Invariants  draining_by names whoever asked, by the label of the token; NULL: nobody did. sql/claim.sql leases
--             nothing to such an agent, whatever a replica has in memory. A new start of the agent that opens a session
--             sets it to NULL.
-- Step        Expand: a release before this one does not look at the column, and grants jobs to such agents.
-- Locks       The column and the index lock agent until the end. The table is small, one row an agent, and nothing here
--             locks another.

ALTER TABLE agent ADD COLUMN draining_by text;

-- Serves sql/agents_draining.sql.
CREATE INDEX agent_draining ON agent (id) WHERE draining_by IS NOT NULL;
