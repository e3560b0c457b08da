//! Stores in memory whose writes are recorded, small values, and all that a store shows.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rollmill_protocol::Fr;
use rollmill_pxe_store::{
    Account, Contact, Contract, Cost, Event, Header, Note, Scope, StorageBackend, Store,
    StoreError, TransactionRow,
};

/// The cheapest key from a password, so that a store opens fast.
pub(crate) const COST: Cost = Cost { log_n: 1, r: 1, p: 1 };
pub(crate) const PASSWORD: &str = "correct horse";

/// What a storage was told to do.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Length(usize),
    Write(usize, Vec<u8>),
    Sync,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    log: Vec<Op>,
}

/// A storage in memory. Clones share it, so that it outlives the store on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    state: Arc<Mutex<State>>,
}

impl Memory {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let memory = Self::default();
        memory.state.lock().bytes = bytes;
        memory
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state.lock().bytes.clone()
    }

    /// What was done since the last call.
    pub(crate) fn take_log(&self) -> Vec<Op> {
        std::mem::take(&mut self.state.lock().log)
    }

    pub(crate) fn log_length(&self) -> usize {
        self.state.lock().log.len()
    }
}

/// Writes as a file would, which grows.
pub(crate) fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Length(length) => bytes.resize(*length, 0),
        Op::Write(at, data) => {
            let end = at + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at..end].copy_from_slice(data);
        }
        Op::Sync => {}
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl StorageBackend for Memory {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.state.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let state = self.state.lock();
        let from = index(offset)?;
        let bytes = from.checked_add(out.len()).and_then(|end| state.bytes.get(from..end));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let op = Op::Length(index(len)?);
        let mut state = self.state.lock();
        apply(&mut state.bytes, &op);
        state.log.push(op);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.state.lock().log.push(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let op = Op::Write(index(offset)?, data.to_vec());
        let mut state = self.state.lock();
        apply(&mut state.bytes, &op);
        state.log.push(op);
        Ok(())
    }
}

pub(crate) fn fr(value: u64) -> Fr {
    Fr::from(value)
}

pub(crate) fn account(value: u64) -> Account {
    Account(fr(value))
}

pub(crate) fn header(number: u64) -> Header {
    Header { number, hash: fr(1000 + number), slot: 2 * number }
}

/// A note whose nullifier follows from its leaf.
pub(crate) fn note(leaf_index: u64, value: u64) -> Note {
    Note {
        block: 0,
        tx_hash: fr(500 + leaf_index),
        contract: fr(1),
        slot: fr(2),
        kind: 3,
        content: vec![fr(value), fr(7)],
        unique: fr(600 + leaf_index),
        nullifier: nullifier(leaf_index),
    }
}

pub(crate) fn nullifier(leaf_index: u64) -> Fr {
    fr(700 + leaf_index)
}

pub(crate) fn event(block: u64, value: u64) -> Event {
    Event { block, selector: fr(4), content: vec![fr(value)] }
}

pub(crate) fn contact(value: u64) -> Contact {
    Contact { label: format!("contact {value}"), npk: fr(value), viewing: [value as u8; 32] }
}

pub(crate) fn contract(class: u64, salt: u64) -> Contract {
    let (class_id, salt) = (fr(class), fr(salt));
    Contract { class_id, salt, init_hash: fr(1), deployer: fr(2), keys_hash: fr(3) }
}

/// A row without bytes, as a plan leaves it.
pub(crate) fn planned(nullifiers: Vec<Fr>, tags: Vec<(Fr, u64)>) -> TransactionRow {
    TransactionRow {
        stage: rollmill_pxe_store::Stage::Planned,
        request: vec![1, 2],
        nullifiers,
        tags,
        tx_hash: None,
        bytes: vec![],
        reported: false,
    }
}

/// A store in memory.
pub(crate) fn in_memory() -> (Memory, Store) {
    let memory = Memory::default();
    let store = Store::create_on(memory.clone(), PASSWORD, COST).expect("created");
    (memory, store)
}

/// All that a store shows of two accounts, as a text to compare.
pub(crate) fn shown(store: &Store) -> Result<String, StoreError> {
    use std::fmt::Write;
    let accounts = [account(1), account(2)];
    let scope = Scope::of(accounts);
    let view = store.view(&scope)?;
    let mut out = String::new();
    let mut add = |what: String| writeln!(out, "{what}").expect("memory");
    add(format!("{:?} {:?} {:?}", view.tip()?, view.finalized()?, view.headers()?));
    add(format!("{:?} {:?}", view.contracts()?, view.class(&fr(1))?));
    for account in &accounts {
        add(format!("{:?}", view.notes(account)?));
        add(format!("{:?} {:?}", view.transactions(account)?, view.contacts(account)?));
        for small in 0..4 {
            let small = fr(small);
            add(format!(
                "{:?} {:?}",
                view.deferred(account, &small)?,
                view.witness(account, &small)?
            ));
            add(format!("{:?}", view.events(account, &small)?));
            add(format!(
                "{:?} {:?}",
                view.seen_tag(account, &small)?,
                view.next_tag(account, &small)?
            ));
            add(format!("{:?}", view.included(account, &small)?));
            for slot in 0..4 {
                add(format!("{:?}", view.capsule(account, &small, &fr(slot))?));
            }
        }
        for index in 0..4 {
            add(format!("{:?}", view.claimed(account, index)?));
        }
    }
    Ok(out)
}
