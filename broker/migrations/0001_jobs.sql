-- 0001_jobs.sql
--
-- Jobs, their attempts, and the agents that make them.
--
-- Invariants  A job is leased exactly when it has a holder and an expiry; done exactly when it has
--             a result (constraints below). lease_epoch only grows, by one a grant, and attempts
--             with it: both change in the same statement as the grant (sql/claim.sql).
--             Times are the database's clock, never a broker's or an agent's.
-- Layout      The job row is hot: inputs and results are digests, bytes lie elsewhere (0002), and
--             history lies in attempt. The tables are logged: a crash loses nothing acknowledged.

CREATE TABLE job (
    seq                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant             text NOT NULL,
    id                 text NOT NULL,              -- epoch:kind:sha256(input)
    kind               text NOT NULL,
    version            text NOT NULL,              -- circuit-set id
    epoch              bigint NOT NULL CHECK (epoch >= 0),
    rank               bigint NOT NULL,            -- seconds of path still to do after this job
    class              smallint NOT NULL,          -- smallest class of agent that can hold it
    state              text NOT NULL DEFAULT 'ready'
                       CHECK (state IN ('ready', 'delayed', 'leased', 'done', 'dead', 'cancelled')),
    input              bytea NOT NULL,             -- SHA-256
    result             bytea,                      -- SHA-256
    result_agent       text,
    stats              jsonb,                      -- as the agent reported it
    labels             jsonb NOT NULL DEFAULT '{}',
    attempts           integer NOT NULL DEFAULT 0, -- counted at claim, so that a job that kills agents shows
    lease_epoch        bigint NOT NULL DEFAULT 0,  -- fencing token
    lease_holder       text,
    lease_expires_at   timestamptz,                -- moved on by heartbeats, never past hard_limit_at
    hard_limit_at      timestamptz,
    hard_limit_seconds integer,                    -- NULL: the broker's default
    progress           real,
    ready_at           timestamptz NOT NULL DEFAULT now(), -- when delayed: end of the backoff
    deadline_at        timestamptz,                -- until then time-outs never give the job up
    failure_class      text,                       -- of the last failed attempt
    failure_message    text,
    excluded_agents    text[] NOT NULL DEFAULT '{}', -- gave a wrong proof or lack the version
    created_at         timestamptz NOT NULL DEFAULT now(),
    finished_at        timestamptz,
    UNIQUE (tenant, id),
    CONSTRAINT job_lease_matches_state CHECK (
        (state = 'leased') = (lease_holder IS NOT NULL)
        AND (state = 'leased') = (lease_expires_at IS NOT NULL)
    ),
    CONSTRAINT job_result_matches_state CHECK ((state = 'done') = (result IS NOT NULL))
) WITH (
    fillfactor = 70,
    -- Each job changes a handful of times and is then cold: vacuum by number, not by share, so that
    -- dead rows never pile up at the head of the claim index.
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 500,
    autovacuum_analyze_scale_factor = 0.02
);

-- Serves sql/peek.sql exactly: equality on the first four columns, then its order. The broker
-- refuses to serve without it.
CREATE INDEX job_claim ON job (tenant, version, kind, class, epoch, rank DESC, seq)
    WHERE state = 'ready';
CREATE INDEX job_lease ON job (lease_expires_at) WHERE state = 'leased';
CREATE INDEX job_holder ON job (tenant, lease_holder) WHERE state = 'leased';
CREATE INDEX job_delayed ON job (ready_at) WHERE state = 'delayed';
CREATE INDEX job_dead ON job (tenant, finished_at) WHERE state = 'dead';
-- Serves sql/queue.sql without touching finished jobs.
CREATE INDEX job_open ON job (kind, version, state, created_at)
    WHERE state IN ('ready', 'delayed', 'leased');
CREATE INDEX job_epoch ON job (tenant, epoch);

-- One row a grant, and one for a completion by an agent that never held a lease.
CREATE TABLE attempt (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job             bigint NOT NULL REFERENCES job (seq) ON DELETE CASCADE,
    lease_epoch     bigint,
    agent           text NOT NULL,
    outcome         text NOT NULL DEFAULT 'running' CHECK (outcome IN (
                        'running', 'completed', 'completed_late', 'failed', 'expired', 'released',
                        'rejected', 'superseded', 'cancelled')),
    failure_class   text,
    failure_message text,
    result          bytea,
    counted         boolean NOT NULL DEFAULT true, -- false once an operator gave a fresh budget
    started_at      timestamptz NOT NULL DEFAULT now(),
    ended_at        timestamptz
);
CREATE INDEX attempt_job ON attempt (job, lease_epoch);

CREATE TABLE agent (
    tenant         text NOT NULL,
    id             text NOT NULL,
    info           jsonb,
    first_seen_at  timestamptz NOT NULL DEFAULT now(),
    last_seen_at   timestamptz NOT NULL DEFAULT now(),
    rejected       integer NOT NULL DEFAULT 0, -- wrong proofs since the last pardon
    quarantined_at timestamptz,
    PRIMARY KEY (tenant, id)
);
