//! The durable record of what one account means to send.
//!
//! A transaction is written here before its first byte goes on the wire, so that a program that is
//! killed at any moment finds out after its restart what it may have sent, and never sends it again
//! under another nonce.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use serde::{Deserialize, Serialize};

use crate::error::L1Error;
use crate::fees::Fees;
use crate::sender::TxRequest;

const VERSION: u32 = 1;
/// Settled intents that are remembered, so that a late repetition of an id is still recognised.
const SETTLED_MAX: usize = 1024;

/// One transaction: decided, perhaps sent, perhaps included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) id: String,
    pub(crate) nonce: u64,
    pub(crate) to: Option<Address>,
    pub(crate) value: U256,
    /// Empty once the intent is settled; `digest` still tells what it was.
    pub(crate) input: Bytes,
    pub(crate) gas_limit: u64,
    /// [`digest_of`] the request.
    pub(crate) digest: B256,
    /// Signed forms, each a replacement of the one before. Any of them may be included.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) state: State,
}

/// One signed form of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) tx_hash: B256,
    pub(crate) fees: Fees,
    /// L1's head when it was first sent.
    pub(crate) sent_at_block: u64,
}

/// How far an intent has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Not in any block that is known to be on the chain.
    Pending,
    /// In a block that L1 may still replace.
    Included(Inclusion),
    /// In a final block.
    Final(Inclusion),
    /// Its nonce went to a transaction that is not in this file, in block `at_block` or before.
    Lost { at_block: u64 },
    /// Lost for good.
    LostFinal,
}

/// What a receipt says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inclusion {
    pub(crate) tx_hash: B256,
    pub(crate) block_number: u64,
    pub(crate) block_hash: B256,
    pub(crate) succeeded: bool,
    pub(crate) gas_used: u64,
    pub(crate) effective_gas_price_wei: u128,
    pub(crate) contract_address: Option<Address>,
}

impl State {
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self, Self::Final(_) | Self::LostFinal)
    }
}

/// Identifies what a request does, apart from nonce and price.
pub(crate) fn digest_of(request: &TxRequest) -> B256 {
    let to = request.to.map_or_else(Vec::new, |to| to.to_vec());
    keccak256(
        [&[to.len() as u8], &to[..], &request.value.to_be_bytes::<32>(), &request.input].concat(),
    )
}

/// What lies on disk. A changed digit would be a changed nonce, so the contents carry a digest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<C> {
    /// Keccak-256 of the contents as compact JSON.
    digest: B256,
    contents: C,
}

impl Contents {
    fn digest(&self) -> serde_json::Result<B256> {
        Ok(keccak256(serde_json::to_vec(self)?))
    }

    /// Reads a sealed file; says in a few words why it cannot.
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let sealed: Sealed<Self> =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match sealed.contents.digest() {
            Ok(digest) if digest == sealed.digest => Ok(sealed.contents),
            Ok(_) => Err("its digest is that of other contents".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    chain_id: u64,
    /// Tells a development chain from its successor with the same chain id.
    genesis_hash: B256,
    account: Address,
    intents: Vec<Intent>,
}

/// The file, and the lock that keeps a second process away from it.
#[derive(Debug)]
pub(crate) struct IntentFile {
    path: PathBuf,
    contents: Contents,
    /// Held, never read: the operating system drops the lock with the process.
    _lock: File,
}

impl IntentFile {
    /// Opens or creates the file of one account on one chain.
    pub(crate) fn open(
        path: &Path,
        chain_id: u64,
        genesis_hash: B256,
        account: Address,
    ) -> Result<Self, L1Error> {
        let failed = |reason: String| L1Error::IntentFile { path: path.to_owned(), reason };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
        }
        let lock_path = path.with_extension("lock");
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&lock_path)
            .map_err(|error| failed(format!("{}: {error}", lock_path.display())))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(L1Error::IntentLocked { path: path.to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error.to_string())),
        }
        let contents = match fs::read(path) {
            Ok(bytes) => Contents::read(&bytes).map_err(|error| {
                failed(format!(
                    "is damaged ({error}); restore it, or move it away once its account has no \
                     pending transaction"
                ))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Contents { version: VERSION, chain_id, genesis_hash, account, intents: Vec::new() }
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        if contents.version != VERSION {
            let got = contents.version;
            return Err(failed(format!("has version {got}, this program reads {VERSION}")));
        }
        let name = |chain: u64, genesis: B256, account: Address| {
            format!("account {account} on chain {chain} with genesis {genesis}")
        };
        let expected = name(chain_id, genesis_hash, account);
        let got = name(contents.chain_id, contents.genesis_hash, contents.account);
        if expected != got {
            return Err(L1Error::IntentForeign { path: path.to_owned(), expected, got });
        }
        Ok(Self { path: path.to_owned(), contents, _lock: lock })
    }

    pub(crate) fn intents(&self) -> &[Intent] {
        &self.contents.intents
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Intent> {
        self.contents.intents.iter().find(|intent| intent.id == id)
    }

    /// Adds an intent, or replaces the one with its id, on disk first.
    pub(crate) fn put(&mut self, mut intent: Intent) -> Result<(), L1Error> {
        if intent.state.is_settled() {
            intent.input = Bytes::new();
        }
        let mut intents = self.contents.intents.clone();
        match intents.iter_mut().find(|known| known.id == intent.id) {
            Some(known) => *known = intent,
            None => intents.push(intent),
        }
        let settled = intents.iter().filter(|intent| intent.state.is_settled()).count();
        let mut excess = settled.saturating_sub(SETTLED_MAX);
        intents.retain(|intent| {
            let drop = excess > 0 && intent.state.is_settled();
            excess -= usize::from(drop);
            !drop
        });
        let before = std::mem::replace(&mut self.contents.intents, intents);
        self.save().inspect_err(|_| self.contents.intents = before)
    }

    /// Writes a new file, forces it to disk and moves it into place: a crash leaves the old file or
    /// the new one.
    fn save(&self) -> Result<(), L1Error> {
        let failed = |reason: String| L1Error::IntentFile { path: self.path.clone(), reason };
        let sealed =
            |digest| serde_json::to_vec_pretty(&Sealed { digest, contents: &self.contents });
        let bytes = self.contents.digest().and_then(sealed);
        let bytes = bytes.map_err(|error| failed(error.to_string()))?;
        let fresh = self.path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, &self.path)?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error| failed(format!("cannot be written: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<IntentFile, L1Error> {
        IntentFile::open(path, 31337, B256::ZERO, Address::ZERO)
    }

    fn intent() -> Intent {
        Intent {
            id: "propose-17".into(),
            nonce: 5,
            to: Some(Address::with_last_byte(9)),
            value: U256::from(3),
            input: Bytes::from_static(&[1, 2, 3]),
            gas_limit: 90_000,
            digest: B256::repeat_byte(7),
            attempts: Vec::new(),
            state: State::Pending,
        }
    }

    /// Goal: a damaged file is refused or means the same; no other nonce is ever read from it.
    #[test]
    fn every_changed_or_missing_byte_is_refused_or_means_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("intents.json");
        let mut file = open(&path).unwrap();
        file.put(intent()).unwrap();
        drop(file);
        let bytes = fs::read(&path).unwrap();
        let expected = Contents::read(&bytes).unwrap().digest().unwrap();
        let mut same = 0;
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if let Ok(contents) = Contents::read(&changed) {
                    assert_eq!(contents.digest().unwrap(), expected, "byte {at}, bit {bit}");
                    same += 1;
                }
            }
            // Only the end of the last line can be missed.
            assert!(Contents::read(&bytes[..at]).is_err(), "cut at {at}");
        }
        // White space and the case of a hexadecimal digit mean nothing.
        assert!(same < bytes.len(), "{same} changes of {} bits were read", bytes.len() * 8);
    }

    #[test]
    fn a_damaged_file_is_left_as_it_was_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("intents.json");
        open(&path).unwrap().put(intent()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let changed = text.replace("\"nonce\": 5", "\"nonce\": 6");
        assert_ne!(changed, text);
        fs::write(&path, &changed).unwrap();
        let error = open(&path).unwrap_err();
        assert!(error.to_string().contains("intents.json"), "{error}");
        assert!(error.to_string().contains("is damaged"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), changed);
    }
}
