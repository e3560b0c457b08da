-- 0003_names_and_tokens.sql
--
-- Named leases for producers, access tokens, and the record of what operators did.
--
-- Invariants  named_lease.fence only grows, by one an acquisition; a row is never deleted, so that
--             a fence is never given twice. token holds hashes: the token itself is shown once, to
--             the operator who made it.

CREATE TABLE named_lease (
    tenant     text NOT NULL,
    name       text NOT NULL,
    holder     text,
    fence      bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE token (
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32), -- SHA-256 of 256 random bits
    label      text NOT NULL UNIQUE,
    role       text NOT NULL CHECK (role IN ('producer', 'agent', 'operator', 'reader')),
    tenant     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

CREATE TABLE audit (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    tenant text NOT NULL,
    label  text NOT NULL, -- of the token, or 'loopback'
    action text NOT NULL,
    detail text NOT NULL
);
