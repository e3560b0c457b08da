//! What proposers sign in one slot. One that signs two blocks of a slot loses its stake when somebody shows both
//! signatures to L1, and a member sees them first: it is asked to attest both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rollmill_l1::abi;
use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::evidence::{Evidence, Statement};
use rollmill_node::{BlockSigner, Signed, SigningError, Vote};
use rollmill_validator_client::Proposal;

/// Slots whose first proposal is remembered: proposals come in their slot or just before it.
const SLOTS_MAX: usize = 16;

/// A proposal's vote with its proposer's signature.
pub(crate) fn of_proposal(proposal: &Proposal) -> Signed {
    let (number, slot) = (proposal.header.block_number, proposal.header.slot);
    let vote = Vote { number, slot, chain: proposal.chain };
    Signed { vote, signature: proposal.signature }
}

/// The first block of each slot that its proposer signed, as far as this member saw it.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<BTreeMap<u64, Signed>>);

impl Seen {
    /// Remembers what the slot's proposer signed; returns another block of the slot that it signed before.
    pub(crate) fn observe(&self, signed: Signed) -> Option<Signed> {
        let mut slots = self.0.lock();
        let first = *slots.entry(signed.vote.slot).or_insert(signed);
        while slots.len() > SLOTS_MAX {
            slots.pop_first();
        }
        (first.vote != signed.vote).then_some(first)
    }
}

/// Another block of the slot that this member attested before, also before a restart: it keeps the proposal.
///
/// # Errors
/// When the record of signatures cannot be read.
pub(crate) fn attested_before(
    signer: &BlockSigner,
    signed: &Signed,
) -> Result<Option<Signed>, SigningError> {
    let own = signer.signed(signed.vote.slot)?;
    if own.is_none_or(|own| own.vote == signed.vote) {
        return Ok(None);
    }
    // What was signed was read before.
    let kept =
        signer.proposal(signed.vote.slot)?.and_then(|bytes| Proposal::from_bytes(&bytes).ok());
    Ok(kept.map(|proposal| of_proposal(&proposal)).filter(|first| first.vote != signed.vote))
}

/// What two signed blocks of a slot show.
///
/// # Errors
/// Why they show nothing.
pub(crate) fn of_two(
    signer: &BlockSigner,
    first: &Signed,
    second: &Signed,
) -> Result<Evidence, String> {
    let statement = |Signed { vote, signature }: &Signed| Statement {
        number: vote.number,
        chain: abi::word(&vote.chain),
        signature: signature.to_vec().into(),
    };
    Evidence::new(signer.domain(), second.vote.slot, statement(first), statement(second))
}

/// Keeps evidence in a folder, one file for an account and slot. `None` if it was there already.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn keep(folder: &Path, evidence: &Evidence) -> std::io::Result<Option<PathBuf>> {
    let path = folder.join(file_name(evidence.slot, evidence.attester));
    if path.exists() {
        return Ok(None);
    }
    std::fs::create_dir_all(folder)?;
    let text = evidence.to_json()?;
    rollmill_l1::replace_file(&path, &path.with_extension("new"), &[text.as_bytes()])?;
    Ok(Some(path))
}

fn file_name(slot: u64, attester: Address) -> String {
    format!("{slot}-{attester}.json")
}

#[cfg(test)]
mod tests {
    use rollmill_protocol::Fr;

    use super::*;

    fn signed(slot: u64, chain: u64) -> Signed {
        Signed { vote: Vote { number: 1, slot, chain: Fr::from(chain) }, signature: [0; 65] }
    }

    #[test]
    fn another_block_of_a_slot_is_noticed_and_old_slots_are_forgotten() {
        let seen = Seen::default();
        assert_eq!(seen.observe(signed(5, 1)), None);
        assert_eq!(seen.observe(signed(5, 1)), None);
        assert_eq!(seen.observe(signed(5, 2)), Some(signed(5, 1)));
        assert_eq!(seen.observe(signed(6, 2)), None);
        for slot in 7..7 + SLOTS_MAX as u64 {
            assert_eq!(seen.observe(signed(slot, 1)), None);
        }
        assert_eq!(seen.0.lock().len(), SLOTS_MAX);
        assert_eq!(
            seen.observe(signed(5, 3)),
            None,
            "slot 5 is forgotten, and not remembered again"
        );
        assert!(!seen.0.lock().contains_key(&5));
    }
}
