//! What the scheduler sees, and what it decides.

use rollmill_broker_client::SizeClass;

/// A moment of the cluster, as far as the decisions need it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub tenants: &'a [Tenant],
    /// Virtual times as the last decisions returned them.
    pub shares: &'a Shares,
    /// Types of job with their versions, and what they take.
    pub works: &'a [Work],
    pub abilities: &'a [Ability],
    /// The idle agents.
    pub agents: &'a [Agent<'a>],
    /// Heads of the queues of ready jobs: at least the first of each tenant, type and class.
    pub jobs: &'a [Job<'a>],
    /// Running leases. Without them no lease is cancelled and no job gets a second one.
    pub leases: &'a [Lease<'a>],
    /// Epochs with a deadline or to be cancelled. Others are neither at risk nor cancelled.
    pub epochs: &'a [Epoch<'a>],
    /// The agents that are live, idle or not: their number, and per ability the sum of their speeds.
    pub live_agents: usize,
    pub capacity: &'a [f64],
}

/// Whose jobs they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tenant {
    /// Above 0. A tenant of weight 2 gets twice the seconds of one of weight 1 while both have jobs.
    pub weight: f64,
    /// Share of the live agents, 0 to 1, that the tenant gets at once while an epoch of it is at risk.
    pub reserved: f64,
    /// Agents that work for it.
    pub busy: usize,
}

impl Default for Tenant {
    fn default() -> Self {
        Self { weight: 1.0, reserved: 0.0, busy: 0 }
    }
}

/// How much each tenant has had: weighted fair queuing by start times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shares {
    /// The virtual time at which the last grant started.
    pub clock: f64,
    /// By tenant; missing ones have had nothing.
    pub of: Vec<Share>,
}

/// What a tenant has had.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// Expected seconds of its grants ÷ its weight, counted from where it became active.
    pub virtual_seconds: f64,
    /// Whether it had jobs the last time.
    pub is_active: bool,
}

/// What a job of one type and version takes on an agent of speed 1, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Median of the durations.
    pub p50: f64,
    /// The duration that 95 of 100 jobs stay below.
    pub p95: f64,
    /// Loading the key where it is not resident. It does not depend on the agent's speed.
    pub load: f64,
}

/// What agents can do. Those that can do the same share one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ability {
    /// Tenants that they work for, ascending.
    pub tenants: Vec<usize>,
    /// Types of work, ascending.
    pub works: Vec<usize>,
    pub class: SizeClass,
}

impl Ability {
    /// Whether such an agent can do a job.
    pub fn fits(&self, tenant: usize, work: usize, class: SizeClass) -> bool {
        self.class >= class
            && self.works.binary_search(&work).is_ok()
            && self.tenants.binary_search(&tenant).is_ok()
    }
}

/// An idle agent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agent<'a> {
    /// The caller's number for it, returned in grants. One agent has one number.
    pub key: u64,
    /// Who it is, also under another key: jobs exclude identities.
    pub identity: u64,
    /// The hardware; a second lease goes to another one.
    pub device: u64,
    pub ability: usize,
    /// Above 0; 1 is an agent that takes [`Work::p50`] for a job.
    pub speed: f64,
    /// Types of work whose keys it has in memory, ascending.
    pub resident: &'a [usize],
    /// Since when it waits.
    pub since: f64,
    /// It was asked to leave, so it gets nothing more.
    pub is_draining: bool,
}

/// A ready job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Job<'a> {
    /// The caller's number for it, returned in grants. Of one type the smaller goes first.
    pub key: u64,
    pub tenant: usize,
    pub work: usize,
    /// Smallest class of agent that can hold it.
    pub class: SizeClass,
    pub epoch: u64,
    /// The highest goes first within an epoch.
    pub rank: u32,
    /// Since when it is ready.
    pub since: f64,
    /// Identities that must not get it.
    pub excluded: &'a [u64],
}

/// A running lease.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lease<'a> {
    /// The job; its number is that of both leases of a job.
    pub job: Job<'a>,
    pub identity: u64,
    pub device: u64,
    /// Speed of the agent.
    pub speed: f64,
    pub started: f64,
    /// It is the second lease of its job.
    pub is_second: bool,
}

/// An epoch of a tenant.
#[derive(Clone, Copy, Debug)]
pub struct Epoch<'a> {
    pub tenant: usize,
    pub number: u64,
    /// Nobody wants its results any more.
    pub is_stale: bool,
    /// When its root proof must be on its way; absent for an epoch that can wait for ever.
    pub submit_by: Option<f64>,
    /// Length of the window that ends then, for the reserve of [`forecast::MARGIN`](crate::forecast::MARGIN).
    pub window: f64,
    /// From the last proof to its acceptance, in seconds.
    pub submission: f64,
    /// Jobs that are not done, by type and class: those enqueued and those that the producer declared.
    pub remaining: &'a [Demand],
    /// Seconds of the longest path of jobs that must follow each other.
    pub longest_path: f64,
}

/// Jobs of a type and class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    pub work: usize,
    pub class: SizeClass,
    pub jobs: u64,
}

/// A job for an agent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grant {
    /// [`Job::key`].
    pub job: u64,
    /// [`Agent::key`].
    pub agent: u64,
    /// What it is expected to take, loading included.
    pub expected_seconds: f64,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decisions {
    /// In the order in which they were decided.
    pub grants: Vec<Grant>,
    /// Second leases of running jobs: one a job, on another identity and device, for a tenth of the live agents at most,
    /// only for an epoch at risk whose lease has run longer than 95 of 100 do, and only where no job of the type waits.
    pub second_leases: Vec<Grant>,
    /// Positions in [`View::epochs`] of those whose jobs are to be cancelled.
    pub cancelled_epochs: Vec<usize>,
    /// Jobs of [`View::leases`] that are among those: their agents are to be told.
    pub cancelled_leases: Vec<u64>,
    /// For the next call.
    pub shares: Shares,
}
