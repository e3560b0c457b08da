//! What proposers sign in one slot. One that signs two blocks of a slot loses its stake when somebody shows both
//! signatures to L1, and a member sees them first: it is asked to attest both.

use std::collections::BTreeMap;
use std::path::PathBuf;

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

/// The folder for evidence, with one file for an account and slot.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// A proposer sends its blocks at once: two requests that find the same must not write one file together.
    writing: Mutex<()>,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, writing: Mutex::new(()) }
    }

    /// Keeps evidence. `None` if there was some already of the account and slot. Blocks.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn keep(&self, evidence: &Evidence) -> std::io::Result<Option<PathBuf>> {
        let path = self.path.join(file_name(evidence.slot, evidence.attester));
        let _writing = self.writing.lock();
        if path.exists() {
            return Ok(None);
        }
        rollmill_files::make_folder(&self.path)?;
        let text = evidence.to_json()?;
        rollmill_files::write(&path, &[text.as_bytes()])?;
        Ok(Some(path))
    }
}

fn file_name(slot: u64, attester: Address) -> String {
    format!("{slot}-{attester}.json")
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use rollmill_l1::alloy::primitives::keccak256;
    use rollmill_l1::alloy::signers::SignerSync;
    use rollmill_l1::alloy::signers::local::PrivateKeySigner;
    use rollmill_l1::attest;
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

    /// Fault: a proposer sends many blocks of a slot at the same moment. Goal: the evidence is whole, and counts once.
    #[test]
    fn many_that_find_the_same_at_once_keep_it_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("evidence"));
        let key: PrivateKeySigner = format!("{:064x}", 7).parse().unwrap();
        let domain = (31337, Address::repeat_byte(0xa0));
        for slot in 0..50 {
            let statement = |number: u64| {
                let chain = keccak256(number.to_be_bytes());
                let digest = attest::block_digest(domain.0, domain.1, number, slot, chain);
                let signature = key.sign_hash_sync(&digest).unwrap().as_bytes().to_vec().into();
                Statement { number, chain, signature }
            };
            // They differ in length, too.
            let found: Vec<Evidence> = (1..=8_u32)
                .map(|digits| {
                    Evidence::new(domain, slot, statement(1), statement(10_u64.pow(digits)))
                })
                .collect::<Result<_, _>>()
                .unwrap();
            let barrier = Barrier::new(found.len());
            let keep = |evidence: &Evidence| {
                barrier.wait();
                folder.keep(evidence).unwrap()
            };
            let keep = &keep;
            let kept: Vec<PathBuf> = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    found.iter().map(|evidence| scope.spawn(move || keep(evidence))).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
            });
            let [path] = kept.as_slice() else { panic!("slot {slot}: {kept:?}") };
            let read = Evidence::read(&std::fs::read_to_string(path).unwrap()).unwrap();
            assert!(found.contains(&read), "slot {slot}");
        }
    }
}
