//! What a wallet finds in blocks, what it must not believe, and what a reorganisation does to it.

mod deliver;
mod deposits;
mod keyed;
mod keyed_random;
#[path = "../../tests/ledger/mod.rs"]
pub(crate) mod ledger;
mod lies;
mod plan;
mod privacy;
mod races;
mod random;
mod sent;

use ark_ff::Zero;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rollmill_circuits::circuit::log_n;
use rollmill_node_client::wire::{BlockEffects, TxStatus};
use rollmill_plonk::check::check;
use rollmill_protocol::gas::{DA_GAS_PER_TX, FEE_PER_GAS_MAX, GasSettings, L2_GAS_PER_TX};
use rollmill_protocol::genesis::GenesisNote;
use rollmill_protocol::note::{NoteOrigin, nullifier};
use rollmill_protocol::tx::{NO_EXPIRY, SLOTS, log_bytes, log_hash, log_words};
use rollmill_protocol::{BlockBody, Circuit, EthAddress, Log, Note, TxEffects};
use rollmill_service::Shutdown;

use super::*;
use crate::keys::point_to_bytes;
use crate::leaks;
use crate::logs::{self, LogNote};
use ledger::{FEE, FEE_MAX, Ledger, Node, SPONSOR};

/// A value beside which the fees of a test are small.
const UNIT: u64 = 1_000_000_000;

fn keys(name: u8) -> Keys {
    Keys::from_seed(&[name; 32])
}

fn owner(name: u8) -> Fr {
    keys(name).address().to_field()
}

/// A wallet of `name` that expects block 1.
fn wallet(name: u8) -> Wallet {
    let mut wallet = Wallet::new(keys(name));
    wallet.state.next_block = 1;
    wallet
}

fn genesis_note(name: u8, value: u64) -> GenesisNote {
    GenesisNote { owner: owner(name), value, randomness: Fr::from(value + 3) }
}

/// A chain without notes.
fn empty_ledger() -> Ledger {
    Ledger::new(vec![], &[], 1, Fr::zero())
}

/// Checks the witness against the circuit, and generates no proof: the node of these tests does not verify
/// any.
#[derive(Debug)]
pub(crate) struct CheckedOnly;

impl ClientProver for CheckedOnly {
    fn prove(&self, witness: &ClientWitness, _seed: [u8; 32]) -> Result<Vec<u8>, PxeError> {
        let laid = rollmill_circuits::client::build(witness).finish(Some(log_n(Circuit::Client)));
        let (layout, laid) = laid.map_err(|error| PxeError::Prove(error.to_string()))?;
        check(&layout, &laid).map_err(|violation| PxeError::Prove(violation.to_string()))?;
        Ok(vec![7; 10])
    }
}

/// What one payment adds to a transaction.
#[derive(Clone)]
struct Payment {
    note: Note,
    log: Log,
    tag: Fr,
}

/// `value` from one account to another, as log number `counter` of that pair.
fn payment(from: &Keys, to: &Keys, value: u64, counter: u64) -> Payment {
    let address = to.address();
    let randomness = Fr::from(1000 * value + counter);
    let note = Note { owner: address.to_field(), value, randomness };
    let plain = LogNote { value, randomness, sender: from.address().vpk };
    let log = logs::encrypt(&address, &plain, &mut ChaCha20Rng::seed_from_u64(value + counter));
    let secret = logs::pair_secret(&from.vsk, &address.vpk, &address.to_field());
    Payment { note, log, tag: logs::published_tag(&secret, counter) }
}

/// A transaction of these payments that spends `nullifiers`; the first one is the notes' origin. A sponsor
/// pays for it.
fn body(nullifiers: &[Fr], payments: &[Payment]) -> BlockBody {
    let none = [Fr::zero(); SLOTS];
    let mut effects = TxEffects {
        nullifiers: none,
        note_hashes: none,
        tags: none,
        log_hashes: none,
        messages: [Fr::zero(); 2],
        public_calls_hash: Fr::zero(),
        fee_payer: Fr::from(SPONSOR),
        gas: GasSettings {
            max_fee_per_l2_gas: FEE_PER_GAS_MAX,
            max_fee_per_da_gas: FEE_PER_GAS_MAX,
            l2_gas_limit: L2_GAS_PER_TX,
            da_gas_limit: DA_GAS_PER_TX,
            ..GasSettings::default()
        },
        notes_in: 0,
        notes_out: 0,
        claim_index: 0,
        claim_amount: 0,
        withdraw_recipient: EthAddress::default(),
        withdraw_amount: 0,
        refund_partial: Fr::zero(),
        expiry_slot: NO_EXPIRY,
    };
    effects.nullifiers[..nullifiers.len()].copy_from_slice(nullifiers);
    for (i, payment) in payments.iter().enumerate() {
        let origin = NoteOrigin { first_nullifier: nullifiers[0], index: i as u64 };
        effects.note_hashes[i] = payment.note.unique(&origin);
        effects.tags[i] = payment.tag;
        effects.log_hashes[i] = log_hash(&payment.log);
    }
    BlockBody { effects, logs: payments.iter().map(|payment| payment.log).collect() }
}

/// A chain of transactions that nobody sent, one block after the other.
struct Blocks(Ledger);

impl Blocks {
    fn new() -> Self {
        Self(empty_ledger())
    }

    /// A block with one transaction of these payments.
    fn pay(&mut self, nullifiers: &[Fr], payments: &[Payment]) -> BlockEffects {
        self.of(&[body(nullifiers, payments)])
    }

    fn of(&mut self, bodies: &[BlockBody]) -> BlockEffects {
        let slot = self.0.tip().slot + 1;
        self.0.publish(slot, bodies)
    }

    /// A block in which `wallet` reads one payment.
    fn read(&mut self, wallet: &mut Wallet, payment: Payment) {
        let first = Fr::from(1_000 + wallet.state.next_block);
        wallet.read_block(&self.pay(&[first], &[payment])).unwrap();
    }
}

fn seen(wallet: &Wallet, from: &Keys) -> Option<u64> {
    let key = hex::encode(point_to_bytes(&from.address().vpk));
    wallet.state.contacts.get(&key).map(|contact| contact.seen)
}

#[test]
fn a_payment_of_an_unknown_sender_is_found_by_trial_and_makes_the_sender_known() {
    let (alice, bob) = (keys(1), keys(2));
    let (mut wallet, mut blocks) = (wallet(2), Blocks::new());
    let of_another = payment(&alice, &keys(3), 7, 0);
    let to_bob = payment(&alice, &bob, 30, 0);
    let first = Fr::from(77u64);
    let before = body(&[Fr::from(76u64)], &[payment(&alice, &keys(3), 8, 1)]);
    let own = body(&[first], &[of_another, to_bob.clone()]);
    wallet.read_block(&blocks.of(&[before, own])).unwrap();
    assert_eq!(wallet.balance(), 30);
    let [note] = wallet.notes() else { panic!("one note") };
    let origin = NoteOrigin { first_nullifier: first, index: 1 };
    assert_eq!((note.value, note.leaf_index, note.index_in_tx), (30, 8 + 1, 1));
    assert_eq!(note.nullifier, nullifier(&to_bob.note.unique(&origin), &bob.nsk));
    // The tag was not expected, so it counts for nothing; the next ones are.
    assert_eq!(seen(&wallet, &alice), Some(0));
}

#[test]
fn tags_of_a_known_sender_are_followed_within_the_window() {
    let (alice, bob) = (keys(1), keys(2));
    let (mut wallet, mut blocks) = (wallet(2), Blocks::new());
    let mut pay = |wallet: &mut Wallet, counter: u64| {
        blocks.read(wallet, payment(&alice, &bob, 10, counter));
        seen(wallet, &alice)
    };
    assert_eq!(pay(&mut wallet, 0), Some(0));
    assert_eq!(pay(&mut wallet, 0), Some(1));
    assert_eq!(pay(&mut wallet, TAG_WINDOW), Some(TAG_WINDOW + 1), "the last one that is expected");
    let next = TAG_WINDOW + 1;
    assert_eq!(pay(&mut wallet, next + TAG_WINDOW), Some(next), "one too far is not");
    assert_eq!(pay(&mut wallet, next + 3), Some(next + 4), "gaps are");
    assert_eq!(pay(&mut wallet, next), Some(next + 4), "an old one moves nothing back");
    assert_eq!(wallet.balance(), 60, "every payment was found all the same");
}

/// The tag as it is before the contract is hashed into it counts as little as any other.
#[test]
fn a_wrong_tag_hides_no_payment_and_moves_no_counter() {
    let (alice, bob) = (keys(1), keys(2));
    let (mut wallet, mut blocks) = (wallet(2), Blocks::new());
    let known = payment(&alice, &bob, 1, 0);
    let wrong = Payment { tag: payment(&alice, &keys(3), 1, 0).tag, ..payment(&alice, &bob, 2, 0) };
    let random = Payment { tag: Fr::from(4u64), ..payment(&alice, &bob, 4, 0) };
    let secret = logs::pair_secret(&alice.vsk, &bob.address().vpk, &owner(2));
    let bare = Payment { tag: logs::tag(&secret, 0), ..payment(&alice, &bob, 8, 0) };
    for payment in [known, wrong, random, bare] {
        blocks.read(&mut wallet, payment);
    }
    assert_eq!(wallet.balance(), 15);
    assert_eq!(seen(&wallet, &alice), Some(0));
}

#[test]
fn a_log_with_any_byte_changed_is_no_note_and_no_error() {
    let (alice, bob) = (keys(1), keys(2));
    let (mut wallet, mut blocks) = (wallet(2), Blocks::new());
    let good = payment(&alice, &bob, 30, 0);
    let bytes = log_bytes(&good.log).unwrap();
    let mut logs: Vec<Log> = (0..bytes.len())
        .map(|i| {
            let mut changed = bytes;
            changed[i] ^= 1 << (i % 8);
            log_words(&changed)
        })
        .collect();
    // Words that no bytes of a log have, as other contracts may publish them.
    logs.push([Fr::zero(); 5]);
    logs.push([-Fr::from(1u64); 5]);
    let bodies: Vec<BlockBody> = (1u64..)
        .zip(&logs)
        .map(|(first, log)| body(&[Fr::from(first)], &[Payment { log: *log, ..good.clone() }]))
        .collect();
    for bodies in bodies.chunks(32) {
        wallet.read_block(&blocks.of(bodies)).unwrap();
    }
    assert!(wallet.notes().is_empty());
    blocks.read(&mut wallet, good);
    assert_eq!(wallet.balance(), 30);
}

/// A log is only the sender's word; what counts is the leaf that the transaction publishes.
#[test]
fn a_log_that_does_not_open_the_published_note_is_not_believed() {
    let (alice, bob) = (keys(1), keys(2));
    let (mut wallet, mut blocks) = (wallet(2), Blocks::new());
    let honest = payment(&alice, &bob, 30, 0);
    let more = Note { value: 31, ..honest.note };
    let other = Note { randomness: Fr::from(1u64), ..honest.note };
    let theirs = Note { owner: owner(1), ..honest.note };
    for note in [more, other, theirs] {
        blocks.read(&mut wallet, Payment { note, ..honest.clone() });
    }
    // The right note, but in another slot of the transaction than its log.
    let of_another = payment(&alice, &keys(3), 7, 0);
    let mut swapped = body(&[Fr::from(4u64)], &[honest, of_another]);
    swapped.effects.note_hashes.swap(0, 1);
    wallet.read_block(&blocks.of(&[swapped])).unwrap();
    assert!(wallet.notes().is_empty());
    assert_eq!(seen(&wallet, &alice), None, "a liar does not become a contact");
}

#[test]
fn a_spent_note_leaves_the_balance_and_its_change_comes() {
    let (alice, bob) = (keys(1), keys(2));
    let (mut wallet, mut blocks) = (wallet(2), Blocks::new());
    let payments = [payment(&alice, &bob, 30, 0), payment(&alice, &bob, 5, 1)];
    wallet.read_block(&blocks.pay(&[Fr::from(1u64)], &payments)).unwrap();
    assert_eq!(wallet.balance(), 35);
    let spent = wallet.notes()[0].nullifier;
    wallet.state.notes[0].pending = true;
    assert_eq!((wallet.balance(), wallet.locked()), (5, 30), "a note about to be spent");

    blocks.read(&mut wallet, payment(&alice, &keys(3), 9, 0));
    assert_eq!((wallet.balance(), wallet.notes()[0].spent_in), (5, None));

    let change = [payment(&bob, &alice, 10, 0), payment(&bob, &bob, 20, 0)];
    wallet.read_block(&blocks.pay(&[spent], &change)).unwrap();
    assert_eq!(wallet.balance(), 25);
    let note = &wallet.notes()[0];
    assert_eq!((note.spent_in, note.pending), (Some(3), false));
    assert_eq!(wallet.spendable().count(), 2);
}

/// Goal: a restored wallet finds what a fee left over, although no log tells of it, and takes no refund
/// of others for its own.
#[test]
fn a_refund_is_found_by_keys_alone_and_only_by_its_owner() {
    let (bob, first) = (keys(2), Fr::from(70u64));
    let refund = |partial: Fr, notes_out: u64, first: Fr| {
        let mut body = body(&[first], &[]);
        (body.effects.fee_payer, body.effects.refund_partial) = (Fr::zero(), partial);
        body.effects.notes_out = notes_out;
        body
    };
    let partial = |first: &Fr| {
        rollmill_protocol::note::note_partial(&owner(2), &bob.refund_randomness(first))
    };
    let own = refund(partial(&first), FEE_MAX, first);
    let other = Fr::from(71u64);
    // Made for another transaction: the randomness is that of `first`.
    let moved = refund(partial(&first), FEE_MAX, other);
    let empty = refund(partial(&Fr::from(72u64)), FEE, Fr::from(72u64));
    let mut blocks = Blocks::new();
    let block = blocks.of(&[own, moved, empty]);
    for (name, balance) in [(1, 0), (2, FEE_MAX - FEE), (3, 0)] {
        let mut wallet = wallet(name);
        wallet.read_block(&block).unwrap();
        assert_eq!(wallet.balance(), balance, "account {name}");
        assert_eq!(wallet.notes().len(), usize::from(balance != 0), "account {name}");
        for note in wallet.notes() {
            let leaf = blocks.0.state();
            let leaf = rollmill_protocol::tree::append::node(
                leaf,
                rollmill_protocol::tree::Tree::Notes,
                0,
                note.leaf_index,
            )
            .unwrap();
            assert_eq!(nullifier(&leaf, &bob.nsk), note.nullifier, "it is the leaf of the chain");
        }
    }
}

#[test]
fn blocks_out_of_order_and_blocks_that_cannot_be_read_change_nothing() {
    let (alice, bob) = (keys(1), keys(2));
    let (mut wallet, mut blocks) = (wallet(2), Blocks::new());
    let pay = |first: u64| body(&[Fr::from(first)], &[payment(&alice, &bob, 30, first)]);
    let good = blocks.of(&[pay(1), pay(2)]);
    let next = blocks.of(&[pay(3)]);
    let assert_rejected = |wallet: &mut Wallet, block: BlockEffects| {
        let error = wallet.read_block(&block).unwrap_err();
        assert!(error.to_string().starts_with("PXE-005"), "{error}");
        assert!(wallet.notes().is_empty() && wallet.state.recent.is_empty());
        assert_eq!((wallet.state.next_block, wallet.state.slot), (1, 0));
    };
    assert_rejected(&mut wallet, next.clone());
    assert_rejected(&mut wallet, BlockEffects { block_number: 0, ..good.clone() });
    assert_rejected(&mut wallet, BlockEffects { block_number: 1, ..next.clone() });
    assert_rejected(&mut wallet, BlockEffects { header_hash: next.header_hash, ..good.clone() });
    // The first transaction of the block is as it was: it does not count without the second. A word's last
    // byte, so that the word stays canonical.
    let bytes = good.data.len();
    for at in [bytes - 1, bytes - 32 * 5 - 1] {
        let mut changed = good.clone();
        changed.data[at] ^= 1;
        assert_rejected(&mut wallet, changed);
    }
    let mut short = good.clone();
    short.data.pop();
    assert_rejected(&mut wallet, short);
    wallet.read_block(&good).unwrap();
    wallet.read_block(&next).unwrap();
    assert_eq!(wallet.balance(), 90);
}

/// Goal: after a reorganisation the wallet's notes are those of the new chain, and no tag is used
/// twice.
#[tokio::test]
async fn a_reorganisation_is_noticed_and_read_again_and_tags_sent_are_not_forgotten() {
    let shutdown = Shutdown::new();
    let (alice, bob) = (keys(1), keys(2));
    let chain = Node::new(Ledger::new(vec![genesis_note(2, 500)], &[], 1, Fr::zero()));
    let node = NodeClient::new(&chain.serve(&shutdown).await).unwrap();
    let mut wallet = Wallet::new(keys(2));
    let pay = |slot: u64, value: u64| {
        let body = body(&[Fr::from(slot)], &[payment(&alice, &bob, value, 0)]);
        chain.ledger().publish(slot, &[body]);
    };
    (1..=2 * BLOCKS + 3).for_each(|slot| pay(slot, 1));
    wallet.sync(&node).await.unwrap();
    assert_eq!(wallet.balance(), 500 + 2 * BLOCKS + 3);
    wallet.sync(&node).await.unwrap();
    assert_eq!(wallet.balance(), 500 + 2 * BLOCKS + 3, "a second sync finds nothing twice");

    // The genesis note is spent, and the block that spent it is replaced.
    let spent = wallet.notes()[0].nullifier;
    chain.ledger().publish(100, &[body(&[spent], &[payment(&bob, &bob, 450, 0)])]);
    let to_alice = hex::encode(point_to_bytes(&alice.address().vpk));
    wallet.state.contacts.entry(to_alice.clone()).or_default().sent = 9;
    wallet.sync(&node).await.unwrap();
    assert_eq!(wallet.balance(), 450 + 2 * BLOCKS + 3);

    chain.ledger().cut(3);
    pay(40, 60);
    wallet.sync(&node).await.unwrap();
    assert_eq!(wallet.balance(), 500 + 3 + 60);
    assert_eq!((wallet.state.next_block, wallet.state.slot), (5, 40));
    assert_eq!(wallet.state.contacts[&to_alice].sent, 9);

    // A stored state continues where it was.
    let kept = wallet.state().to_bytes().unwrap();
    let mut again = Wallet::with_state(keys(2), State::from_bytes(&kept).unwrap());
    again.sync(&node).await.unwrap();
    assert_eq!(again.notes(), wallet.notes());

    let other = Node::new(Ledger::new(vec![genesis_note(2, 501)], &[], 1, Fr::zero()));
    let other = NodeClient::new(&other.serve(&shutdown).await).unwrap();
    let error = wallet.sync(&other).await.unwrap_err();
    assert!(matches!(error, PxeError::Network { .. }), "{error}");
    assert_eq!(wallet.balance(), 563, "the state of the right network is kept");
    shutdown.start();
}

/// Goal: a state of protocol 1, and any other text, is named and not overwritten.
#[test]
fn the_state_of_another_version_is_rejected() {
    let state = State::default().to_bytes().unwrap();
    State::from_bytes(&state).unwrap();
    let text = String::from_utf8(state).unwrap();
    let first =
        r#"{"network":"0x1","next_block":1,"recent":[],"notes":[],"contacts":{},"sent":[]}"#;
    for other in [text.replace("\"version\":2", "\"version\":1"), first.into(), "{}".into()] {
        assert_ne!(other, text);
        let error = State::from_bytes(other.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("PXE-003") && error.contains("another version"), "{error}");
    }
}
