//! `--terminate`: sends SIGTERM to each process while an epoch is being proven. It must exit with 0 within its grace
//! period and lose nothing that it holds, and the epoch must become final on L1 once it runs again.
//!
//! A node is a part of a sequencer or of a prover node, and a validator a part of a sequencer. A sequencer's own work is
//! a transfer that waits in its pool for the next epoch.

use std::time::{Duration, Instant};

use rollmill_broker_client::{AgentId, AttemptOutcome, Incarnation, JobId, JobState, JobView};
use rollmill_node_client::wire::TxStatus;
use rollmill_protocol::Tx;
use serde::{Deserialize, Serialize};

use crate::deployment::{PROVER_KEY, signer};
use crate::jobs::{self, Holding};
use crate::scenario::{POLL, Running};
use crate::{Error, Network, Options, Progress, services};

/// How long a process may take beyond its grace period before it is killed: it says by then why it did not end.
const SLACK: Duration = Duration::from_secs(5);
/// How long a process may take to be ready again.
const RESTART_LIMIT: Duration = Duration::from_secs(600);
/// Longest wait for a job, for a block and for the proof of an epoch.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long the submitter's lease is held to see that it was free.
const PROBE: Duration = Duration::from_secs(1);

/// The grace period that the programs document.
pub fn grace() -> Duration {
    Duration::from_secs(rollmill_service::Common::default().grace_seconds)
}

/// When a process is killed that was asked to exit.
pub fn limit() -> Duration {
    grace() + SLACK
}

/// The result of one SIGTERM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Termination {
    /// Name of the process.
    pub process: String,
    pub exit_code: i32,
    /// From the signal until the process had exited.
    pub seconds: f64,
    /// From the signal until L1 had finalized the proof of the epoch.
    pub final_seconds: f64,
    /// What the process held, and the outcome of it.
    pub held: String,
}

/// A process that gets the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Agent,
    Broker,
    ProverNode,
    /// The sequencer of a member of the committee, counted from 1.
    Member(u32),
}

impl Victim {
    /// Those of a network, in the order of their turns. The first member shows the chain; the second stands for the
    /// others.
    fn all(options: &Options) -> Vec<Self> {
        let members = (1..=options.committee.min(2)).map(Self::Member);
        [Self::Agent, Self::Broker, Self::ProverNode].into_iter().chain(members).collect()
    }

    fn name(self, work: &Work) -> String {
        match self {
            Self::Agent => work.lease.agent.clone(),
            Self::Broker => "broker".to_owned(),
            Self::ProverNode => services::prover_node_name(1),
            Self::Member(i) => services::sequencer_name(i),
        }
    }

    /// Whether what it holds must be free while it is down.
    const fn hands_back(self) -> bool {
        matches!(self, Self::Agent | Self::ProverNode)
    }
}

/// The work at the moment of the signal.
#[derive(Debug)]
struct Work {
    /// The lease of an agent.
    lease: Holding,
    /// The jobs of the epoch.
    jobs: Vec<JobView>,
    /// A transfer that waits for the next epoch.
    waiting: Option<Tx>,
}

/// Sends SIGTERM to one process after the other.
///
/// # Errors
/// [`Error::Termination`] when a process does not exit in order or loses something, or the epoch does not become final.
pub async fn run(
    options: &Options,
    network: &mut Network,
    running: &mut Running,
    progress: &mut Progress,
) -> Result<Vec<Termination>, Error> {
    let mut terminations = Vec::new();
    for victim in Victim::all(options) {
        terminations.push(terminate(victim, options, network, running, progress).await?);
    }
    Ok(terminations)
}

async fn terminate(
    victim: Victim,
    options: &Options,
    network: &mut Network,
    running: &mut Running,
    progress: &mut Progress,
) -> Result<Termination, Error> {
    // Proven before there are jobs, which take every core.
    let waiting = match victim {
        Victim::Member(_) => {
            let (node, last) = (running.node.clone(), running.accounts.len().saturating_sub(1));
            Some(running.accounts.prepare_one(last, &node).await?)
        }
        Victim::Agent | Victim::Broker | Victim::ProverNode => None,
    };
    let mut last_block = running.send_round(options, network, progress).await?;
    let work = work(waiting, options, network, running, progress).await?;
    if let Some(tx) = &work.waiting {
        running.send(std::slice::from_ref(tx), network, progress).await?;
    }

    let (name, start) = (victim.name(&work), Instant::now());
    let exit = network.terminate(&name, limit())?.await;
    let exit = exit.map_err(|error| failed(&name, error.to_string()))?;
    let exit_code = match (exit.fault(grace()), exit.code()) {
        (None, Some(code)) => code,
        (why, _) => return Err(failed(&name, why.unwrap_or_default())),
    };
    let (seconds, kind) = (exit.seconds, work.lease.job.kind());
    progress.line(&format!("{name} exited {seconds:.1} s after SIGTERM, in the middle of {kind}"));
    if !victim.hands_back() {
        network.start(exit.program.clone(), RESTART_LIMIT).await?;
    }
    let held = held(victim, &name, &work, running, progress).await?;
    progress.line(&format!("{name} held: {held}"));
    if victim.hands_back() {
        network.start(exit.program, RESTART_LIMIT).await?;
    }
    if let Some(tx) = &work.waiting {
        let included = running.wait_for(std::slice::from_ref(tx), network, progress);
        let included = tokio::time::timeout(PATIENCE, included).await;
        let late = |_| failed(&name, "the transfer in its pool is in no block".to_owned());
        last_block = last_block.max(included.map_err(late)??);
    }
    until_final(last_block, &name, network, running, progress).await?;
    let final_seconds = start.elapsed().as_secs_f64();
    Ok(Termination { process: name, exit_code, seconds, final_seconds, held })
}

fn failed(process: &str, why: String) -> Error {
    Error::Termination { process: process.to_owned(), why }
}

/// Waits until an agent works on the epoch.
async fn work(
    waiting: Option<Tx>,
    options: &Options,
    network: &mut Network,
    running: &mut Running,
    progress: &mut Progress,
) -> Result<Work, Error> {
    let agents: Vec<String> = (1..=options.agents).map(services::agent_name).collect();
    let start = Instant::now();
    loop {
        network.check()?;
        let mut jobs = running.jobs.poll(progress).await?;
        if let Some(lease) = jobs::victim(&jobs, &agents) {
            jobs.retain(|job| job.id.epoch() == lease.job.epoch());
            return Ok(Work { lease, jobs, waiting });
        }
        if start.elapsed() > PATIENCE {
            let why = format!("did not get the signal: no agent has a job after {PATIENCE:?}");
            return Err(failed("a process", why));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Requires that what the process held is kept or free, and says which.
async fn held(
    victim: Victim,
    name: &str,
    work: &Work,
    running: &mut Running,
    progress: &mut Progress,
) -> Result<String, Error> {
    match victim {
        Victim::Agent | Victim::Broker => lease(victim, name, &work.lease, running).await,
        Victim::ProverNode => {
            let jobs = kept(name, work, running, progress).await?;
            match is_submitter_free(running).await? {
                true => Ok(format!("{jobs} jobs, kept; the submitter's lease, released")),
                false => Err(failed(name, "did not release the submitter's lease".to_owned())),
            }
        }
        Victim::Member(i) => {
            let (Some(tx), Some(node)) = (&work.waiting, running.nodes.get(i as usize - 1)) else {
                return Err(failed(name, "has no node".to_owned()));
            };
            match node.transaction_status(&tx.hash()).await? {
                TxStatus::Pending { .. } | TxStatus::Included { .. } | TxStatus::Proven { .. } => {
                    Ok("a transfer in its pool, kept".to_owned())
                }
                status => Err(failed(name, format!("lost the transfer in its pool: {status:?}"))),
            }
        }
    }
}

/// What became of the agent's lease: an agent returns it, and a broker keeps it over its restart.
async fn lease(
    victim: Victim,
    name: &str,
    held: &Holding,
    running: &Running,
) -> Result<String, Error> {
    let history = running.jobs.client().history(&held.job).await?;
    let mut attempts = history.attempts.into_iter();
    let attempt = attempts.find(|attempt| attempt.lease_epoch == Some(held.lease_epoch));
    let (kind, outcome) = (held.job.kind(), attempt.map(|attempt| attempt.outcome));
    match (victim, outcome) {
        (Victim::Agent, Some(AttemptOutcome::Released)) => Ok(format!("{kind}, returned")),
        (_, Some(AttemptOutcome::Completed | AttemptOutcome::CompletedLate)) => {
            Ok(format!("{kind}, done"))
        }
        (Victim::Broker, Some(AttemptOutcome::Running)) => {
            Ok(format!("the lease of {} on {kind}, kept", held.agent))
        }
        (_, outcome) => Err(failed(name, format!("left an attempt at {kind} as {outcome:?}"))),
    }
}

/// The number of jobs that the prover node has enqueued and that are there without it.
async fn kept(
    name: &str,
    work: &Work,
    running: &mut Running,
    progress: &mut Progress,
) -> Result<usize, Error> {
    let is_needed = |job: &&JobView| !matches!(job.state, JobState::Cancelled | JobState::Dead);
    let now = running.jobs.poll(progress).await?;
    let there = |id: &JobId| now.iter().filter(is_needed).any(|job| job.id == *id);
    for job in work.jobs.iter().filter(is_needed) {
        if !there(&job.id) {
            return Err(failed(name, format!("took job {} with it", job.id)));
        }
    }
    Ok(work.jobs.len())
}

/// Whether the submitter's lease is free, which this takes for a moment.
async fn is_submitter_free(running: &Running) -> Result<bool, Error> {
    let (rollup, prover) = (running.deployment.rollup, signer(PROVER_KEY)?.address());
    let name = format!("submitter/{rollup:x}/{prover:x}");
    let holder = AgentId::of_process("devnet", std::process::id());
    let (client, incarnation) = (running.jobs.client(), Incarnation::random());
    let lease = client.acquire_name(&name, &holder, &incarnation, PROBE).await?;
    if lease.held {
        client.release_name(&name, &holder, &incarnation, lease.fence).await?;
    }
    Ok(lease.held)
}

/// Waits until L1 has finalized the proof of a block.
async fn until_final(
    last_block: u64,
    name: &str,
    network: &mut Network,
    running: &mut Running,
    progress: &mut Progress,
) -> Result<(), Error> {
    let (start, mut proven_at) = (Instant::now(), None);
    loop {
        network.check()?;
        running.jobs.poll(progress).await?;
        for event in running.follow(progress).await? {
            let (first, last) = (event.first_block, event.last_block);
            progress.line(&format!("blocks {first} to {last} proven on L1"));
            if last >= last_block {
                proven_at.get_or_insert(event.place.block.number);
            }
        }
        if let Some(number) = proven_at
            && running.l1.finalized().await?.is_some_and(|block| block.number >= number)
        {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            let what = if proven_at.is_some() { "final" } else { "proven" };
            return Err(failed(name, format!("runs again, but block {last_block} is not {what}")));
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn each_kind_of_process_gets_the_signal_once() {
        let all = |flags: &[&str]| {
            let flags = ["rollmill-devnet", "--terminate"].iter().chain(flags);
            Victim::all(&Options::try_parse_from(flags).unwrap())
        };
        let [agent, broker, prover] = [Victim::Agent, Victim::Broker, Victim::ProverNode];
        let [sequencer, validator] = [1, 2].map(Victim::Member);
        assert_eq!(all(&[]), [agent, broker, prover, sequencer, validator]);
        assert_eq!(all(&["--committee", "4"]), [agent, broker, prover, sequencer, validator]);
        assert_eq!(all(&["--committee", "1"]), [agent, broker, prover, sequencer]);
        assert!(limit() > grace() && grace() > Duration::ZERO);
    }
}
