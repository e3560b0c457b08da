-- 0015_identity.sql
--
-- Who an agent is, from its token; tokens that end, rotate and are suspended; the device behind an agent.
--
-- Invariants  A token of a fleet has the role agent and fleet set: a release that knows no fleets then reads it as a
--             token of agents, and not as a role that it cannot read. previous_hash is the secret before the last
--             rotation, valid until previous_until. agent.session is the last session that the agent opened, and
--             installation where it did; both are NULL for agents of a release without sessions.
-- Step        Expand: a release before this one runs on this schema. It ignores ends, limits, suspensions and the
--             secret before a rotation.
-- Locks       Adding columns locks each table until the end of the migration. The tables are small, one row a token and
--             one an agent, and nothing here reads another. The index of leased jobs follows in migrations of its own.

ALTER TABLE token
    ADD COLUMN fleet               boolean NOT NULL DEFAULT false,
    ADD COLUMN agent               text,        -- the one agent of a token of the role agent
    ADD COLUMN expires_at          timestamptz,
    ADD COLUMN requests_per_second integer,     -- NULL: as the role has
    ADD COLUMN connections         integer,     -- NULL: as the role has
    ADD COLUMN previous_hash       bytea,
    ADD COLUMN previous_until      timestamptz,
    ADD COLUMN rejected            integer NOT NULL DEFAULT 0, -- results of its agents, without a day between two
    ADD COLUMN rejected_at         timestamptz, -- the last of them
    ADD COLUMN suspended_at        timestamptz;

ALTER TABLE agent
    ADD COLUMN token         text,        -- label of the token that it came with last
    ADD COLUMN device        text,        -- UUID of the device that it proves on
    ADD COLUMN session       text,
    ADD COLUMN installation  text,
    ADD COLUMN session_at    timestamptz;

-- Serves sql/device_agents.sql and sql/agent_pardon.sql.
CREATE INDEX agent_device ON agent (device) WHERE device IS NOT NULL;

-- A device, whatever its agents are called.
CREATE TABLE device (
    tenant         text NOT NULL,
    id             text NOT NULL,
    rejected       integer NOT NULL DEFAULT 0, -- wrong proofs since the last pardon
    quarantined_at timestamptz,
    PRIMARY KEY (tenant, id)
);
