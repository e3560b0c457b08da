//! `--failover`: two prover nodes of one account; the one that holds the submitter's lease is killed at
//! each of its steps, and the other must submit within one lease.

use std::time::{Duration, Instant};

use rollmill_broker_client::SUBMITTER_LEASE;
use serde::{Deserialize, Serialize};

use crate::process::Program;
use crate::scenario::{POLL, Running};
use crate::{Error, Network, Options, Progress, services};

/// Failpoints of the prover node at which it is killed, in the order of an epoch.
pub const STEPS: [&str; 6] = [
    "prover-node.planned",
    "prover-node.proving",
    "prover-node.submitting",
    "prover-node.before_submit",
    "prover-node.after_submit",
    "prover-node.included",
];
/// The metric that says whether a prover node holds the submitter's lease.
const LEASE_HELD: &str = "rollmill_prover_node_submitter_lease_held";
/// The environment variable that arms a failpoint.
const FAILPOINT: &str = "ROLLMILL_FAILPOINT";
/// One poll of the node that takes over, a simulation and an L1 block, on a machine that also proves.
const SLACK: Duration = Duration::from_secs(15);
/// How long a node may take to get a lease that is free, or to reach its failpoint.
const PATIENCE: Duration = Duration::from_secs(300);

/// The result of one kill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Takeover {
    /// The step at which the holder was killed.
    pub step: String,
    /// Whether its proof was on L1 already, so that there was nothing left to submit.
    pub was_proven: bool,
    /// From the kill, or from the epoch's last proof where that is later, until the epoch was proven on
    /// L1; 0 where it was proven already.
    pub seconds: f64,
}

/// Kills the lease holder at each step.
///
/// # Errors
/// [`Error::Failover`] when the other does not submit in time.
pub async fn run(
    options: &Options,
    network: &mut Network,
    running: &mut Running,
    progress: &mut Progress,
) -> Result<Vec<Takeover>, Error> {
    let mut takeovers = Vec::new();
    let [mut holder, mut standby] = [1, 2].map(services::prover_node_name);
    let rollup = running.l1.rollup(running.deployment.rollup).await?;
    for step in STEPS {
        // The one to kill starts again with its failpoint while the other is down, and holds
        // the lease before the other is back.
        let armed = network.end(&holder).await?;
        let other = network.end(&standby).await?;
        let kill = armed.clone().env(FAILPOINT, step);
        network.start(kill, services::NODE_LIMIT).await?;
        let failed = |why: String| Error::Failover { step: step.into(), why };
        wait_for_lease(network, &armed).await?;
        network.expect_exit(&holder);
        network.start(other, services::NODE_LIMIT).await?;
        progress.line(&format!("{holder} holds the lease and ends at {step}; {standby} stands by"));

        running.send_round(options, network, progress).await?;
        let last_block = rollup.tips().await?.pending;
        let takeover = takeover(step, &holder, last_block, network, running, progress).await?;
        progress.line(&format!("killed {holder} at {step}: {}", takeover.what(&standby)));
        if takeover.seconds > (SUBMITTER_LEASE + SLACK).as_secs_f64() {
            return Err(failed(format!("{standby} submitted after {:.1} s", takeover.seconds)));
        }
        takeovers.push(takeover);
        network.start(armed, services::NODE_LIMIT).await?;
        std::mem::swap(&mut holder, &mut standby);
    }
    Ok(takeovers)
}

impl Takeover {
    fn what(&self, standby: &str) -> String {
        if self.was_proven {
            "the epoch was proven already".into()
        } else {
            format!("{standby} had the epoch proven {:.1} s later", self.seconds)
        }
    }
}

/// Waits until the holder has crashed and its epoch is proven.
async fn takeover(
    step: &str,
    holder: &str,
    last_block: u64,
    network: &mut Network,
    running: &mut Running,
    progress: &mut Progress,
) -> Result<Takeover, Error> {
    let start = Instant::now();
    let mut proven = 0;
    let mut finished = running.jobs.reports().len();
    let (mut exited, mut was_proven) = (None, false);
    let mut last_job = start;
    loop {
        if exited.is_none() && network.take_exited(holder)? {
            exited = Some(Instant::now());
        }
        network.check()?;
        running.jobs.poll(progress).await?;
        if running.jobs.reports().len() > finished {
            finished = running.jobs.reports().len();
            last_job = Instant::now();
        }
        for event in running.follow(progress).await? {
            proven = proven.max(event.last_block);
        }
        if proven >= last_block {
            if let Some(exited) = exited {
                let since = exited.max(last_job);
                let seconds = if was_proven { 0.0 } else { since.elapsed().as_secs_f64() };
                return Ok(Takeover { step: step.into(), was_proven, seconds });
            }
            // The process has yet to notice that its epoch is proven.
            was_proven = true;
        }
        if start.elapsed() > PATIENCE {
            let what = if exited.is_some() { "the epoch is not proven" } else { "it still runs" };
            let why = format!("{what} after {} s", PATIENCE.as_secs());
            return Err(Error::Failover { step: step.into(), why });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until `program` reports that it holds the submitter's lease.
async fn wait_for_lease(network: &mut Network, program: &Program) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        network.check()?;
        if network.metric(&program.name, LEASE_HELD).await == Some(1.0) {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            let name = program.name.clone();
            let last_line = "it does not hold the submitter's lease".into();
            return Err(Error::NotReady { name, limit: PATIENCE, last_line });
        }
        tokio::time::sleep(POLL).await;
    }
}
