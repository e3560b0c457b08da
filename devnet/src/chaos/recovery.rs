//! How soon the network recovers from each fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use rollmill_broker_client::{AttemptOutcome, JobState, JobView};

use super::{Chaos, FaultRow, PATIENCE};
use crate::Error;
use crate::jobs::{self, Holding};

/// What shows that the network has recovered.
#[derive(Debug)]
enum Sign {
    /// The process of this name says that it can do its work.
    Ready(String),
    /// Every node follows L1 to its last block.
    InStep,
    /// The job of a killed agent is granted again, or done.
    Granted(Holding),
}

/// What a look at a sign found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Yes,
    NotYet,
    /// It cannot be seen any more.
    Never,
}

/// A fault that the network has not recovered from.
#[derive(Debug)]
struct Waiting {
    fault: String,
    since: Instant,
    sign: Sign,
}

/// The faults of a run so far.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    waiting: Vec<Waiting>,
    /// How long each recovery took, by fault.
    seconds: BTreeMap<String, Vec<f64>>,
    /// The broker's jobs, as last seen.
    jobs: Vec<JobView>,
}

impl Recoveries {
    /// A process runs again.
    pub(super) fn process(&mut self, fault: &str, name: &str) {
        let kind = name.trim_end_matches(|c: char| c == '-' || c.is_ascii_digit());
        self.wait(format!("{kind} {fault}"), Sign::Ready(name.to_owned()));
    }

    /// L1 or an endpoint before it is as it was.
    pub(super) fn chain(&mut self, fault: &str) {
        self.wait(fault.to_owned(), Sign::InStep);
    }

    /// A process is killed now, and with it what works on these jobs.
    pub(super) fn killed(&mut self, agent: &str) {
        if let Some(held) = jobs::victim(&self.jobs, &[agent.to_owned()]) {
            self.wait("job of a killed agent".to_owned(), Sign::Granted(held));
        }
    }

    fn wait(&mut self, fault: String, sign: Sign) {
        self.waiting.push(Waiting { fault, since: Instant::now(), sign });
    }

    /// Takes note of the broker's jobs.
    pub(super) fn see(&mut self, jobs: Vec<JobView>) {
        self.look(|sign| match sign {
            Sign::Granted(held) => granted(&jobs, held),
            Sign::Ready(_) | Sign::InStep => Seen::NotYet,
        });
        self.jobs = jobs;
    }

    fn look(&mut self, seen: impl Fn(&Sign) -> Seen) {
        for waiting in std::mem::take(&mut self.waiting) {
            match seen(&waiting.sign) {
                Seen::Yes => {
                    let seconds = waiting.since.elapsed().as_secs_f64();
                    self.seconds.entry(waiting.fault).or_default().push(seconds);
                }
                Seen::NotYet => self.waiting.push(waiting),
                Seen::Never => {}
            }
        }
    }

    /// Processes that are waited for.
    fn processes(&self) -> BTreeSet<String> {
        let names = self.waiting.iter().filter_map(|waiting| match &waiting.sign {
            Sign::Ready(name) => Some(name.clone()),
            Sign::InStep | Sign::Granted(_) => None,
        });
        names.collect()
    }

    fn waits_for_the_chain(&self) -> bool {
        self.waiting.iter().any(|waiting| matches!(waiting.sign, Sign::InStep))
    }

    /// One row for each kind of fault.
    pub(super) fn rows(&self) -> Vec<FaultRow> {
        let mut kinds: BTreeSet<&String> = self.seconds.keys().collect();
        kinds.extend(self.waiting.iter().map(|waiting| &waiting.fault));
        let row = |fault: &String| {
            let mut seconds = self.seconds.get(fault).cloned().unwrap_or_default();
            seconds.sort_by(f64::total_cmp);
            let unseen = self.waiting.iter().filter(|waiting| waiting.fault == *fault).count();
            FaultRow {
                fault: fault.clone(),
                recovered: u32::try_from(seconds.len()).unwrap_or(u32::MAX),
                unseen: u32::try_from(unseen).unwrap_or(u32::MAX),
                median_seconds: seconds.get(seconds.len().saturating_sub(1) / 2).copied(),
                longest_seconds: seconds.last().copied(),
            }
        };
        kinds.into_iter().map(row).collect()
    }
}

/// Whether the job of a killed agent is granted again. One that nobody wants any more never is.
fn granted(jobs: &[JobView], held: &Holding) -> Seen {
    if jobs::goes_on(jobs, held) {
        return Seen::Yes;
    }
    let is_wanted = |job: &JobView| !matches!(job.state, JobState::Cancelled | JobState::Dead);
    match jobs.iter().any(|job| job.id == held.job && is_wanted(job)) {
        true => Seen::NotYet,
        false => Seen::Never,
    }
}

impl Chaos<'_> {
    /// Looks which faults the network has recovered from.
    pub(super) async fn measure(&mut self) {
        let mut ready = BTreeSet::new();
        for name in self.recoveries.processes() {
            if !self.frozen.contains_key(&name) && self.network.is_ready(&name).await {
                ready.insert(name);
            }
        }
        let is_quiet = self.down.is_empty()
            && self.ending.is_empty()
            && self.frozen.is_empty()
            && self.endpoint_faults.is_empty();
        let in_step = is_quiet && self.recoveries.waits_for_the_chain() && self.is_in_step().await;
        self.recoveries.look(|sign| match sign {
            Sign::Ready(name) if ready.contains(name) => Seen::Yes,
            Sign::InStep if in_step => Seen::Yes,
            Sign::Ready(_) | Sign::InStep | Sign::Granted(_) => Seen::NotYet,
        });
    }

    /// Whether every node has the blocks and the proofs that L1 has.
    async fn is_in_step(&self) -> bool {
        let Ok(rollup) = self.running.l1.rollup(self.running.deployment.rollup).await else {
            return false;
        };
        let Ok(l1) = rollup.tips().await else { return false };
        for node in &self.running.nodes {
            let Ok(Ok(tips)) = tokio::time::timeout(PATIENCE, node.tips()).await else {
                return false;
            };
            let theirs = (tips.pending.block_number, tips.proven.block_number);
            if theirs != (l1.pending, l1.proven) {
                return false;
            }
        }
        true
    }

    /// Requires that no job had two results accepted, and returns how many have one.
    pub(super) async fn count_results(&mut self) -> Result<u64, Error> {
        let mut done = 0;
        for job in self.running.jobs.poll(self.progress).await? {
            let history = self.running.jobs.client().history(&job.id).await?;
            let accepted = history.attempts.iter().filter(|attempt| {
                matches!(attempt.outcome, AttemptOutcome::Completed | AttemptOutcome::CompletedLate)
            });
            match accepted.count() {
                0 => {}
                1 => done += 1,
                n => return Err(self.failed(format!("job {} has {n} accepted results", job.id))),
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use rollmill_broker_client::{Digest, JobId, KindName, LeaseEpoch, LeaseView, SizeClass};

    use super::*;

    fn job(state: JobState, lease: Option<(&str, u64)>) -> JobView {
        let kind: KindName = "tx_base".parse().unwrap();
        let lease = lease.map(|(agent, lease_epoch)| LeaseView {
            agent: agent.parse().unwrap(),
            lease_epoch: LeaseEpoch(lease_epoch),
            expires_in_ms: 1000,
            progress: None,
        });
        JobView {
            id: JobId::new(1, &kind, Digest::of(b"input")),
            version: "v1".parse().unwrap(),
            rank: 0,
            class: SizeClass::SMALLEST,
            state,
            attempts: 1,
            lease,
            result: None,
            agent: None,
            stats: None,
            failure: None,
            labels: BTreeMap::new(),
            created_unix_ms: 0,
            finished_unix_ms: None,
        }
    }

    fn counts(recoveries: &Recoveries) -> Vec<(String, u32, u32)> {
        recoveries.rows().into_iter().map(|row| (row.fault, row.recovered, row.unseen)).collect()
    }

    #[test]
    fn processes_of_a_kind_are_one_row_and_what_was_not_seen_is_counted() {
        let mut recoveries = Recoveries::default();
        recoveries.process("killed", "agent-1");
        recoveries.process("killed", "agent-2");
        recoveries.process("frozen", "prover-node");
        recoveries.chain("L1 reorganised");
        assert!(recoveries.waits_for_the_chain());
        recoveries.look(|sign| match sign {
            Sign::Ready(name) if name == "agent-2" => Seen::NotYet,
            _ => Seen::Yes,
        });
        assert!(!recoveries.waits_for_the_chain());
        assert_eq!(recoveries.processes().into_iter().collect::<Vec<_>>(), ["agent-2"]);
        let row = |fault: &str, recovered, unseen| (fault.to_owned(), recovered, unseen);
        let expected = [
            row("L1 reorganised", 1, 0),
            row("agent killed", 1, 1),
            row("prover-node frozen", 1, 0),
        ];
        assert_eq!(counts(&recoveries), expected);
    }

    #[test]
    fn the_median_and_the_longest_are_of_the_times_that_were_seen() {
        let mut recoveries = Recoveries::default();
        recoveries.seconds.insert("broker killed".to_owned(), vec![9.0, 1.0, 2.0, 3.0]);
        recoveries.chain("L1 reorganised");
        let rows = recoveries.rows();
        assert_eq!((rows[0].median_seconds, rows[0].longest_seconds), (None, None));
        assert_eq!((rows[1].median_seconds, rows[1].longest_seconds), (Some(2.0), Some(9.0)));
    }

    #[test]
    fn the_job_of_a_killed_agent_is_waited_for_until_it_is_granted_again() {
        let leased = |agent, epoch| vec![job(JobState::Leased, Some((agent, epoch)))];
        let mut recoveries = Recoveries::default();
        recoveries.see(leased("agent-1", 4));
        recoveries.killed("agent-2");
        assert!(recoveries.rows().is_empty(), "it held nothing");
        recoveries.killed("agent-1");
        recoveries.see(leased("agent-1", 4));
        recoveries.see(vec![job(JobState::Ready, None)]);
        let row = |recovered, unseen| [("job of a killed agent".to_owned(), recovered, unseen)];
        assert_eq!(counts(&recoveries), row(0, 1));
        recoveries.see(leased("agent-2", 5));
        assert_eq!(counts(&recoveries), row(1, 0));
        // Nobody grants a job that was cancelled, so it is no fault that it does not go on.
        recoveries.killed("agent-2");
        recoveries.see(vec![job(JobState::Cancelled, None)]);
        assert_eq!(counts(&recoveries), row(1, 0));
    }
}
