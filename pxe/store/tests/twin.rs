//! Random lives beside an obvious twin: maps in memory, with a block number in each fact.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rollmill_protocol::Fr;
use rollmill_pxe_store::{
    Account, BlockStep, Contact, Contract, Event, Header, Note, Payload, Plan, Planned, Scope,
    Stage, Step, Store, StoreError, TransactionRow,
};

use crate::support::{
    Memory, PASSWORD, account, contact, contract, event, fr, header, in_memory, note, planned,
};

type Failure = &'static str;
type Placed = (Account, Fr, Fr, u64);

/// What a block states.
#[derive(Debug, Clone)]
enum Fact {
    Note(Account, u64, u64),
    Nullify(Account, Fr),
    Defer(Placed, u64),
    Resolve(Placed),
    Event(Placed, u64),
    See(Account, Fr, u64),
    Include(Account, Fr),
    Claim(Account, u64),
}

/// What the wallet decides.
#[derive(Debug, Clone)]
enum Decision {
    Contact(Account, Fr, Option<u64>),
    Class(Fr, u8),
    Contract(Fr, u64, u64),
    Witness(Account, Fr, Option<u64>),
    Capsule(Account, Fr, Fr, Option<u64>),
    Copy(Account, Fr, u64, u64, u32),
    Plan(Account, Plan),
    Ready(Account, u64, Fr),
    Abandon(Account, u64),
    Drop(Account, u64),
    Report(Account, u64),
    Forget(Account, u64),
}

#[derive(Debug, Clone, Default)]
struct Twin {
    first: Option<u64>,
    tip: Option<u64>,
    finalized: Option<u64>,
    headers: BTreeMap<u64, Header>,
    notes: BTreeMap<(Account, u64), Note>,
    nullified: BTreeMap<(Account, Fr), u64>,
    deferred: BTreeMap<Placed, Payload>,
    events: BTreeMap<Placed, Event>,
    seen: BTreeMap<(Account, Fr, u64), u64>,
    included: BTreeMap<(Account, Fr), u64>,
    claims: BTreeMap<(Account, u64), u64>,
    contacts: BTreeMap<(Account, Fr), Contact>,
    classes: BTreeMap<Fr, Vec<u8>>,
    contracts: BTreeMap<Fr, Contract>,
    witnesses: BTreeMap<(Account, Fr), Vec<Fr>>,
    capsules: BTreeMap<(Account, Fr, Fr), Vec<Fr>>,
    sent_tags: BTreeMap<(Account, Fr), u64>,
    transactions: BTreeMap<(Account, u64), TransactionRow>,
    holds: BTreeMap<(Account, Fr), u64>,
    planned: u64,
}

fn state<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> Result<(), Failure> {
    match map.get(&key) {
        Some(known) if *known != value => Err("PXS-012"),
        _ => {
            map.insert(key, value);
            Ok(())
        }
    }
}

impl Twin {
    fn fact(&mut self, block: u64, fact: &Fact) -> Result<(), Failure> {
        match fact.clone() {
            Fact::Note(who, leaf, value) => {
                let note = Note { block, ..note(leaf, value) };
                state(&mut self.notes, (who, leaf), note)
            }
            Fact::Nullify(who, nullifier) => state(&mut self.nullified, (who, nullifier), block),
            Fact::Defer(key, value) => {
                state(&mut self.deferred, key, Payload { block, words: vec![fr(value)] })
            }
            Fact::Resolve(key) => match self.deferred.get(&key) {
                Some(payload) if payload.block != block => Err("PXS-012"),
                _ => {
                    self.deferred.remove(&key);
                    Ok(())
                }
            },
            Fact::Event(key, value) => state(&mut self.events, key, event(block, value)),
            Fact::See(who, secret, index) => {
                let highest = self.seen.entry((who, secret, block)).or_default();
                *highest = index.max(*highest);
                Ok(())
            }
            Fact::Include(who, tx_hash) => state(&mut self.included, (who, tx_hash), block),
            Fact::Claim(who, index) => state(&mut self.claims, (who, index), block),
        }
    }

    fn read_block(&mut self, header: &Header, facts: &[Fact]) -> Result<(), Failure> {
        match self.tip {
            Some(tip) if header.number != tip + 1 => return Err("PXS-013"),
            Some(_) => {}
            None => self.first = Some(header.number),
        }
        self.tip = Some(header.number);
        self.headers.insert(header.number, *header);
        facts.iter().try_for_each(|fact| self.fact(header.number, fact))
    }

    fn read_again(&mut self, block: u64, facts: &[Fact]) -> Result<(), Failure> {
        match (self.first, self.tip) {
            (Some(first), Some(tip)) if first <= block && block <= tip => {}
            _ => return Err("PXS-013"),
        }
        facts.iter().try_for_each(|fact| self.fact(block, fact))
    }

    fn rewind(&mut self, block: u64) -> Result<(), Failure> {
        if self.tip.is_none_or(|tip| tip <= block) {
            return Ok(());
        }
        if self.finalized.is_some_and(|finalized| block < finalized) {
            return Err("PXS-014");
        }
        self.tip = Some(block);
        self.first = self.first.map(|first| first.min(block + 1));
        self.headers.retain(|number, _| *number <= block);
        self.notes.retain(|_, note| note.block <= block);
        self.nullified.retain(|_, at| *at <= block);
        self.deferred.retain(|_, payload| payload.block <= block);
        self.events.retain(|_, event| event.block <= block);
        self.seen.retain(|(_, _, at), _| *at <= block);
        self.included.retain(|_, at| *at <= block);
        self.claims.retain(|_, at| *at <= block);
        Ok(())
    }

    fn finalize(&mut self, block: u64) -> Result<(), Failure> {
        if self.first.is_none_or(|first| block < first) || self.tip.is_none_or(|tip| block > tip) {
            return Err("PXS-013");
        }
        if self.finalized.is_none_or(|finalized| block > finalized) {
            self.finalized = Some(block);
            self.headers.retain(|number, _| *number >= block);
        }
        Ok(())
    }

    fn decide(&mut self, decision: &Decision) -> Result<(), Failure> {
        match decision.clone() {
            Decision::Contact(who, address, Some(value)) => {
                self.contacts.insert((who, address), contact(value));
            }
            Decision::Contact(who, address, None) => {
                self.contacts.remove(&(who, address));
            }
            Decision::Class(id, byte) => return state(&mut self.classes, id, vec![byte; 9]),
            Decision::Contract(address, class, salt) => {
                let known = self.contracts.get(&address);
                if known.is_some_and(|known| known.salt != fr(salt)) {
                    return Err("PXS-012");
                }
                self.contracts.insert(address, contract(class, salt));
            }
            Decision::Witness(who, message, Some(value)) => {
                self.witnesses.insert((who, message), vec![fr(value)]);
            }
            Decision::Witness(who, message, None) => {
                self.witnesses.remove(&(who, message));
            }
            Decision::Capsule(who, contract, slot, Some(value)) => {
                self.capsules.insert((who, contract, slot), vec![fr(value); 3]);
            }
            Decision::Capsule(who, contract, slot, None) => {
                self.capsules.remove(&(who, contract, slot));
            }
            Decision::Copy(who, contract, from, to, count) => {
                let read = |offset: u32| {
                    self.capsules.get(&(who, contract, fr(from + u64::from(offset)))).cloned()
                };
                let all: Option<Vec<_>> = (0..count).map(read).collect();
                for (slot, words) in (to..).zip(all.unwrap_or_default()) {
                    self.capsules.insert((who, contract, fr(slot)), words);
                }
            }
            other => return self.transact(other),
        }
        Ok(())
    }

    fn transact(&mut self, decision: Decision) -> Result<(), Failure> {
        match decision {
            Decision::Plan(who, plan) => self.plan(who, plan).map(|_| ()),
            Decision::Ready(who, number, tx_hash) => {
                let row = self.transaction(who, number, &[Stage::Planned])?;
                row.stage = Stage::Ready;
                row.tx_hash = Some(tx_hash);
                row.bytes = vec![8; 70];
                Ok(())
            }
            Decision::Abandon(who, number) => {
                let row = self.transaction(who, number, &[Stage::Planned])?.clone();
                for (secret, index) in row.tags.iter().rev() {
                    let next = self.sent_tags.entry((who, *secret)).or_default();
                    if *next == index + 1 {
                        *next = *index;
                    }
                }
                self.transactions.remove(&(who, number));
                self.holds.retain(|_, holder| *holder != number);
                Ok(())
            }
            Decision::Drop(who, number) => {
                self.transaction(who, number, &[Stage::Ready])?.stage = Stage::Dropped;
                self.holds.retain(|_, holder| *holder != number);
                Ok(())
            }
            Decision::Report(who, number) => {
                let any = [Stage::Planned, Stage::Ready, Stage::Dropped];
                self.transaction(who, number, &any)?.reported = true;
                Ok(())
            }
            Decision::Forget(who, number) => {
                let row = self.transaction(who, number, &[Stage::Ready, Stage::Dropped])?.clone();
                let block = row.tx_hash.and_then(|hash| self.included.get(&(who, hash)));
                let is_final = block.is_some_and(|block| Some(*block) <= self.finalized);
                if row.stage == Stage::Ready && !is_final {
                    return Err("PXS-017");
                }
                self.transactions.remove(&(who, number));
                self.holds.retain(|_, holder| *holder != number);
                Ok(())
            }
            other => panic!("{other:?} is no transaction"),
        }
    }

    fn transaction(
        &mut self,
        who: Account,
        number: u64,
        stages: &[Stage],
    ) -> Result<&mut TransactionRow, Failure> {
        let row = self.transactions.get_mut(&(who, number)).ok_or("PXS-016")?;
        if stages.contains(&row.stage) { Ok(row) } else { Err("PXS-017") }
    }

    fn plan(&mut self, who: Account, plan: Plan) -> Result<Planned, Failure> {
        self.planned += 1;
        let number = self.planned;
        for nullifier in &plan.nullifiers {
            let key = (who, *nullifier);
            if self.nullified.contains_key(&key) || self.holds.insert(key, number).is_some() {
                return Err("PXS-015");
            }
        }
        let mut tags = Vec::new();
        for secret in plan.secrets {
            let next = self.sent_tags.entry((who, secret)).or_default();
            tags.push((secret, *next));
            *next += 1;
        }
        let indices = tags.iter().map(|(_, index)| *index).collect();
        self.transactions.insert((who, number), planned(plan.nullifiers, tags));
        Ok(Planned { number, tags: indices })
    }

    /// Compares all that the store shows.
    fn compare(&self, store: &Store) -> Result<(), StoreError> {
        let accounts = [account(1), account(2)];
        let scope = Scope::of(accounts);
        let view = store.view(&scope)?;
        assert_eq!((view.tip()?, view.finalized()?), (self.tip, self.finalized));
        assert_eq!(view.headers()?, self.headers.values().copied().collect::<Vec<_>>());
        let contracts: Vec<_> = self.contracts.iter().map(|(a, c)| (*a, c.clone())).collect();
        assert_eq!(view.contracts()?, contracts);
        for who in accounts {
            self.compare_notes(&view, who)?;
            self.compare_messages(&view, who)?;
            let own = self.transactions.iter().filter(|((account, _), _)| *account == who);
            let own: Vec<_> = own.map(|((_, number), row)| (*number, row.clone())).collect();
            let shown = view.transactions(&who)?;
            for transaction in &shown {
                let hash = transaction.row.tx_hash;
                let block = hash.and_then(|hash| self.included.get(&(who, hash)).copied());
                assert_eq!(transaction.included_in, block);
            }
            let shown: Vec<_> = shown.into_iter().map(|t| (t.number, t.row)).collect();
            assert_eq!(shown, own);
            let own = self.contacts.iter().filter(|((account, _), _)| *account == who);
            let own: Vec<_> = own.map(|((_, address), c)| (*address, c.clone())).collect();
            assert_eq!(view.contacts(&who)?, own);
        }
        Ok(())
    }

    fn compare_notes(
        &self,
        view: &rollmill_pxe_store::View<'_>,
        who: Account,
    ) -> Result<(), StoreError> {
        let own = self.notes.iter().filter(|((account, _), _)| *account == who);
        let shown = view.notes(&who)?;
        assert_eq!(shown.len(), own.clone().count());
        for (stored, ((_, leaf_index), note)) in shown.iter().zip(own) {
            assert_eq!((stored.leaf_index, &stored.note), (*leaf_index, note));
            let key = (who, note.nullifier);
            assert_eq!(stored.spent_in, self.nullified.get(&key).copied());
            assert_eq!(stored.held_by, self.holds.get(&key).copied());
        }
        let free = shown.into_iter().filter(|n| n.spent_in.is_none() && n.held_by.is_none());
        assert_eq!(view.spendable(&who, &fr(1), &fr(2))?, free.collect::<Vec<_>>());
        assert_eq!(view.spendable(&who, &fr(1), &fr(3))?, vec![]);
        Ok(())
    }

    fn compare_messages(
        &self,
        view: &rollmill_pxe_store::View<'_>,
        who: Account,
    ) -> Result<(), StoreError> {
        for small in (0..4).map(fr) {
            let mut shown: Vec<(Placed, Payload)> = Vec::new();
            for placed in view.deferred(&who, &small)? {
                shown.push(((who, small, placed.tx_hash, placed.index), placed.item));
            }
            shown.sort_by_key(|(key, _)| *key);
            let here = |key: &Placed| key.0 == who && key.1 == small;
            let own = self.deferred.iter().filter(|(key, _)| here(key));
            assert_eq!(shown, own.map(|(key, p)| (*key, p.clone())).collect::<Vec<_>>());
            let mut shown: Vec<(Placed, Event)> = Vec::new();
            for placed in view.events(&who, &small)? {
                shown.push(((who, small, placed.tx_hash, placed.index), placed.item));
            }
            shown.sort_by_key(|(key, _)| *key);
            let own = self.events.iter().filter(|(key, _)| here(key));
            assert_eq!(shown, own.map(|(key, e)| (*key, e.clone())).collect::<Vec<_>>());
            let seen = self.seen.iter().filter(|((a, s, _), _)| (*a, *s) == (who, small));
            assert_eq!(view.seen_tag(&who, &small)?, seen.map(|(_, index)| *index).max());
            let next = self.sent_tags.get(&(who, small)).copied().unwrap_or_default();
            assert_eq!(view.next_tag(&who, &small)?, next);
            assert_eq!(view.included(&who, &small)?, self.included.get(&(who, small)).copied());
            assert_eq!(view.witness(&who, &small)?, self.witnesses.get(&(who, small)).cloned());
            assert_eq!(view.class(&small)?, self.classes.get(&small).cloned());
            for slot in (0..8).map(fr) {
                let own = self.capsules.get(&(who, small, slot)).cloned();
                assert_eq!(view.capsule(&who, &small, &slot)?, own);
            }
        }
        for index in 0..4 {
            assert_eq!(view.claimed(&who, index)?, self.claims.get(&(who, index)).copied());
        }
        Ok(())
    }
}

fn apply_fact(block: &mut BlockStep<'_, '_>, fact: &Fact) -> Result<(), StoreError> {
    match fact {
        Fact::Note(who, leaf, value) => block.note(who, *leaf, note(*leaf, *value)).map(|_| ()),
        Fact::Nullify(who, nullifier) => block.nullify(who, nullifier).map(|_| ()),
        Fact::Defer((who, contract, tx, index), value) => {
            block.defer(who, contract, (tx, *index), vec![fr(*value)]).map(|_| ())
        }
        Fact::Resolve((who, contract, tx, index)) => {
            block.resolve(who, contract, (tx, *index)).map(|_| ())
        }
        Fact::Event((who, contract, tx, index), value) => {
            block.event(who, contract, (tx, *index), event(0, *value)).map(|_| ())
        }
        Fact::See(who, secret, index) => block.see_tag(who, secret, *index),
        Fact::Include(who, tx_hash) => block.include(who, tx_hash).map(|_| ()),
        Fact::Claim(who, index) => block.claim(who, *index).map(|_| ()),
    }
}

fn apply_decision(step: &mut Step<'_, '_>, decision: &Decision) -> Result<(), StoreError> {
    match decision {
        Decision::Contact(who, address, Some(value)) => {
            step.set_contact(who, address, &contact(*value))
        }
        Decision::Contact(who, address, None) => step.remove_contact(who, address).map(|_| ()),
        Decision::Class(id, byte) => step.add_class(id, &[*byte; 9]).map(|_| ()),
        Decision::Contract(address, class, salt) => {
            step.set_contract(address, &contract(*class, *salt))
        }
        Decision::Witness(who, message, Some(value)) => {
            step.set_witness(who, message, &[fr(*value)])
        }
        Decision::Witness(who, message, None) => step.remove_witness(who, message).map(|_| ()),
        Decision::Capsule(who, contract, slot, Some(value)) => {
            step.set_capsule(who, contract, slot, &[fr(*value); 3])
        }
        Decision::Capsule(who, contract, slot, None) => {
            step.remove_capsule(who, contract, slot).map(|_| ())
        }
        Decision::Copy(who, contract, from, to, count) => {
            step.copy_capsules(who, contract, (&fr(*from), &fr(*to)), *count).map(|_| ())
        }
        Decision::Plan(who, plan) => step.plan(who, plan).map(|_| ()),
        Decision::Ready(who, number, tx_hash) => step.ready(who, *number, tx_hash, &[8; 70]),
        Decision::Abandon(who, number) => step.abandon(who, *number),
        Decision::Drop(who, number) => step.drop_transaction(who, *number),
        Decision::Report(who, number) => step.report(who, *number),
        Decision::Forget(who, number) => step.forget(who, *number),
    }
}

fn who(rng: &mut ChaCha20Rng) -> Account {
    account(rng.gen_range(1..3))
}

fn small(rng: &mut ChaCha20Rng) -> Fr {
    fr(rng.gen_range(0..4))
}

fn fact(rng: &mut ChaCha20Rng) -> Fact {
    let placed = (who(rng), small(rng), small(rng), rng.gen_range(0..2));
    // Mostly one value, so that a fact is often stated again and sometimes contradicted.
    let value = u64::from(rng.gen_bool(0.05));
    match rng.gen_range(0..9) {
        0 | 1 => Fact::Note(who(rng), rng.gen_range(0..12), value),
        2 => Fact::Nullify(who(rng), crate::support::nullifier(rng.gen_range(0..12))),
        3 => Fact::Defer(placed, value),
        4 => Fact::Resolve(placed),
        5 => Fact::Event(placed, value),
        6 => Fact::See(who(rng), small(rng), rng.gen_range(0..50)),
        7 => Fact::Include(who(rng), small(rng)),
        _ => Fact::Claim(who(rng), rng.gen_range(0..4)),
    }
}

fn decision(rng: &mut ChaCha20Rng, planned: u64) -> Decision {
    let value = rng.gen_bool(0.7).then(|| rng.gen_range(0..100));
    let number = rng.gen_range(0..planned + 2);
    match rng.gen_range(0..16) {
        0 => Decision::Contact(who(rng), small(rng), value),
        1 => Decision::Class(small(rng), rng.gen_range(0..2)),
        2 => Decision::Contract(small(rng), rng.gen_range(0..4), rng.gen_range(0..2)),
        3 => Decision::Witness(who(rng), small(rng), value),
        4 | 5 => Decision::Capsule(who(rng), small(rng), small(rng), value),
        6 => {
            let (from, to) = (rng.gen_range(0..4), rng.gen_range(0..4));
            Decision::Copy(who(rng), small(rng), from, to, rng.gen_range(0..3))
        }
        7..=10 => {
            let count = rng.gen_range(0..3);
            let leaf = |_| crate::support::nullifier(rng.gen_range(0..12));
            let nullifiers = (0..count).map(leaf).collect();
            let secrets = (0..rng.gen_range(0..3)).map(|_| small(rng)).collect();
            Decision::Plan(who(rng), Plan { request: vec![1, 2], nullifiers, secrets })
        }
        11 => Decision::Ready(who(rng), number, small(rng)),
        12 => Decision::Abandon(who(rng), number),
        13 => Decision::Drop(who(rng), number),
        14 => Decision::Report(who(rng), number),
        _ => Decision::Forget(who(rng), number),
    }
}

/// One random step in both. Returns the twin after it, and what the two said.
fn step(
    rng: &mut ChaCha20Rng,
    store: &Store,
    twin: &Twin,
) -> (Twin, Result<(), Failure>, Result<(), StoreError>) {
    let scope = Scope::of([account(1), account(2)]);
    let mut next = twin.clone();
    let tip = twin.tip.unwrap_or_default();
    let (expected, got) = match rng.gen_range(0..10) {
        0..=3 => {
            let number = if rng.gen_bool(0.95) { tip + 1 } else { rng.gen_range(0..9) };
            let number = if twin.tip.is_none() { 1 } else { number };
            let header = header(number);
            let facts: Vec<Fact> = (0..rng.gen_range(0..4)).map(|_| fact(rng)).collect();
            let got = store.read_block(&scope, &header, |block| {
                facts.iter().try_for_each(|fact| apply_fact(block, fact))
            });
            (next.read_block(&header, &facts), got)
        }
        4 => {
            let number = rng.gen_range(0..tip + 2);
            let facts: Vec<Fact> = (0..rng.gen_range(1..3)).map(|_| fact(rng)).collect();
            let got = store.read_again(&scope, number, |block| {
                facts.iter().try_for_each(|fact| apply_fact(block, fact))
            });
            (next.read_again(number, &facts), got)
        }
        5 => {
            let block = tip.saturating_sub(rng.gen_range(0..5));
            (next.rewind(block), store.rewind(block))
        }
        6 if rng.gen_bool(0.3) => {
            let block = (tip + 1).saturating_sub(rng.gen_range(0..4));
            (next.finalize(block), store.finalize(block))
        }
        _ => {
            let decisions: Vec<Decision> =
                (0..rng.gen_range(1..3)).map(|_| decision(rng, twin.planned)).collect();
            let got = store.step(&scope, |step| {
                decisions.iter().try_for_each(|decision| apply_decision(step, decision))
            });
            (decisions.iter().try_for_each(|decision| next.decide(decision)), got)
        }
    };
    (next, expected, got)
}

#[test]
fn random_lives_are_those_of_the_twin_through_rewinds_and_reopenings() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    for life in 0..6 {
        let (memory, mut store) = in_memory();
        let mut twin = Twin::default();
        for at in 0..150 {
            let (next, expected, got) = step(&mut rng, &store, &twin);
            let got = got.map_err(|error| error.code().to_owned());
            let expected = expected.map_err(str::to_owned);
            assert_eq!(got, expected, "life {life}, step {at}");
            // A step that fails leaves no trace.
            if expected.is_ok() {
                twin = next;
            }
            if at % 3 == 0 {
                // Half of the times as after a crash: the bytes as they are now, of a store that is not closed.
                let bytes = memory.bytes();
                if rng.gen_bool(0.5) {
                    let crashed = Store::open_on(Memory::of(bytes), PASSWORD).expect("opens");
                    twin.compare(&crashed).expect("read");
                } else {
                    drop(store);
                    store = Store::open_on(memory.clone(), PASSWORD).expect("opens");
                }
            }
            twin.compare(&store).expect("read");
        }
    }
}

/// Goal: undoing all blocks and reading them again gives what a new store would have.
#[test]
fn after_a_rewind_the_same_blocks_give_the_same_store() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let scope = Scope::of([account(1), account(2)]);
    // Each of its own block, so that none contradicts another.
    let blocks: Vec<Vec<Fact>> = (1..=20u64)
        .map(|number| {
            let placed = (who(&mut rng), small(&mut rng), fr(100 + number), 0);
            let (alice, bob) = (account(1), account(2));
            vec![
                Fact::Note(alice, number, 1),
                Fact::Nullify(bob, fr(number)),
                Fact::Defer(placed, number),
                Fact::Event(placed, number),
                Fact::See(bob, small(&mut rng), number),
                Fact::Claim(alice, number),
            ]
        })
        .collect();
    let read = |store: &Store, from: usize| {
        for (facts, number) in blocks[from..].iter().zip(from as u64 + 1..) {
            let work = |block: &mut BlockStep<'_, '_>| {
                facts.iter().try_for_each(|fact| apply_fact(block, fact))
            };
            store.read_block(&scope, &header(number), work).expect("read");
        }
        crate::support::shown(store).expect("shown")
    };
    let (_memory, fresh) = in_memory();
    let expected = read(&fresh, 0);
    let (_memory, store) = in_memory();
    read(&store, 0);
    for _ in 0..10 {
        let depth = rng.gen_range(0..20);
        store.rewind(depth as u64).expect("rewound");
        assert_eq!(read(&store, depth), expected, "to block {depth}");
    }
}
