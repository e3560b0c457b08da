//! Scripts of private calls, executed as a wallet would: counters in order, one for each thing that happens.

use rollmill_protocol::note;
use rollmill_protocol::private::{
    CallEntry, ContractFunction, FunctionTree, KeyEntry, LogEntry, MessageEntry, NULLIFIER_KEY,
    NoteEntry, NullifierEntry, Padding, PrivateCall, ReadEntry, TailWitness, TxRequest,
    address_partial, app_key, class_id, function_leaf, gas_hash,
};
use rollmill_protocol::tx::NO_EXPIRY;
use rollmill_protocol::{Fr, Header};

use crate::{gas, value};

/// A class of functions, and one instance of it.
#[derive(Debug, Clone)]
pub struct Contract {
    pub address: Fr,
    /// What shows that a key is that of the function with this index.
    pub functions: Vec<ContractFunction>,
}

impl Contract {
    /// A contract whose functions have these keys (digest and size); a function's selector is
    /// [`Self::selector`] of its index. Contracts of different `seed`s have different addresses.
    ///
    /// # Panics
    /// With more functions than a class can have, or none.
    pub fn new(seed: u64, keys: &[(Fr, u64)]) -> Self {
        let leaves: Vec<Fr> = (0u64..)
            .zip(keys)
            .map(|(i, (digest, log_n))| function_leaf(&Self::selector(i), digest, *log_n))
            .collect();
        let tree = FunctionTree::new(&leaves).expect("a class of at most 128 functions");
        let word = |i: u64| value(70 + i, seed);
        let functions: Vec<ContractFunction> = (0u64..)
            .zip(keys)
            .map(|(index, (vk_digest, log_n))| ContractFunction {
                vk_digest: *vk_digest,
                log_n: *log_n,
                index,
                path: tree.path(index).expect("a leaf of the tree"),
                artifact_hash: word(0),
                bytecode_commitment: word(1),
                salt: word(2),
                init_hash: word(3),
                deployer: word(4),
                keys_hash: word(5),
            })
            .collect();
        let class = class_id(&word(0), &tree.root(), &word(1));
        let partial = address_partial(&class, &word(2), &word(3), &word(4));
        Self { address: note::address(&word(5), &partial), functions }
    }

    /// The selector of a function.
    pub fn selector(function: u64) -> Fr {
        Fr::from(100 + function)
    }
}

/// Something that a call does. Words are small numbers, to be read in failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Note(Fr),
    /// A nullifier, and the note hash that it names; zero for none.
    Nullify(Fr, Fr),
    /// A tag, and whether the log is about the last note of this call.
    Log(Fr, bool),
    Read(Fr),
    ReadNullifier(Fr),
    /// A key request of the account with this nullifier key.
    Key(Fr),
    Message(u64, Fr),
    Pay,
    Revertible,
    Expires(u64),
    Call(Script),
    Static(Script),
}

/// A call of a function of a contract, and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub contract: usize,
    pub function: usize,
    pub steps: Vec<Step>,
}

/// What happened at one counter.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    pub counter: u64,
    pub contract: Fr,
    pub what: Happened,
}

/// What a call did, in words.
#[derive(Debug, Clone, Copy)]
pub enum Happened {
    Note(Fr),
    /// A nullifier and the note hash that it names.
    Nullifier(Fr, Fr),
    /// Tag, log hash and the counter of the note, or 0.
    Log(Fr, Fr, u64),
    Message(u64, Fr),
    Paid,
    RevertibleFrom,
}

/// An executed transaction: its calls in the order in which the kernel takes them.
#[derive(Debug, Clone)]
pub struct Run {
    pub request: TxRequest,
    pub calls: Vec<PrivateCall<Fr>>,
    /// For each call, what shows that its key is a function of its contract.
    pub functions: Vec<ContractFunction>,
    pub witness: TailWitness,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Least expiry of the calls.
    pub expiry_slot: u64,
}

/// A call, and the calls that it made.
struct Executed {
    call: PrivateCall<Fr>,
    function: ContractFunction,
    nested: Vec<Self>,
}

struct Machine<'a> {
    contracts: &'a [Contract],
    anchor: &'a Header,
    counter: u64,
    events: Vec<Event>,
    nsks: Vec<(u64, Fr)>,
    expiry_slot: u64,
}

impl Run {
    /// Executes a script against the state of `anchor`. Reads of settled entries have no paths yet.
    ///
    /// # Panics
    /// When the script names a contract or a function that is not there, or a call does too much of a kind.
    pub fn new(contracts: &[Contract], anchor: &Header, script: &Script) -> Self {
        let (counter, expiry_slot) = (0, NO_EXPIRY);
        let mut machine = Machine {
            contracts,
            anchor,
            counter,
            events: Vec::new(),
            nsks: Vec::new(),
            expiry_slot,
        };
        let root = machine.call(Fr::from(0u64), false, script);
        let request = TxRequest {
            origin: root.call.contract,
            selector: root.call.selector,
            args_hash: root.call.args_hash,
            chain_id: anchor.chain_id,
            version: anchor.version,
            gas: gas(),
            salt: value(76, 0),
        };
        let (mut calls, mut functions, mut waiting) = (Vec::new(), Vec::new(), vec![root]);
        while let Some(Executed { call, function, nested }) = waiting.pop() {
            calls.push(call);
            functions.push(function);
            waiting.extend(nested);
        }
        let place = |counter: u64| {
            let inside = |call: &PrivateCall<Fr>| {
                call.start < Fr::from(counter) && Fr::from(counter) < call.end
            };
            // The innermost call is the one that starts last.
            let calls = calls.iter().enumerate().filter(|(_, call)| inside(call));
            calls.max_by_key(|(_, call)| call.start).map(|(at, _)| at)
        };
        machine.nsks.sort_by_key(|(counter, _)| (place(*counter), *counter));
        let witness = TailWitness {
            anchor: anchor.clone(),
            gas: gas(),
            note_paths: Vec::new(),
            nullifier_paths: Vec::new(),
            nsks: machine.nsks.iter().map(|(_, nsk)| *nsk).collect(),
            padding: padding(8),
        };
        let Machine { events, expiry_slot, .. } = machine;
        Self { request, calls, functions, witness, events, expiry_slot }
    }
}

/// Padding to `size` entries of each kind.
pub fn padding(size: usize) -> Padding {
    let words = |kind: u64| std::array::from_fn(|i| value(80 + kind, i as u64));
    Padding {
        size,
        note_hashes: words(0),
        nullifiers: words(1),
        tags: words(2),
        log_hashes: words(3),
    }
}

/// Puts an entry in the first absent place of a list.
fn put<E>(list: &mut [E], is_absent: impl Fn(&E) -> bool, entry: E) {
    let place = list.iter_mut().find(|place| is_absent(place));
    *place.expect("a call does not do too much") = entry;
}

impl Machine<'_> {
    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn call(&mut self, sender: Fr, is_static: bool, script: &Script) -> Executed {
        let zero = Fr::from(0u64);
        let contract = &self.contracts[script.contract];
        let function = contract.functions[script.function].clone();
        let mut call = PrivateCall::empty();
        call.contract = contract.address;
        call.selector = Contract::selector(function.index);
        (call.sender, call.is_static) = (sender, Fr::from(u64::from(is_static)));
        (call.args_hash, call.returns_hash) = (value(77, self.counter), value(78, self.counter));
        call.anchor_header_hash = self.anchor.hash();
        (call.chain_id, call.version) = (self.anchor.chain_id.into(), self.anchor.version.into());
        (call.gas_hash, call.expiry_slot) = (gas_hash(&gas()), NO_EXPIRY.into());
        call.start = self.counter.into();
        let (mut nested, mut last_note) = (Vec::new(), zero);
        for step in &script.steps {
            let counter = self.next();
            match step {
                Step::Call(inner) | Step::Static(inner) => {
                    let below = is_static || matches!(step, Step::Static(_));
                    let made = self.call(call.contract, below, inner);
                    let entry: CallEntry<Fr> = made.call.entry();
                    put(&mut call.calls, |entry| entry.contract == zero, entry);
                    nested.push(made);
                }
                _ => self.step(&mut call, counter, step, &mut last_note),
            }
        }
        call.end = self.next().into();
        Executed { call, function, nested }
    }

    fn step(&mut self, call: &mut PrivateCall<Fr>, at: u64, step: &Step, last_note: &mut Fr) {
        let (zero, counter) = (Fr::from(0u64), Fr::from(at));
        let no_read = |read: &ReadEntry<Fr>| read.value == zero;
        let what = match *step {
            Step::Note(value) => {
                *last_note = counter;
                put(&mut call.note_hashes, |e| e.value == zero, NoteEntry { value, counter });
                Some(Happened::Note(value))
            }
            Step::Nullify(value, nullified) => {
                let entry = NullifierEntry { value, nullified, counter };
                put(&mut call.nullifiers, |e| e.value == zero, entry);
                Some(Happened::Nullifier(value, nullified))
            }
            Step::Log(tag, about_note) => {
                let (log_hash, note_counter) =
                    (value(79, at), if about_note { *last_note } else { zero });
                let entry = LogEntry { tag, log_hash, note_counter, counter };
                put(&mut call.logs, |e| e.log_hash == zero, entry);
                let note = self.events.iter().rev().find(|e| Fr::from(e.counter) == note_counter);
                Some(Happened::Log(tag, log_hash, note.map_or(0, |note| note.counter)))
            }
            Step::Read(value) => {
                put(&mut call.note_reads, no_read, ReadEntry { value, counter });
                None
            }
            Step::ReadNullifier(value) => {
                put(&mut call.nullifier_reads, no_read, ReadEntry { value, counter });
                None
            }
            Step::Key(nsk) => {
                let (npk, app_key) = (note::npk(&nsk), app_key(&nsk, &call.contract));
                let entry = KeyEntry { npk, app_key, kind: NULLIFIER_KEY.into() };
                put(&mut call.keys, |e| e.npk == zero, entry);
                self.nsks.push((at, nsk));
                None
            }
            Step::Message(recipient, content) => {
                let entry = MessageEntry { recipient: recipient.into(), content, counter };
                put(&mut call.messages, |e| e.recipient == zero, entry);
                Some(Happened::Message(recipient, content))
            }
            Step::Pay => {
                call.is_fee_payer = Fr::from(1u64);
                Some(Happened::Paid)
            }
            Step::Revertible => {
                call.min_revertible = counter;
                Some(Happened::RevertibleFrom)
            }
            Step::Expires(slot) => {
                call.expiry_slot = call.expiry_slot.min(slot.into());
                self.expiry_slot = self.expiry_slot.min(slot);
                None
            }
            Step::Call(_) | Step::Static(_) => None,
        };
        let contract = call.contract;
        self.events.extend(what.map(|what| Event { counter: at, contract, what }));
    }
}
