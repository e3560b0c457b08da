//! Random trees of private calls: the kernel agrees with an executor that looks at what happened in order, and
//! rejects every change of a call by the rule that it breaks.

use proptest::prelude::*;
use rollmill_algebra::Fr;
use rollmill_protocol::header::Header;
use rollmill_protocol::message::message_out;
use rollmill_protocol::note::{self, NoteOrigin, silo_tag};
use rollmill_protocol::private::{
    ContractFunction, KernelError, KernelState, NotePath, PrivateCall, init, inner, silo_note,
    silo_nullifier, tail,
};
use rollmill_protocol::tree::append::path;
use rollmill_protocol::tree::{MemoryStore, Tree};
use rollmill_protocol::tx::{MESSAGES, SLOTS};
use rollmill_protocol::{EthAddress, TxEffects};
use rollmill_protocol_testing::private::{Contract, Event, Happened, Run, Script, Step};
use rollmill_protocol_testing::{genesis, start, value};

/// Numbers that follow from a seed (SplitMix64).
struct Rng(u64);

impl Rng {
    /// Below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % n
    }
}

fn contracts() -> Vec<Contract> {
    let keys = |seed: u64| [(value(90, seed), 13), (value(91, seed), 14), (value(92, seed), 17)];
    (1..=3).map(|seed| Contract::new(seed, &keys(seed))).collect()
}

/// Draws scripts, and knows what exists so far, in the order in which it happens.
struct Writer {
    rng: Rng,
    /// What may still happen: calls; notes, nullifiers and logs; reads of each kind; keys; messages. So no call and no
    /// transaction does more of a kind than it may, but for what is left at the end.
    calls: u64,
    things: u64,
    note_reads: u64,
    nullifier_reads: u64,
    keys: u64,
    messages: u64,
    /// How many nullifiers there are.
    nullified: u64,
    /// Contract and value of what exists: of nullifiers those that stay, which name no note.
    notes: Vec<(usize, Fr)>,
    nullifiers: Vec<(usize, Fr)>,
    settled: Vec<Fr>,
}

impl Writer {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng(seed),
            calls: 6,
            things: 16,
            note_reads: 7,
            nullifier_reads: 3,
            keys: 3,
            messages: MESSAGES as u64,
            nullified: 0,
            notes: Vec::new(),
            nullifiers: Vec::new(),
            settled: genesis().leaves(),
        }
    }

    fn root(&mut self) -> Script {
        let mut script = self.script(0, 0, false);
        script.steps.insert(0, Step::Pay);
        if self.rng.below(2) == 0 {
            let at = 1 + self.rng.below(script.steps.len() as u64) as usize;
            script.steps.insert(at, Step::Revertible);
        }
        script
    }

    fn script(&mut self, depth: u64, contract: usize, is_static: bool) -> Script {
        let mut steps = Vec::new();
        // Entries of a kind, and calls, within the limits of one call.
        let (mut entries, mut calls) = (0, 0);
        for _ in 0..self.rng.below(10) {
            let (kind, may_call) = (self.rng.below(8), self.calls > 0 && calls < 4 && depth < 4);
            match kind {
                0 | 1 if may_call => {
                    (self.calls, calls) = (self.calls - 1, calls + 1);
                    let below = is_static || self.rng.below(4) == 0;
                    let contract = self.rng.below(3) as usize;
                    let script = self.script(depth + 1, contract, below);
                    steps.push(if below { Step::Static(script) } else { Step::Call(script) });
                }
                2 => steps.extend(self.read(contract)),
                3 if depth < 2 => steps.push(Step::Expires(1000 + self.rng.below(1000))),
                4 if self.keys > 0 => {
                    self.keys -= 1;
                    steps.push(Step::Key(Fr::from(5 + self.keys)));
                }
                5 | 6 if !is_static && self.messages > 0 && self.rng.below(4) == 0 => {
                    self.messages -= 1;
                    steps.push(Step::Message(1 + self.rng.below(9), Fr::from(kind)));
                }
                _ if !is_static && self.things > 0 && entries < 7 => {
                    (self.things, entries) = (self.things - 1, entries + 1);
                    steps.push(self.thing(contract));
                }
                _ => {}
            }
        }
        Script { contract, function: self.rng.below(3) as usize, steps }
    }

    /// A read of something that is there: of this transaction, or of the tree.
    fn read(&mut self, contract: usize) -> Option<Step> {
        let nullifiers = of(&self.nullifiers, contract);
        if self.nullifier_reads > 0 && self.rng.below(3) == 0 {
            let value = pick(&mut self.rng, &nullifiers)?;
            self.nullifier_reads -= 1;
            return Some(Step::ReadNullifier(value));
        }
        let notes = of(&self.notes, contract);
        let from = if self.rng.below(2) == 0 { &notes } else { &self.settled };
        let value = pick(&mut self.rng, from).filter(|_| self.note_reads > 0)?;
        self.note_reads -= 1;
        Some(Step::Read(value))
    }

    fn thing(&mut self, contract: usize) -> Step {
        let small = Fr::from(1 + self.rng.below(3));
        match self.rng.below(3) {
            0 => {
                self.notes.push((contract, small));
                Step::Note(small)
            }
            1 => {
                // Each nullifier is new; equal ones would be rejected by a block.
                let new = Fr::from(100 + self.nullified);
                self.nullified += 1;
                let notes: Vec<Fr> = of(&self.notes, contract);
                let named = if self.rng.below(3) == 0 { None } else { pick(&mut self.rng, &notes) };
                if named.is_none() {
                    self.nullifiers.push((contract, new));
                }
                Step::Nullify(new, named.unwrap_or(Fr::from(0u64)))
            }
            _ => Step::Log(small, self.rng.below(2) == 0),
        }
    }
}

fn of(list: &[(usize, Fr)], contract: usize) -> Vec<Fr> {
    list.iter().filter(|(owner, _)| *owner == contract).map(|(_, value)| *value).collect()
}

fn pick(rng: &mut Rng, list: &[Fr]) -> Option<Fr> {
    let n = list.len() as u64;
    (n > 0).then(|| list[rng.below(n) as usize])
}

/// A random transaction against the genesis, with the paths of what it reads there.
fn random(seed: u64, anchor: &Header, store: &MemoryStore) -> Run {
    let script = Writer::new(seed).root();
    let mut run = Run::new(&contracts(), anchor, &script);
    let leaves = genesis().leaves();
    let reads = run.calls.iter().flat_map(|call| call.note_reads);
    let present = reads.filter(|read| read.value != Fr::from(0u64));
    let place = |value: Fr| {
        let index = leaves.iter().position(|leaf| *leaf == value)? as u64;
        Some(NotePath { index, path: path(store, Tree::Notes, 0, index).unwrap() })
    };
    run.witness.note_paths = present.map(|read| place(read.value)).collect();
    run
}

/// The kernel's verdict. After each call the waiting one with the highest start counter is the last.
fn kernel(run: &Run) -> Result<TxEffects, KernelError> {
    let mut calls = run.calls.iter().zip(&run.functions);
    let (first, function) = calls.next().unwrap();
    let mut state = init(&run.request, first, function)?;
    for (call, function) in calls {
        let waiting = state.stack.iter().filter(|entry| entry.contract != Fr::from(0u64));
        let starts: Vec<Fr> = waiting.map(|entry| entry.start).collect();
        assert_eq!(starts.iter().max(), starts.last());
        state = inner(&state, call, function)?;
    }
    tail(&state, &run.witness)
}

/// Whether an event could be reverted.
fn is_late(run: &Run, event: &Event) -> bool {
    let boundary = run.events.iter().find(|e| matches!(e.what, Happened::RevertibleFrom));
    boundary.is_some_and(|from| event.counter >= from.counter)
}

/// The effects as whoever watches the transaction would write them down, from what happened in order.
fn watched(run: &Run) -> Result<TxEffects, &'static str> {
    let late = |event: &Event| is_late(run, event);
    let mut gone = vec![false; run.events.len()];
    for (i, event) in run.events.iter().enumerate() {
        let Happened::Nullifier(_, note) = event.what else { continue };
        if note == Fr::from(0u64) {
            continue;
        }
        let fits = |j: &usize| {
            let other = &run.events[*j];
            let is_it = matches!(other.what, Happened::Note(value) if value == note);
            is_it && other.contract == event.contract && !gone[*j]
        };
        let fitting: Vec<usize> = (0..i).filter(fits).collect();
        if fitting.is_empty() {
            return Err("nullified_unknown");
        }
        let beside = |j: &usize| late(&run.events[*j]) == late(event);
        let j = fitting.into_iter().find(beside).ok_or("nullified_across")?;
        (gone[i], gone[j]) = (true, true);
    }
    for (i, event) in run.events.iter().enumerate() {
        if let Happened::Log(_, _, about) = event.what {
            gone[i] = (0..i).any(|j| gone[j] && run.events[j].counter == about);
        }
    }
    let left: Vec<&Event> =
        run.events.iter().zip(&gone).filter(|(_, gone)| !**gone).map(|(event, _)| event).collect();
    written(run, &left)
}

fn written(run: &Run, left: &[&Event]) -> Result<TxEffects, &'static str> {
    let zero = Fr::from(0u64);
    let (mut notes, mut nullifiers, mut logs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut messages, mut fee_payer) = (Vec::new(), zero);
    for Event { contract, what, .. } in left {
        match what {
            Happened::Note(value) => notes.push(silo_note(contract, value)),
            Happened::Nullifier(value, _) => nullifiers.push(silo_nullifier(contract, value)),
            Happened::Log(tag, hash, _) => logs.push((silo_tag(contract, tag), *hash)),
            Happened::Message(recipient, content) => {
                let mut bytes = [0; 20];
                bytes[12..].copy_from_slice(&recipient.to_be_bytes());
                messages.push(message_out(contract, EthAddress(bytes), content));
            }
            Happened::Paid => fee_payer = *contract,
            Happened::RevertibleFrom => {}
        }
    }
    let mut nullified = left.iter().filter(|e| matches!(e.what, Happened::Nullifier(..)));
    if nullified.next().is_none_or(|first| is_late(run, first)) {
        nullifiers.insert(0, run.request.hash());
    }
    if notes.len().max(nullifiers.len()).max(logs.len()) > SLOTS {
        return Err("too_many_left");
    }
    let padding = &run.witness.padding;
    for i in 0..SLOTS {
        if notes.len() == i {
            notes.push(silo_note(&zero, &padding.note_hashes[i]));
        }
        if nullifiers.len() == i {
            nullifiers.push(silo_nullifier(&zero, &padding.nullifiers[i]));
        }
        if logs.len() == i {
            logs.push((silo_tag(&zero, &padding.tags[i]), padding.log_hashes[i]));
        }
    }
    let unique = |i: usize| {
        let origin = NoteOrigin { first_nullifier: nullifiers[0], index: i as u64 };
        note::unique(&origin, &notes[i])
    };
    messages.resize(MESSAGES, zero);
    Ok(TxEffects {
        nullifiers: std::array::from_fn(|i| nullifiers[i]),
        note_hashes: std::array::from_fn(unique),
        tags: std::array::from_fn(|i| logs[i].0),
        log_hashes: std::array::from_fn(|i| logs[i].1),
        messages: std::array::from_fn(|i| messages[i]),
        public_calls_hash: zero,
        fee_payer,
        gas: run.request.gas,
        notes_in: 0,
        notes_out: 0,
        claim_index: 0,
        claim_amount: 0,
        withdraw_recipient: EthAddress::default(),
        withdraw_amount: 0,
        refund_partial: zero,
        expiry_slot: run.expiry_slot,
    })
}

/// A change of one call or of what shows its function, and the rule that it breaks.
type Change = (&'static str, fn(&mut PrivateCall<Fr>, &mut ContractFunction));

const CHANGES: &[Change] = &[
    ("wrong_contract", |call, _| call.contract += Fr::from(1u64)),
    ("wrong_selector", |call, _| call.selector += Fr::from(1u64)),
    ("wrong_sender", |call, _| call.sender += Fr::from(1u64)),
    ("wrong_static", |call, _| call.is_static = Fr::from(1u64) - call.is_static),
    ("wrong_args", |call, _| call.args_hash += Fr::from(1u64)),
    ("wrong_anchor", |call, _| call.anchor_header_hash += Fr::from(1u64)),
    ("wrong_chain", |call, _| call.chain_id += Fr::from(1u64)),
    ("wrong_version", |call, _| call.version += Fr::from(1u64)),
    ("wrong_gas", |call, _| call.gas_hash += Fr::from(1u64)),
    ("wrong_counters", |call, _| call.start += Fr::from(1u64)),
    ("range", |call, _| call.is_fee_payer = -Fr::from(1u64)),
    ("range", |call, _| call.expiry_slot = -Fr::from(1u64)),
    ("revertible_outside", |call, _| call.min_revertible = call.end),
    ("gap", |call, _| call.note_hashes[7].value = Fr::from(1u64)),
    ("absent_words", |call, _| call.nullifiers[7].counter = Fr::from(1u64)),
    ("absent_words", |call, _| call.keys[3].kind = Fr::from(1u64)),
    ("public_calls", |call, _| call.public_calls[3].counter = Fr::from(1u64)),
    ("public_calls", |call, _| call.teardown.is_static = Fr::from(1u64)),
    ("not_of_contract", |_, function| function.vk_digest += Fr::from(1u64)),
    ("not_of_contract", |_, function| function.log_n += 1),
    ("not_of_contract", |_, function| function.path[6] += Fr::from(1u64)),
    ("not_of_contract", |_, function| function.artifact_hash += Fr::from(1u64)),
    ("not_of_contract", |_, function| function.bytecode_commitment += Fr::from(1u64)),
    ("not_of_contract", |_, function| function.salt += Fr::from(1u64)),
    ("not_of_contract", |_, function| function.init_hash += Fr::from(1u64)),
    ("not_of_contract", |_, function| function.deployer += Fr::from(1u64)),
    ("not_of_contract", |_, function| function.keys_hash += Fr::from(1u64)),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_kernel_writes_what_whoever_watches_would(seed: u64) {
        let (anchor, store) = start();
        let run = random(seed, &anchor, &store);
        match (kernel(&run), watched(&run)) {
            (Ok(effects), Ok(expected)) => {
                prop_assert_eq!(effects.check(), Ok(()));
                prop_assert_eq!(effects, expected);
            }
            (Err(error), Err(rule)) => prop_assert_eq!(error.rule(), rule),
            (got, expected) => {
                return Err(TestCaseError::fail(format!("{got:?}, expected {expected:?}")));
            }
        }
    }

    #[test]
    fn each_change_of_a_call_breaks_its_rule(seed: u64) {
        let (anchor, store) = start();
        let run = random(seed, &anchor, &store);
        let at = Rng(seed).below(run.calls.len() as u64) as usize;
        for (i, (rule, change)) in CHANGES.iter().enumerate() {
            let mut changed = run.clone();
            change(&mut changed.calls[at], &mut changed.functions[at]);
            // An anchor of the first call is compared by the second, or at the end.
            let error = kernel(&changed).unwrap_err();
            prop_assert_eq!(error.rule(), *rule, "change {} of call {}", i, at);
        }
    }
}

/// Goal: a digest covers every word.
#[test]
fn every_word_of_a_call_and_of_a_state_changes_its_digest() {
    let (anchor, store) = start();
    let run = random(1, &anchor, &store);
    let call = &run.calls[0];
    let state = init(&run.request, call, &run.functions[0]).unwrap();
    let digest = |cells: &[Fr]| PrivateCall::from_slice(cells).unwrap().digest();
    let others = |cells: Vec<Fr>| {
        (0..cells.len()).map(move |i| {
            let mut other = cells.clone();
            other[i] += Fr::from(1u64);
            other
        })
    };
    for other in others(call.to_vec()) {
        assert_ne!(digest(&other), call.digest());
    }
    for other in others(state.to_vec()) {
        assert_ne!(KernelState::from_slice(&other).unwrap().digest(), state.digest());
    }
}
