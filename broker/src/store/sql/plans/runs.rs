//! Values for the statements that serve jobs.

/// Statements with their values, and the most pages that one run may touch with [`LARGE`](super::LARGE) rows: a few for
/// each row that it is about, and never the table.
pub(super) const RUNS: &[(&str, &[&str], u64)] = &[
    ("peek.sql", &["'default'", "'{v1}'", "'{prove-1}'", "'{0}'", "20"], 200),
    (
        "claim.sql",
        &[
            "ARRAY(SELECT seq FROM job WHERE state = 'ready' LIMIT 20)",
            "array_fill('a'::text, '{20}')",
            "30000",
            "3600",
        ],
        2_000,
    ),
    (
        "beat_many.sql",
        &[
            "array_fill('default'::text, '{20}')",
            LEASED,
            "array_fill('a'::text, '{20}')",
            "array_fill(1::bigint, '{20}')",
            "array_fill(true, '{20}')",
            "array_fill(NULL::real, '{20}')",
            "30000",
        ],
        2_000,
    ),
    (
        "complete_many.sql",
        &[
            "array_fill('default'::text, '{20}')",
            LEASED,
            "array_fill('a'::text, '{20}')",
            "array_fill(1::bigint, '{20}')",
            "array_fill(sha256('r'), '{20}')",
            "array_fill('null'::text, '{20}')",
            "'completed'",
        ],
        2_500,
    ),
    ("changes.sql", &["'default'", "7", "NULL", "NULL", "0", "-1", "1000"], 6_000),
    ("audit_list.sql", &["'default'", "9000000000", "100"], 100),
    ("audit_forget.sql", &["86400", "100"], 500),
    ("kept_bytes.sql", &[], 1_500),
    ("scrub_next.sql", &["'default'", "sha256('r')", "-1", "256"], 2_500),
    ("session_return.sql", &["'default'", "'agent-1'", "'i'", "45000", "'released'"], 200),
    ("session_open.sql", &["'default'", "'agent-1'", "'s'", "'i'", "45000", "true"], 200),
    ("overdue.sql", &["20", "NULL::bigint"], 500),
    ("promote.sql", &["20"], 1_000),
    ("epoch_sweep_jobs.sql", &["'default'", "7", "1", "100"], 8_000),
    ("epoch_sweep_artifacts.sql", &["'default'", "7", "1", "100"], 2_000),
    ("overview_agents.sql", &["'default'", "45000", "600000", "100"], 1_000),
    ("epoch_wanted.sql", &["'default'", "7", "'{leased}'", "'rollup'", "'x'"], 12_000),
    ("view.sql", &["'default'", KNOWN], 1_000),
    ("cancel.sql", &["'default'", KNOWN, "'{ready}'"], 2_000),
    ("replay.sql", &["'default'", KNOWN], 1_000),
    (
        "release_many.sql",
        &[
            "array_fill('default'::text, '{20}')",
            LEASED,
            "array_fill('a'::text, '{20}')",
            "array_fill(1::bigint, '{20}')",
            "'released'",
        ],
        2_500,
    ),
    ("agent_seen_many.sql", &["array_fill('default'::text, '{20}')", AGENTS], 1_000),
    (
        "second_claim.sql",
        &[
            "ARRAY(SELECT seq FROM job WHERE state = 'leased' LIMIT 20)",
            AGENTS,
            "array_fill(1::bigint, '{20}')",
            "30000",
            "3600",
        ],
        2_000,
    ),
    ("artifact_whole.sql", &["'default'", DIGESTS, "1"], 1_000),
    ("artifact_epochs.sql", &["'default'", DIGESTS], 500),
    (
        "enqueue.sql",
        &[
            "'default'",
            "ARRAY(SELECT 'new-' || n FROM generate_series(1, 20) AS n)",
            "array_fill('prove-1'::text, '{20}')",
            "array_fill('v1'::text, '{20}')",
            "array_fill(1::bigint, '{20}')",
            "array_fill(0::bigint, '{20}')",
            "array_fill(0::smallint, '{20}')",
            DIGESTS,
            "array_fill('{}'::text, '{20}')",
            "array_fill(NULL::integer, '{20}')",
            "array_fill(NULL::double precision, '{20}')",
            "array_fill(NULL::integer, '{20}')",
        ],
        2_500,
    ),
];

const KNOWN: &str = "ARRAY(SELECT id FROM job ORDER BY seq DESC LIMIT 20)";
const AGENTS: &str = "ARRAY(SELECT 'agent-' || n FROM generate_series(1, 20) AS n)";
const DIGESTS: &str = "ARRAY(SELECT sha256(n::text::bytea) FROM generate_series(1, 20) AS n)";
const LEASED: &str = "ARRAY(SELECT id FROM job WHERE state = 'leased' LIMIT 20)";

/// Statements that read many rows and that no job waits for. A sweep of artifacts reads the index of its epoch for each
/// batch.
pub(super) const LISTS: &[&str] = &[
    "audit_list.sql",
    "epoch_sweep_artifacts.sql",
    "epoch_wanted.sql",
    "kept_bytes.sql",
    "overview_agents.sql",
];
