//! The broker's decisions as pure functions: no I/O, no clock, no randomness of their own. The broker calls them with
//! what its database says, and the simulation of `rollmill-capacity` with what it made up, so both decide alike.
//!
//! - [`schedule`] and [`second_leases`] which idle agent gets which job, which leases are cancelled, which jobs get a second lease.
//! - [`forecast`] when an epoch will be finished, whether it is at risk, how many agents are wanted, which may go.
//! - [`ability`] which waiting types of job no live agent can do.
//! - [`policy`] what follows a failed attempt.
//!
//! Times are seconds of the caller's clock, as `f64`; only their differences matter. Tenants, types of work and abilities
//! are indices into the lists of a [`View`], so that the caller's names (strings in the broker) cost nothing here.

pub mod ability;
pub mod forecast;
mod grants;
pub mod policy;
mod rescue;
mod view;

pub use view::{
    Ability, Agent, Decisions, Demand, Epoch, Grant, Job, Lease, Share, Shares, Tenant, View, Work,
};

/// By how many seconds a job may overtake an equal one that has waited longer, because its key is in memory. Without a
/// bound, a stream of jobs of one type would keep those of another waiting for ever.
pub const PATIENCE: f64 = 60.0;
/// Share of the live agents that may work on second leases at a time.
pub const SPECULATION_SHARE: f64 = 0.1;

/// Decides for one moment. The same arguments have the same result; `random` only breaks ties between agents that have
/// waited equally long, so that the one with the smallest key is not always first.
///
/// - **Epochs first**: those that are stale or can no longer meet their deadline are cancelled, with their leases, and get
///   nothing more.
/// - **Tenant**: a tenant with an epoch at risk that has less than its reserved share of the agents goes first. Then goes
///   the smallest virtual time. A grant adds its expected seconds ÷ weight to it. A tenant that had nothing to do starts
///   at the time of the others, so it has saved nothing up.
/// - **Job**: the oldest epoch, then the highest rank. Among equals the one that waits longest, where a job whose key the
///   chosen agent lacks counts as [`PATIENCE`] seconds younger.
/// - **Agent**: the earliest expected finish, which counts the loading of the key; then the one that waits longest. None
///   that was asked to leave.
/// - **Second leases** go to agents that are idle after that: see [`Decisions::second_leases`].
pub fn schedule(view: &View<'_>, now: f64, random: u64) -> Decisions {
    let forecasts = forecast::epochs(view, now);
    let mut decisions = Decisions { shares: view.shares.clone(), ..Decisions::default() };
    rescue::cancel(view, now, &mut decisions);
    let mut idle = grants::Idle::new(view, random);
    // What is given up gets neither a reserve nor second leases.
    let at_risk: Vec<bool> = forecasts
        .iter()
        .enumerate()
        .map(|(place, it)| it.is_at_risk && !decisions.cancelled_epochs.contains(&place))
        .collect();
    grants::grant(view, &at_risk, &mut idle, &mut decisions);
    let most = (view.live_agents as f64 * SPECULATION_SHARE) as usize;
    rescue::speculate(view, now, &at_risk, most, &mut idle, &mut decisions);
    decisions
}

/// The second leases alone that [`schedule`] decides on, where the caller knows which epochs are at risk: all of the view. Not
/// more than `most` at a time.
pub fn second_leases(view: &View<'_>, now: f64, most: usize, random: u64) -> Vec<Grant> {
    let mut idle = grants::Idle::new(view, random);
    let mut decisions = Decisions::default();
    let at_risk = vec![true; view.epochs.len()];
    rescue::speculate(view, now, &at_risk, most, &mut idle, &mut decisions);
    decisions.second_leases
}
