//! `--kill`: kills an agent in mid-proof, then the broker; the epoch must be proven on L1 nevertheless.

use std::time::{Duration, Instant};

use crate::jobs::{self, Jobs};
use crate::process::Program;
use crate::{Error, Network, Progress, Recovery, services};

/// Polling interval of the broker.
const POLL: Duration = Duration::from_millis(200);
/// How long a killed process may take to be ready again.
const RESTART_LIMIT: Duration = Duration::from_secs(600);

/// Waits until one of `agents` holds a job, kills it, restarts it, and measures until the job is
/// leased again or done.
///
/// # Errors
/// [`Error::Broker`], [`Error::Ended`].
pub async fn kill_agent(
    network: &mut Network,
    jobs: &mut Jobs,
    agents: &[String],
    progress: &mut Progress,
) -> Result<Recovery, Error> {
    let held = loop {
        network.check()?;
        if let Some(held) = jobs::victim(&jobs.poll(progress).await?, agents) {
            break held;
        }
        tokio::time::sleep(POLL).await;
    };
    let program = network.kill(&held.agent).await?;
    let start = Instant::now();
    progress.line(&format!("killed {} in the middle of {}", held.agent, held.job.kind()));
    // The lease is what brings the job back, not the restart: the agent remembers nothing.
    network.launch(program)?;
    loop {
        network.check()?;
        if jobs::goes_on(&jobs.poll(progress).await?, &held) {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let seconds = start.elapsed().as_secs_f64();
    progress.line(&format!("{}'s work continued after {seconds:.1} s", held.agent));
    Ok(Recovery { killed: held.agent, seconds })
}

/// Kills the broker and with it its database, restarts it on the same data, and measures until it
/// grants a job or accepts a result.
///
/// # Errors
/// [`Error::Broker`], [`Error::Ended`], [`Error::NotReady`].
pub async fn kill_broker(
    network: &mut Network,
    jobs: &mut Jobs,
    progress: &mut Progress,
) -> Result<Recovery, Error> {
    let before = jobs::activity(&jobs.poll(progress).await?);
    let program = network.kill("broker").await?;
    let start = Instant::now();
    progress.line("killed the broker");
    network.start(program, RESTART_LIMIT).await?;
    progress.line(&format!("broker ready again after {:.1} s", start.elapsed().as_secs_f64()));
    loop {
        network.check()?;
        if jobs::activity(&jobs.poll(progress).await?) > before {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let seconds = start.elapsed().as_secs_f64();
    progress.line(&format!("the broker's work continued after {seconds:.1} s"));
    Ok(Recovery { killed: "broker".into(), seconds })
}

/// A member of the committee that is down.
#[derive(Debug)]
pub struct Down {
    pub program: Program,
    pub since: Instant,
}

/// Kills the last member of a committee. It stays down until the first epoch is proven.
///
/// # Errors
/// [`Error::Ended`].
pub async fn kill_member(
    network: &mut Network,
    members: u32,
    progress: &mut Progress,
) -> Result<Down, Error> {
    let program = network.kill(&services::sequencer_name(members)).await?;
    progress.line(&format!("killed {}, a member of the committee", program.name));
    Ok(Down { program, since: Instant::now() })
}
