//! From executed calls to the effects of one transaction: the kernel's rules in plain Rust, without proofs.

use std::collections::BTreeMap;

use ark_ff::{UniformRand, Zero};
use rand::rngs::StdRng;
use rollmill_protocol::private::{
    KernelError, KernelState, NotePath, Padding, SIZES, TailWitness, TxRequest, init, inner, tail,
};
use rollmill_protocol::tx::{SLOTS, log_hash};
use rollmill_protocol::{Fr, Log, TxEffects};

use super::error::ContractError;
use super::executor::{Executed, ExecutedTransaction, UsedNote, UsedTag};
use super::owners::Owners;
use crate::keys::Keys;
use crate::logs::{self, LogNote};

/// A transaction whose calls the kernel's rules have taken. It is what its proofs prove.
pub struct SimulatedTransaction {
    pub(crate) request: TxRequest,
    /// In the order in which the kernel takes them.
    pub(crate) calls: Vec<Executed>,
    /// The kernel's state after each call.
    pub(crate) states: Vec<KernelState<Fr>>,
    /// What the last step needs besides the state. It has secrets.
    pub(crate) witness: TailWitness,
    /// What the transaction does to public state.
    pub effects: TxEffects,
    /// Its logs, in the order of the effects.
    pub logs: Vec<Log>,
    /// The words that the first call returned.
    pub returns: Vec<Fr>,
    /// Notes that functions were given.
    pub notes: Vec<UsedNote>,
    /// Tags that its logs have.
    pub tags: Vec<UsedTag>,
}

/// Without witnesses, which have secrets.
impl std::fmt::Debug for SimulatedTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedTransaction")
            .field("request", &self.request)
            .field("calls", &self.calls.len())
            .field("effects", &self.effects)
            .field("returns", &self.returns)
            .finish_non_exhaustive()
    }
}

impl SimulatedTransaction {
    /// Its calls, in the order in which the kernel takes them.
    pub fn calls(&self) -> &[Executed] {
        &self.calls
    }

    /// What was asked for.
    pub fn request(&self) -> &TxRequest {
        &self.request
    }
}

/// All calls, in the order in which the kernel takes them: the waiting one that starts last.
fn in_order(first: Executed) -> Vec<Executed> {
    let (mut order, mut waiting) = (Vec::new(), vec![first]);
    while let Some(mut executed) = waiting.pop() {
        waiting.append(&mut executed.nested);
        order.push(executed);
    }
    order
}

impl ExecutedTransaction {
    /// The notes that calls read out of the anchor's tree: [`Self::join`] needs their paths.
    pub fn leaves(&self) -> Vec<UsedNote> {
        let mut waiting = vec![&self.first];
        let mut reads = Vec::new();
        while let Some(executed) = waiting.pop() {
            waiting.extend(&executed.nested);
            reads.extend(executed.execution.call().note_reads.iter().map(|read| read.value));
        }
        let is_read = |note: &&UsedNote| reads.contains(&note.leaf);
        self.notes.iter().filter(is_read).copied().collect()
    }

    /// Joins the calls by the kernel's rules. `paths` has the siblings of the leaves of [`Self::leaves`] in the
    /// anchor's note tree, lowest first, by the index of the leaf.
    ///
    /// # Errors
    /// [`ContractError::Path`] for a path that is missing or wrong, and [`ContractError::Kernel`] with the first rule
    /// that the transaction breaks.
    pub fn join(
        self,
        paths: &BTreeMap<u64, Vec<Fr>>,
    ) -> Result<SimulatedTransaction, ContractError> {
        let Self { request, environment, owners, first, notes, tags, mut rng } = self;
        let (tx, returns) = (request.tx, first.returns.clone());
        let calls = in_order(first);
        let mut states: Vec<KernelState<Fr>> = Vec::with_capacity(calls.len());
        for executed in &calls {
            let (call, function) = (executed.execution.call(), &executed.of_contract);
            let next = match states.last() {
                None => init(&tx, call, function)?,
                Some(state) => inner(state, call, function)?,
            };
            states.push(next);
        }
        let last = states.last().ok_or(KernelError::StackEmpty)?;
        let (padding, padding_logs) = padding(&mut rng);
        let witness = TailWitness {
            anchor: environment.anchor,
            gas: environment.gas,
            note_paths: note_paths(last, &notes, paths)?,
            nullifier_paths: Vec::new(),
            nsks: nsks(last, &owners),
            padding,
        };
        let (witness, effects) = ended(last, witness, &notes)?;
        let written = calls.iter().flat_map(|call| &call.logs).chain(&padding_logs);
        let written: BTreeMap<Fr, Log> = written.map(|log| (log_hash(log), *log)).collect();
        let hashes = effects.log_hashes.iter().filter(|hash| !hash.is_zero());
        let logs: Option<Vec<Log>> = hashes.map(|hash| written.get(hash).copied()).collect();
        let why = "a log of the transaction has no words";
        let none = || ContractError::no_answer("rollmill_log_emitted", why);
        let logs = logs.ok_or_else(none)?;
        Ok(SimulatedTransaction {
            request: tx,
            calls,
            states,
            witness,
            effects,
            logs,
            returns,
            notes,
            tags,
        })
    }
}

/// The effects with the smallest size that has places for them.
fn ended(
    state: &KernelState<Fr>,
    mut witness: TailWitness,
    notes: &[UsedNote],
) -> Result<(TailWitness, TxEffects), ContractError> {
    let mut outcome = Err(KernelError::Size { got: 0 });
    for size in SIZES {
        witness.padding.size = size;
        outcome = tail(state, &witness);
        if !matches!(outcome, Err(KernelError::TooManyLeft { .. })) {
            break;
        }
    }
    match outcome {
        Ok(effects) => Ok((witness, effects)),
        Err(KernelError::NotePath { index }) => {
            let read = state.note_reads.get(index).map(|read| read.item.value);
            let note = notes.iter().find(|note| Some(note.leaf) == read);
            match note {
                Some(note) => Err(ContractError::Path { leaf_index: note.leaf_index }),
                None => Err(KernelError::NotePath { index }.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// For each read of a note, its place if it is one that the wallet gave.
fn note_paths(
    state: &KernelState<Fr>,
    notes: &[UsedNote],
    paths: &BTreeMap<u64, Vec<Fr>>,
) -> Result<Vec<Option<NotePath>>, ContractError> {
    let reads = state.note_reads.iter().take_while(|read| !read.item.value.is_zero());
    let place = |value: &Fr| -> Result<Option<NotePath>, ContractError> {
        let Some(note) = notes.iter().find(|note| note.leaf == *value) else { return Ok(None) };
        let index = note.leaf_index;
        let path = paths.get(&index).ok_or(ContractError::Path { leaf_index: index })?;
        Ok(Some(NotePath { index, path: path.clone() }))
    };
    reads.map(|read| place(&read.item.value)).collect()
}

/// For each key request, the account's nullifier key. A request of no account of the scope gets 0, which the kernel
/// rejects.
fn nsks(state: &KernelState<Fr>, owners: &Owners) -> Vec<Fr> {
    let requests = state.keys.iter().take_while(|key| !key.item.npk.is_zero());
    let nsk = |npk: &Fr| owners.with_npk(npk).map_or(Fr::zero(), |owner| *owner.keys.nullifier());
    requests.map(|request| nsk(&request.item.npk)).collect()
}

/// Random words for the places that are left, and logs that look like any other one.
fn padding(rng: &mut StdRng) -> (Padding, Vec<Log>) {
    let mut words = || -> [Fr; SLOTS] { std::array::from_fn(|_| Fr::rand(rng)) };
    let (note_hashes, nullifiers, tags) = (words(), words(), words());
    let logs: [Log; SLOTS] = std::array::from_fn(|_| {
        // To keys that nobody has.
        let nobody = Keys::generate(rng).address();
        let note = LogNote { value: 0, randomness: Fr::rand(rng), sender: nobody.vpk };
        logs::encrypt(&nobody, &note, rng)
    });
    let log_hashes = std::array::from_fn(|i| log_hash(&logs[i]));
    let [size, ..] = SIZES;
    (Padding { size, note_hashes, nullifiers, tags, log_hashes }, logs.to_vec())
}
