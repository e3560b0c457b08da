//! What is cancelled, and what gets a second lease.

use std::collections::BTreeSet;

use rollmill_broker_client::SizeClass;

use crate::grants::{Idle, Wanted};
use crate::view::{Decisions, Grant, Job, Lease, View};

/// Part of the longest path that even a lucky cluster needs. Medians are no bounds, and an epoch that is cancelled wrongly
/// is lost, while one that is cancelled late costs some seconds of agents.
const HOPE: f64 = 0.5;

/// Cancels the epochs that are stale or cannot meet their deadline whatever is done, and their leases.
pub(crate) fn cancel(view: &View<'_>, now: f64, decisions: &mut Decisions) {
    for (position, epoch) in view.epochs.iter().enumerate() {
        let least = HOPE * epoch.longest_path;
        if epoch.is_stale || epoch.submit_by.is_some_and(|by| now + least > by) {
            decisions.cancelled_epochs.push(position);
            let is_of = |job: &Job<'_>| (job.tenant, job.epoch) == (epoch.tenant, epoch.number);
            let leases = view.leases.iter().filter(|lease| is_of(&lease.job));
            decisions.cancelled_leases.extend(leases.map(|lease| lease.job.key));
        }
    }
    decisions.cancelled_leases.sort_unstable();
    decisions.cancelled_leases.dedup();
}

/// Gives second leases to idle agents, while there are less than `most`.
pub(crate) fn speculate<'a>(
    view: &'a View<'a>,
    now: f64,
    at_risk: &[bool],
    most: usize,
    idle: &mut Idle<'a>,
    decisions: &mut Decisions,
) {
    let seconds = view.leases.iter().filter(|lease| lease.is_second);
    let doubled: BTreeSet<u64> = seconds.map(|lease| lease.job.key).collect();
    // Types of which jobs wait: there an idle agent is idle for another reason.
    let waiting: BTreeSet<(usize, usize, SizeClass)> = view.jobs.iter().map(kind).collect();
    let mut slow: Vec<(f64, &Lease<'_>)> = view
        .leases
        .iter()
        .filter(|lease| !lease.is_second && !doubled.contains(&lease.job.key))
        .filter(|lease| is_at_risk(view, at_risk, &lease.job))
        .filter(|lease| !waiting.contains(&kind(&lease.job)))
        .filter_map(|lease| {
            let work = view.works[lease.job.work];
            // The agent may have loaded the key first.
            let over = now - lease.started - work.load - work.p95 / lease.speed;
            (over > 0.0).then_some((over, lease))
        })
        .collect();
    // What delays most first, then what is longest overdue.
    slow.sort_by(|(over, a), (other, b)| {
        let order = (a.job.epoch, std::cmp::Reverse(a.job.rank));
        let same = order.cmp(&(b.job.epoch, std::cmp::Reverse(b.job.rank)));
        same.then(other.total_cmp(over)).then(a.job.key.cmp(&b.job.key))
    });
    slow.dedup_by_key(|(_, lease)| lease.job.key);
    for (_, lease) in slow {
        if doubled.len() + decisions.second_leases.len() >= most {
            return;
        }
        let not = Some((lease.identity, lease.device));
        if let Some(choice) = idle.best(&Wanted { job: &lease.job, not }) {
            let grant = Grant { job: lease.job.key, ..idle.take(choice) };
            decisions.second_leases.push(grant);
        }
    }
}

fn is_at_risk(view: &View<'_>, at_risk: &[bool], job: &Job<'_>) -> bool {
    let mut epochs = view.epochs.iter().zip(at_risk);
    epochs
        .any(|(epoch, at_risk)| *at_risk && (epoch.tenant, epoch.number) == (job.tenant, job.epoch))
}

fn kind(job: &Job<'_>) -> (usize, usize, SizeClass) {
    (job.tenant, job.work, job.class)
}
