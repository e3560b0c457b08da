//! What is checked once per transaction, and the effects that are left.

use ark_ff::Zero;
use rollmill_algebra::{Fr, poseidon2};

use super::call::gas_hash;
use super::entries::{OwnedLog, OwnedNote, OwnedNullifier, used};
use super::error::KernelError;
use super::state::KernelState;
use super::{NULLIFIER_KEY, PADDING_CONTRACT, SIZES};
use crate::config::SLOT_MAX;
use crate::domain;
use crate::field::{self, EthAddress};
use crate::gas::GasSettings;
use crate::header::Header;
use crate::note::{self, NoteOrigin, silo_tag};
use crate::tree::verify::membership;
use crate::tree::{IndexedLeaf, IndexedTree, Tree};
use crate::tx::{MESSAGES, SLOTS, TxEffects};

/// A note hash with its contract: `hash(SILO_NOTE, [contract, value])`.
pub fn silo_note(contract: &Fr, value: &Fr) -> Fr {
    poseidon2::hash(domain::SILO_NOTE, &[*contract, *value])
}

/// A nullifier with its contract: `hash(SILO_NULLIFIER, [contract, value])`.
pub fn silo_nullifier(contract: &Fr, value: &Fr) -> Fr {
    poseidon2::hash(domain::SILO_NULLIFIER, &[*contract, *value])
}

/// An account's nullifier key as one contract knows it: `hash(APP_KEY, [nsk, contract])`.
pub fn app_key(nsk: &Fr, contract: &Fr) -> Fr {
    poseidon2::hash(domain::APP_KEY, &[*nsk, *contract])
}

/// The place of a leaf in the anchor's note-hash tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotePath {
    pub index: u64,
    /// Siblings, lowest first.
    pub path: Vec<Fr>,
}

/// The place of a leaf in the anchor's nullifier tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NullifierPath {
    /// The leaf, whose key is the nullifier with its contract.
    pub leaf: IndexedLeaf,
    pub index: u64,
    /// Siblings, lowest first.
    pub path: Vec<Fr>,
}

/// What a wallet adds to hide how much its transaction does. Entries of [`PADDING_CONTRACT`] fill each list up to
/// `size`; the words for places that are taken have no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Padding {
    /// One of [`SIZES`].
    pub size: usize,
    /// Random words.
    pub note_hashes: [Fr; SLOTS],
    pub nullifiers: [Fr; SLOTS],
    pub tags: [Fr; SLOTS],
    /// Hashes of random words, whose logs go with the transaction.
    pub log_hashes: [Fr; SLOTS],
}

/// What the last step needs besides the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailWitness {
    /// The header whose state every call read.
    pub anchor: Header,
    /// The transaction's gas settings.
    pub gas: GasSettings,
    /// For each read of a note hash, its place if it is a leaf.
    pub note_paths: Vec<Option<NotePath>>,
    /// For each read of a nullifier, its place if it is a leaf.
    pub nullifier_paths: Vec<Option<NullifierPath>>,
    /// For each key request, the account's nullifier key. Secret.
    pub nsks: Vec<Fr>,
    pub padding: Padding,
}

fn require(holds: bool, otherwise: KernelError) -> Result<(), KernelError> {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// The effects of a transaction whose calls were all taken. The statement of its proof is
/// [`crate::ClientInputs`] of them and the anchor.
///
/// # Errors
/// The first rule that the transaction breaks.
pub fn tail(state: &KernelState<Fr>, w: &TailWitness) -> Result<TxEffects, KernelError> {
    let waiting = used(&state.stack).len();
    require(waiting == 0, KernelError::StackNotEmpty { waiting })?;
    check_anchor(state, w)?;
    check_counters(state)?;
    check_note_reads(state, w)?;
    check_nullifier_reads(state, w)?;
    check_keys(state, w)?;
    require(!state.fee_payer.is_zero(), KernelError::NoFeePayer)?;
    let late = state.is_revertible(&state.fee_payer_start);
    require(!late, KernelError::FeePayerRevertible)?;
    let left = Left::of(state)?;
    effects(state, w, &left)
}

fn check_anchor(state: &KernelState<Fr>, w: &TailWitness) -> Result<(), KernelError> {
    require(w.anchor.hash() == state.anchor_header_hash, KernelError::WrongAnchor)?;
    require(Fr::from(w.anchor.chain_id) == state.chain_id, KernelError::WrongChain)?;
    require(Fr::from(w.anchor.version) == state.version, KernelError::WrongVersion)?;
    require(gas_hash(&w.gas) == state.gas_hash, KernelError::WrongGas)
}

/// Each entry of the transaction has a counter of its own.
fn check_counters(state: &KernelState<Fr>) -> Result<(), KernelError> {
    let mut counters: Vec<Fr> = Vec::new();
    counters.extend(used(&state.note_reads).iter().map(|read| read.item.counter));
    counters.extend(used(&state.nullifier_reads).iter().map(|read| read.item.counter));
    counters.extend(used(&state.note_hashes).iter().map(|note| note.item.counter));
    counters.extend(used(&state.nullifiers).iter().map(|nullifier| nullifier.item.counter));
    counters.extend(used(&state.logs).iter().map(|log| log.item.counter));
    counters.extend(used(&state.messages).iter().map(|message| message.item.counter));
    counters.sort_unstable();
    let repeated = counters.windows(2).any(|pair| pair[0] == pair[1]);
    require(!repeated, KernelError::CounterRepeated)
}

/// Whether an equal entry of the same contract is there, and before the counter.
enum Pending {
    Before,
    Later,
    Absent,
}

impl Pending {
    /// `counters` are those of the equal entries.
    fn of(counters: &[Fr], counter: &Fr) -> Self {
        match counters {
            [] => Self::Absent,
            _ if counters.iter().any(|at| at < counter) => Self::Before,
            _ => Self::Later,
        }
    }
}

/// A note hash that was read is one of the transaction, created before, or a leaf of the anchor's tree. A leaf
/// is the note hash made unique, so that an old note cannot pass for one of the transaction.
fn check_note_reads(state: &KernelState<Fr>, w: &TailWitness) -> Result<(), KernelError> {
    let root = &w.anchor.state.tx_state.note_root;
    for (index, read) in used(&state.note_reads).iter().enumerate() {
        let value = &read.item.value;
        let notes = used(&state.note_hashes).iter();
        let equal =
            notes.filter(|note| note.contract == read.contract && note.item.value == *value);
        let counters: Vec<Fr> = equal.map(|note| note.item.counter).collect();
        let pending = Pending::of(&counters, &read.item.counter);
        match (pending, w.note_paths.get(index).and_then(Option::as_ref)) {
            (Pending::Before, _) => {}
            (_, Some(at)) => {
                let leads = membership(Tree::Notes, root, value, at.index, &at.path).is_ok();
                require(leads, KernelError::NotePath { index })?;
            }
            (Pending::Later, None) => return Err(KernelError::NoteTooLate { index }),
            (Pending::Absent, None) => return Err(KernelError::NoteUnknown { index }),
        }
    }
    Ok(())
}

/// A nullifier that was read is one of the transaction, published before, or in the anchor's tree. One that names a
/// note hash disappears with it, so it is not there after the transaction.
fn check_nullifier_reads(state: &KernelState<Fr>, w: &TailWitness) -> Result<(), KernelError> {
    let root = &w.anchor.state.tx_state.nullifier_root;
    for (index, read) in used(&state.nullifier_reads).iter().enumerate() {
        let value = &read.item.value;
        let nullifiers = used(&state.nullifiers).iter();
        let equal = nullifiers.filter(|other| {
            let is_equal = other.contract == read.contract && other.item.value == *value;
            is_equal && other.item.nullified.is_zero()
        });
        let counters: Vec<Fr> = equal.map(|nullifier| nullifier.item.counter).collect();
        let pending = Pending::of(&counters, &read.item.counter);
        match (pending, w.nullifier_paths.get(index).and_then(Option::as_ref)) {
            (Pending::Before, _) => {}
            (_, Some(at)) => {
                let is_key = at.leaf.key == silo_nullifier(&read.contract, value);
                let leaf = at.leaf.hash(IndexedTree::Nullifiers);
                let leads = membership(Tree::Nullifiers, root, &leaf, at.index, &at.path).is_ok();
                require(is_key && leads, KernelError::NullifierPath { index })?;
            }
            (Pending::Later, None) => return Err(KernelError::NullifierTooLate { index }),
            (Pending::Absent, None) => return Err(KernelError::NullifierUnknown { index }),
        }
    }
    Ok(())
}

/// Functions see an account's key for their contract only; here it is compared with the account's own.
fn check_keys(state: &KernelState<Fr>, w: &TailWitness) -> Result<(), KernelError> {
    for (index, request) in used(&state.keys).iter().enumerate() {
        let key = &request.item;
        require(key.kind == Fr::from(NULLIFIER_KEY), KernelError::KeyKind { index })?;
        let nsk = w.nsks.get(index).filter(|nsk| note::npk(nsk) == key.npk);
        let nsk = nsk.ok_or(KernelError::KeyUnknown { index })?;
        let own = app_key(nsk, &request.contract);
        require(key.app_key == own, KernelError::AppKeyWrong { index })?;
    }
    Ok(())
}

/// Entries in the order of their counters, without those that disappeared.
struct Left {
    note_hashes: Vec<OwnedNote<Fr>>,
    nullifiers: Vec<OwnedNullifier<Fr>>,
    logs: Vec<OwnedLog<Fr>>,
}

/// An entry, and whether it stays.
struct Fate<E> {
    entry: E,
    is_gone: bool,
}

fn in_order<E: Copy>(list: &[E], counter: impl Fn(&E) -> Fr) -> Vec<Fate<E>> {
    let mut list: Vec<Fate<E>> =
        list.iter().map(|entry| Fate { entry: *entry, is_gone: false }).collect();
    list.sort_by_key(|fate| counter(&fate.entry));
    list
}

fn staying<E>(list: Vec<Fate<E>>) -> Vec<E> {
    list.into_iter().filter(|fate| !fate.is_gone).map(|fate| fate.entry).collect()
}

impl Left {
    /// A note hash and the nullifier that names it disappear together, with the note's logs. Both or neither of the
    /// two may be reverted, since otherwise both would have to stay, and the leaf of a note that stays has another
    /// nullifier than its note hash. A nullifier takes the first such note hash before it that is not taken.
    fn of(state: &KernelState<Fr>) -> Result<Self, KernelError> {
        let mut notes = in_order(used(&state.note_hashes), |note| note.item.counter);
        let mut nullifiers = in_order(used(&state.nullifiers), |nullifier| nullifier.item.counter);
        let mut logs = in_order(used(&state.logs), |log| log.item.counter);
        for fate in &mut nullifiers {
            let nullifier = fate.entry;
            if nullifier.item.nullified.is_zero() {
                continue;
            }
            let side = state.is_revertible(&nullifier.item.counter);
            let mut otherwise = KernelError::NullifiedUnknown;
            let found = notes.iter_mut().find(|note| {
                let entry = note.entry;
                let fits = entry.contract == nullifier.contract
                    && entry.item.value == nullifier.item.nullified
                    && entry.item.counter < nullifier.item.counter
                    && !note.is_gone;
                let is_across = state.is_revertible(&entry.item.counter) != side;
                if fits && is_across {
                    otherwise = KernelError::NullifiedAcross;
                }
                fits && !is_across
            });
            let note = found.ok_or(otherwise)?;
            (note.is_gone, fate.is_gone) = (true, true);
        }
        for log in &mut logs {
            let (contract, about) = (log.entry.contract, log.entry.item.note_counter);
            if about.is_zero() {
                continue;
            }
            let mut notes = notes.iter();
            let note = notes
                .find(|note| note.entry.contract == contract && note.entry.item.counter == about);
            log.is_gone = note.ok_or(KernelError::LogNoteUnknown)?.is_gone;
        }
        Ok(Self {
            note_hashes: staying(notes),
            nullifiers: staying(nullifiers),
            logs: staying(logs),
        })
    }
}

/// The entries in their places, and padding in those that are left up to `size`.
fn padded<T: Copy>(
    what: &'static str,
    size: usize,
    entries: &[T],
    padding: impl Fn(usize) -> T,
) -> Result<Vec<T>, KernelError> {
    let (max, got) = (size, entries.len());
    require(got <= max, KernelError::TooManyLeft { what, max, got })?;
    Ok((0..size).map(|i| entries.get(i).copied().unwrap_or_else(|| padding(i))).collect())
}

fn slots(entries: &[Fr]) -> [Fr; SLOTS] {
    std::array::from_fn(|i| entries.get(i).copied().unwrap_or_else(Fr::zero))
}

/// The effects of what is left. The first nullifier makes every note hash unique, so it must stay whatever is reverted:
/// where no nullifier of the transaction does, it is the request's hash.
fn effects(
    state: &KernelState<Fr>,
    w: &TailWitness,
    left: &Left,
) -> Result<TxEffects, KernelError> {
    let (zero, nobody) = (Fr::zero(), Fr::from(PADDING_CONTRACT));
    let (padding, size) = (&w.padding, w.padding.size);
    require(SIZES.contains(&size), KernelError::Size { got: size })?;
    let first = left.nullifiers.first();
    let stays = first.is_some_and(|first| !state.is_revertible(&first.item.counter));
    let mut nullifiers: Vec<Fr> = if stays { Vec::new() } else { vec![state.request_hash] };
    let siloed = left.nullifiers.iter().map(|n| silo_nullifier(&n.contract, &n.item.value));
    nullifiers.extend(siloed);
    let pad = |i: usize| silo_nullifier(&nobody, &padding.nullifiers[i]);
    let nullifiers = slots(&padded("nullifiers", size, &nullifiers, pad)?);
    let notes: Vec<Fr> =
        left.note_hashes.iter().map(|n| silo_note(&n.contract, &n.item.value)).collect();
    let pad = |i: usize| silo_note(&nobody, &padding.note_hashes[i]);
    let notes = padded("note hashes", size, &notes, pad)?;
    let origin = |index: u64| NoteOrigin { first_nullifier: nullifiers[0], index };
    let unique: Vec<Fr> =
        (0..).zip(&notes).map(|(index, note)| note::unique(&origin(index), note)).collect();
    let logs: Vec<(Fr, Fr)> = left
        .logs
        .iter()
        .map(|log| (silo_tag(&log.contract, &log.item.tag), log.item.log_hash))
        .collect();
    let pad = |i: usize| (silo_tag(&nobody, &padding.tags[i]), padding.log_hashes[i]);
    let logs = padded("logs", size, &logs, pad)?;
    if let Some(index) = logs.iter().position(|(_, log_hash)| log_hash.is_zero()) {
        return Err(KernelError::PaddingLog { index });
    }
    let (tags, log_hashes): (Vec<Fr>, Vec<Fr>) = logs.into_iter().unzip();
    let what = "expiry_slot";
    let expiry_slot = field::to_bits(what, &state.expiry_slot, SLOT_MAX.trailing_ones())
        .map_err(|_| KernelError::Range { what })?;
    Ok(TxEffects {
        nullifiers,
        note_hashes: slots(&unique),
        tags: slots(&tags),
        log_hashes: slots(&log_hashes),
        messages: messages(state),
        public_calls_hash: zero,
        fee_payer: state.fee_payer,
        gas: w.gas,
        // No contract moves value between notes and balances yet.
        notes_in: 0,
        notes_out: 0,
        claim_index: 0,
        claim_amount: 0,
        withdraw_recipient: EthAddress::default(),
        withdraw_amount: 0,
        refund_partial: zero,
        expiry_slot,
    })
}

/// Leaves of the messages in the order of their counters.
fn messages(state: &KernelState<Fr>) -> [Fr; MESSAGES] {
    let mut messages = used(&state.messages).to_vec();
    messages.sort_by_key(|message| message.item.counter);
    let leaf = |i: usize| {
        let Some(message) = messages.get(i) else { return Fr::zero() };
        let words = [message.contract, message.item.recipient, message.item.content];
        poseidon2::hash(domain::MESSAGE_OUT, &words)
    };
    std::array::from_fn(leaf)
}
