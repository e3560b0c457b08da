//! `--kill`: kills an agent in mid-proof, then the broker; the epoch must be proven on L1 nevertheless. With a committee, also
//! one of its members, between a block that it signed and one that is proposed without it.

use std::time::{Duration, Instant};

use rollmill_l1::RollupContract;

use crate::jobs::{self, Jobs};
use crate::process::Program;
use crate::{BlockSignatures, Error, Network, Progress, Recovery, services};

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

/// How far the kill of a member of the committee is.
#[derive(Debug)]
pub enum MemberKill {
    /// No block has a signature yet.
    Due,
    /// A member was killed, and stays down until a block was proposed without it.
    Down(Down),
    /// It runs again, or this run kills none.
    Over,
}

impl MemberKill {
    /// Requires that there is nothing left to show.
    ///
    /// # Errors
    /// [`Error::Failover`] if the run ended before a member was killed, or before a block was proposed without it.
    pub fn require_over(&self) -> Result<(), Error> {
        let (step, why) = match self {
            Self::Over => return Ok(()),
            Self::Due => ("of a member".to_owned(), "no block has a signature of one"),
            Self::Down(down) => {
                (format!("of {}", down.program.name), "no block was proposed without it")
            }
        };
        Err(Error::Failover { step, why: why.to_owned() })
    }
}

/// A member of the committee that is down.
#[derive(Debug)]
pub struct Down {
    pub program: Program,
    pub since: Instant,
    /// The slot of L1 after the kill. The member may have signed for it, and for none after it.
    pub slot: u64,
}

/// A block, and whether the killed member signed it.
#[derive(Debug, Clone, Copy)]
pub struct Signed {
    pub number: u64,
    pub slot: u64,
    pub is_signed: bool,
}

/// The member to kill: the last of those that signed a block. Never the first member, whose node shows the chain.
pub fn victim(signatures: &[BlockSignatures]) -> Option<String> {
    let first = services::sequencer_name(1);
    let mut signed = signatures.iter().flat_map(|of| of.signed.iter().rev());
    signed.find(|name| **name != first).cloned()
}

/// Kills a member of the committee.
///
/// # Errors
/// [`Error::Ended`], [`Error::L1`].
pub async fn kill_member(
    network: &mut Network,
    member: &str,
    rollup: &RollupContract,
    progress: &mut Progress,
) -> Result<Down, Error> {
    let program = network.kill(member).await?;
    let since = Instant::now();
    // Read after the kill: a signature that is on its way is for this slot at the latest.
    let slot = rollup.current_slot().await?;
    progress.line(&format!("killed {member} in slot {slot}, after a block with its signature"));
    Ok(Down { program, since, slot })
}

/// The first block that was proposed after the slot of a member's kill; `None` while there is none.
///
/// # Errors
/// A sentence, if one of these has the member's signature, or if none before has: then the signature is missing for
/// another reason.
pub fn first_without(slot: u64, blocks: &[Signed]) -> Result<Option<u64>, String> {
    let (before, after): (Vec<&Signed>, Vec<&Signed>) =
        blocks.iter().partition(|block| block.slot <= slot);
    if !before.iter().any(|block| block.is_signed) {
        return Err(format!("no block up to slot {slot} has its signature"));
    }
    if let Some(Signed { number, slot: at, .. }) = after.iter().find(|block| block.is_signed) {
        return Err(format!(
            "block {number} of slot {at} has its signature, after its kill in slot {slot}"
        ));
    }
    Ok(after.first().map(|block| block.number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed_by(members: &[u32]) -> BlockSignatures {
        let signed = members.iter().map(|i| services::sequencer_name(*i)).collect();
        BlockSignatures { block: 1, proposer: services::sequencer_name(1), signed }
    }

    #[test]
    fn the_member_to_kill_has_signed_and_is_not_the_first() {
        assert_eq!(victim(&[]), None);
        assert_eq!(victim(&[signed_by(&[1])]), None);
        assert_eq!(victim(&[signed_by(&[1, 2, 3])]), Some(services::sequencer_name(3)));
    }

    #[test]
    fn a_kill_shows_something_only_between_a_block_with_the_signature_and_one_without() {
        let blocks = |signed: [bool; 3]| {
            [(1, 4), (2, 6), (3, 7)]
                .into_iter()
                .zip(signed)
                .map(|((number, slot), is_signed)| Signed { number, slot, is_signed })
                .collect::<Vec<_>>()
        };
        assert_eq!(first_without(5, &blocks([true, false, false])), Ok(Some(2)));
        // A signature of the slot of the kill was on its way.
        assert_eq!(first_without(6, &blocks([true, true, false])), Ok(Some(3)));
        assert_eq!(first_without(7, &blocks([true, true, true])), Ok(None));
        let late = first_without(5, &blocks([true, false, true])).unwrap_err();
        assert!(late.contains("block 3 of slot 7"), "{late}");
        let never = first_without(5, &blocks([false, false, false])).unwrap_err();
        assert!(never.contains("no block up to slot 5"), "{never}");
        assert!(MemberKill::Due.require_over().is_err());
        assert!(MemberKill::Over.require_over().is_ok());
    }
}
