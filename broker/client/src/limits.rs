//! Numbers and names that producers, agents and brokers agree on.

use std::time::Duration;

/// Most jobs or ids in one request.
pub const BATCH_MAX: usize = 1000;
/// Most capabilities or leases in one request.
pub const LIST_MAX: usize = 256;
/// Largest JSON, in bytes, of what an agent says about itself or its work.
pub const FREE_JSON_BYTES_MAX: usize = 4096;
/// Longest that the broker holds a long-polling request, in milliseconds.
pub const WAIT_MS_MAX: u64 = 30_000;
/// Label by which the prover node marks the jobs of its deployment: the address of the Rollup. Producers of several
/// deployments share epoch numbers, so each acts only on jobs with its own.
pub const ROLLUP_LABEL: &str = "rollup";
/// How long a prover node's lease on submitting lasts without a renewal.
pub const SUBMITTER_LEASE: Duration = Duration::from_secs(30);
