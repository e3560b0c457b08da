//! Numbers and names that producers, agents and brokers agree on.

use std::time::Duration;

use rollmill_net::Traceparent;

/// Most jobs or ids in one request.
pub const BATCH_MAX: usize = 1000;
/// Most capabilities or leases in one request.
pub const LIST_MAX: usize = 256;
/// Largest JSON, in bytes, of what an agent says about itself or its work.
pub const FREE_JSON_BYTES_MAX: usize = 4096;
/// Highest number of an epoch, and highest fence: what PostgreSQL can count to.
pub const EPOCH_MAX: u64 = i64::MAX as u64;
/// Latest deadline of a job, in seconds since 1970: further than any epoch, and a time that PostgreSQL can store.
pub const DEADLINE_UNIX_SECONDS_MAX: u64 = 1 << 40;
/// Longest hard limit of a job, in seconds.
pub const HARD_LIMIT_SECONDS_MAX: u64 = i32::MAX as u64;
/// Longest path of jobs to the root, in milliseconds: 24 days.
pub const PATH_MS_MAX: u64 = i32::MAX as u64;
/// Most labels of a job.
pub const LABELS_MAX: usize = 16;
/// Longest time for which a name is leased, in milliseconds: a day.
pub const NAMED_LEASE_MS_MAX: u64 = 86_400_000;
/// Longest that the broker holds a long-polling request, in milliseconds.
pub const WAIT_MS_MAX: u64 = 30_000;
/// Label by which the prover node marks the jobs of its deployment: the address of the Rollup. Producers of several
/// deployments share epoch numbers, so each acts only on jobs with its own.
pub const ROLLUP_LABEL: &str = "rollup";
/// Label that holds the job's span of a trace, in the form of the header `traceparent`. The broker and the job's
/// agents make their spans below it. A producer sends the same value whenever it enqueues the job.
pub const TRACEPARENT_LABEL: &str = Traceparent::HEADER;
/// How long a prover node's lease on submitting lasts without a renewal.
pub const SUBMITTER_LEASE: Duration = Duration::from_secs(30);
