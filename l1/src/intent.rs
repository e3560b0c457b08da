//! The durable journal of the transactions that one account sends.
//!
//! A transaction is written here before it is sent, so that a program that is killed at any moment
//! knows after its restart what it may have sent, and never sends it again under another nonce.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use alloy::eips::eip4844::DATA_GAS_PER_BLOB;
use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use parking_lot::RwLock;
use rollmill_blob::Sidecar;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::error::L1Error;
use crate::fees::Fees;
use crate::sealed::{Contents, Sealed, VERSION};
use crate::sender::{Expiry, TxRequest};
use crate::sidecars::Sidecars;

/// Settled intents that are remembered, so that a late repetition of one is still recognised.
const SETTLED_MAX: usize = 1024;
/// Remembered dropped intents that no node accepted: while every broadcast is rejected, each request
/// adds one.
const UNSENT_MAX: usize = 64;
/// Prefix of the name of a transfer that only fills a nonce.
const FILL: &str = "fill/";
/// Why nothing is sent for a caller whose fence was superseded.
pub(crate) const WITHOUT_RIGHT: &str = "the right to send it has passed to another process";

/// One transaction: decided, perhaps sent, perhaps included. Intents of one nonce compete for it: at
/// most one of them is not retired, and any form of any of them may be included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// Names the intent in this file; a later one has a higher number.
    pub(crate) seq: u64,
    pub(crate) purpose: String,
    pub(crate) attempt: u32,
    pub(crate) nonce: u64,
    pub(crate) to: Option<Address>,
    pub(crate) value: U256,
    /// Empty once the intent is settled or retired; `digest` still identifies it.
    pub(crate) input: Bytes,
    /// The blob that it carries; absent for a plain transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blob: Option<BlobId>,
    pub(crate) gas_limit: u64,
    /// [`TxRequest::gas_spare`]: each later simulation adds it, too. Absent if it is 0, as before version 4.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) gas_spare: u64,
    /// Whether it is simulated before it is sent.
    pub(crate) is_simulated: bool,
    pub(crate) expires: Option<Expiry>,
    pub(crate) fence: Option<u64>,
    /// [`digest_of`] the request.
    pub(crate) digest: B256,
    /// Signed forms, each a replacement of the one before. Any of them may be included.
    pub(crate) forms: Vec<Form>,
    pub(crate) state: State,
    /// Set when no form of it is sent again.
    pub(crate) retired: Option<Retired>,
}

/// The end of an intent that is in no block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retired {
    pub(crate) reason: String,
    /// Whether an empty transfer should prevent the inclusion of its forms.
    pub(crate) fill: bool,
}

impl Retired {
    /// It can only cost gas.
    pub(crate) fn worthless(reason: String) -> Self {
        Self { reason, fill: true }
    }

    /// It may be valid, but this sender no longer owns it.
    pub(crate) fn without_right() -> Self {
        Self { reason: WITHOUT_RIGHT.to_owned(), fill: false }
    }
}

impl Intent {
    /// The name that errors and logs show: purpose, and attempt unless it is 0.
    pub(crate) fn label(&self) -> String {
        label(&self.purpose, self.attempt)
    }

    pub(crate) fn is(&self, purpose: &str, attempt: u32) -> bool {
        self.purpose == purpose && self.attempt == attempt
    }

    /// Whether it should use its nonce, which is not used yet.
    pub(crate) fn is_active(&self) -> bool {
        self.state == State::Pending && self.retired.is_none()
    }

    /// Whether it is in a block, or lost although it was needed.
    pub(crate) fn is_over(&self) -> bool {
        match self.state {
            State::Included(_) | State::Final(_) => true,
            State::Lost { .. } | State::LostFinal => self.retired.is_none(),
            State::Pending => false,
        }
    }

    /// Whether it was dropped and no node has accepted any form of it.
    fn is_unsent(&self) -> bool {
        let is_in_pool = self.forms.iter().any(|form| form.in_pool);
        self.state == State::Pending && self.retired.is_some() && !is_in_pool
    }

    /// Whether it only fills its nonce.
    pub(crate) fn is_fill(&self) -> bool {
        self.purpose.starts_with(FILL)
    }

    /// Maximum cost of its newest form in wei.
    pub(crate) fn cost(&self) -> U256 {
        self.forms.last().map_or(self.value, |form| cost(self.gas_limit, form.fees, self.value))
    }

    /// Whether a pool may contain a form of it that carries a blob.
    pub(crate) fn has_blob_in_pool(&self) -> bool {
        self.forms.iter().any(|form| form.in_pool && form.fees.max_blob_fee_wei.is_some())
    }

    /// An empty transfer to `account` itself, which uses the nonce.
    pub(crate) fn fill(nonce: u64, account: Address) -> Self {
        const TRANSFER_GAS: u64 = 21_000;
        let purpose = format!("{FILL}{nonce}");
        let request = TxRequest {
            gas_limit: Some(TRANSFER_GAS),
            ..TxRequest::call(purpose, account, Bytes::new())
        };
        Self::new(request, nonce, TRANSFER_GAS)
    }

    pub(crate) fn new(request: TxRequest, nonce: u64, gas_limit: u64) -> Self {
        Self {
            seq: 0,
            digest: digest_of(&request),
            purpose: request.purpose,
            attempt: request.attempt,
            nonce,
            to: request.to,
            value: request.value,
            input: request.input,
            blob: request.sidecar.as_deref().map(BlobId::of),
            gas_limit,
            gas_spare: request.gas_spare,
            is_simulated: request.gas_limit.is_none(),
            expires: request.expires,
            fence: request.fence,
            forms: Vec::new(),
            state: State::Pending,
            retired: None,
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Maximum cost of a transaction in wei.
pub(crate) fn cost(gas_limit: u64, fees: Fees, value: U256) -> U256 {
    let gas = U256::from(gas_limit) * U256::from(fees.max_fee_wei);
    let blob_gas = fees
        .max_blob_fee_wei
        .map_or(U256::ZERO, |fee| U256::from(DATA_GAS_PER_BLOB) * U256::from(fee));
    gas.saturating_add(blob_gas).saturating_add(value)
}

/// The blob of an intent. Its sidecar is a file of its own: see [`Sidecars`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlobId {
    pub(crate) versioned_hash: B256,
    /// SHA-256 of the sidecar's bytes, which names its file.
    pub(crate) sidecar: B256,
}

impl BlobId {
    pub(crate) fn of(sidecar: &Sidecar) -> Self {
        let digest: [u8; 32] = Sha256::digest(sidecar.to_bytes()).into();
        Self { versioned_hash: sidecar.versioned_hash().into(), sidecar: digest.into() }
    }

    /// The blob of zeros, which has no file. It makes a transaction without data one that may replace a
    /// transaction with a blob.
    pub(crate) fn empty() -> Self {
        static EMPTY: LazyLock<BlobId> = LazyLock::new(|| BlobId::of(&Sidecar::empty()));
        *EMPTY
    }
}

/// See [`Intent::label`].
pub(crate) fn label(purpose: &str, attempt: u32) -> String {
    if attempt == 0 { purpose.to_owned() } else { format!("{purpose}#{attempt}") }
}

/// One signed form of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Form {
    pub(crate) tx_hash: B256,
    pub(crate) fees: Fees,
    /// L1's head when it was first sent.
    pub(crate) sent_at_block: u64,
    /// Whether a pool may contain it. False after a node rejected it and did not know its hash.
    #[serde(rename = "held")]
    pub(crate) in_pool: bool,
    /// Whether a node rejected it as underpriced.
    pub(crate) priced_out: bool,
}

/// The state of an intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Not in any block that is known to be on the chain.
    Pending,
    /// In a block that L1 may still replace.
    Included(Inclusion),
    /// In a final block.
    Final(Inclusion),
    /// Another transaction used its nonce, in block `at_block` or before.
    Lost { at_block: u64 },
    /// Lost for good.
    LostFinal,
}

/// The contents of a receipt.
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
    let plain = keccak256(
        [&[to.len() as u8], &to[..], &request.value.to_be_bytes::<32>(), &request.input].concat(),
    );
    match &request.sidecar {
        Some(sidecar) => keccak256([plain.0, sidecar.versioned_hash()].concat()),
        None => plain,
    }
}

/// Forgets the oldest of those that `is_old` names, but for `keep`.
fn forget(intents: &mut Vec<Intent>, keep: usize, is_old: impl Fn(&Intent) -> bool) {
    let all = intents.iter().filter(|intent| is_old(intent)).count();
    let mut excess = all.saturating_sub(keep);
    intents.retain(|intent| {
        let drop = excess > 0 && is_old(intent);
        excess -= usize::from(drop);
        !drop
    });
}

/// The public view of the file, without waiting.
#[derive(Debug, Default)]
pub(crate) struct Published {
    intents: RwLock<Arc<Vec<Intent>>>,
    /// Counts the changes.
    pub(crate) changes: watch::Sender<u64>,
}

impl Published {
    /// The intents as they are on disk, oldest first.
    pub(crate) fn intents(&self) -> Arc<Vec<Intent>> {
        Arc::clone(&self.intents.read())
    }

    fn publish(&self, intents: &[Intent]) {
        let fresh = Arc::new(intents.to_vec());
        *self.intents.write() = fresh;
        self.changes.send_modify(|count| *count += 1);
    }
}

/// The file, and the lock that keeps a second process away from it.
#[derive(Debug)]
pub(crate) struct IntentFile {
    path: PathBuf,
    contents: Contents,
    sidecars: Sidecars,
    pub(crate) published: Arc<Published>,
    /// Kept open, never read: the operating system releases the lock when the process ends.
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
        // Checked before the lock file is created, which would be left behind.
        if path.is_dir() {
            return Err(failed("it is a directory".to_owned()));
        }
        rollmill_files::make_folder_of(path)
            .map_err(|error| failed(rollmill_errors::InWords(&error).to_string()))?;
        let lock_path = path.with_extension("lock");
        let lock = File::options().create(true).append(true).open(&lock_path).map_err(|error| {
            failed(format!("{}: {}", lock_path.display(), rollmill_errors::InWords(&error)))
        })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(L1Error::IntentLocked { path: path.to_owned() });
            }
            Err(TryLockError::Error(error)) => {
                return Err(failed(rollmill_errors::InWords(&error).to_string()));
            }
        }
        let contents = match fs::read(path) {
            Ok(bytes) => Contents::read(&bytes).map_err(failed)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Contents { version: VERSION, chain_id, genesis_hash, account, intents: Vec::new() }
            }
            Err(error) => return Err(failed(rollmill_errors::InWords(&error).to_string())),
        };
        let name = |chain: u64, genesis: B256, account: Address| {
            format!("account {account} on chain {chain} with genesis {genesis}")
        };
        let expected = name(chain_id, genesis_hash, account);
        let got = name(contents.chain_id, contents.genesis_hash, contents.account);
        if expected != got {
            return Err(L1Error::IntentForeign { path: path.to_owned(), expected, got });
        }
        let published = Arc::new(Published::default());
        published.publish(&contents.intents);
        let sidecars = Sidecars::beside(path);
        let file = Self { path: path.to_owned(), contents, sidecars, published, _lock: lock };
        file.forget_sidecars();
        Ok(file)
    }

    /// Writes the sidecar of an intent that [`Self::put`] gets next.
    pub(crate) fn keep(&self, sidecar: &Sidecar) -> Result<(), L1Error> {
        self.sidecars.write(sidecar).map_err(|reason| self.failure(reason))
    }

    pub(crate) fn failure(&self, reason: String) -> L1Error {
        L1Error::IntentFile { path: self.path.clone(), reason }
    }

    /// The sidecar of an intent's blob, if it has one; the error says why it cannot be read.
    pub(crate) fn sidecar(&self, intent: &Intent) -> Result<Option<Sidecar>, String> {
        intent.blob.map(|blob| self.sidecars.read(blob)).transpose()
    }

    /// Removes the sidecars that nothing sends any more.
    fn forget_sidecars(&self) {
        let is_needed = |it: &&Intent| !it.state.is_settled() && it.retired.is_none();
        let needed = self.contents.intents.iter().filter(is_needed).filter_map(|it| it.blob);
        self.sidecars.retain(&needed.map(|blob| blob.sidecar).collect());
    }

    pub(crate) fn intents(&self) -> &[Intent] {
        &self.contents.intents
    }

    /// The newest intent of a purpose.
    pub(crate) fn newest(&self, purpose: &str) -> Option<&Intent> {
        self.contents.intents.iter().rev().find(|intent| intent.purpose == purpose)
    }

    /// Adds an intent, or replaces the one with its number, on disk first. Number 0 stands for the
    /// next one. Returns the intent as it is kept.
    pub(crate) fn put(&mut self, intent: Intent) -> Result<Intent, L1Error> {
        let kept = self.put_all(vec![intent])?.pop();
        kept.ok_or_else(|| self.failure("lost an intent".to_owned()))
    }

    /// Like [`Self::put`] for several, in one write.
    pub(crate) fn put_all(&mut self, mut changed: Vec<Intent>) -> Result<Vec<Intent>, L1Error> {
        let mut intents = self.contents.intents.clone();
        for intent in &mut changed {
            if intent.state.is_settled() || intent.retired.is_some() {
                intent.input = Bytes::new();
            }
            if intent.seq == 0 {
                intent.seq = intents.iter().map(|known| known.seq).max().unwrap_or(0) + 1;
            }
            match intents.iter_mut().find(|known| known.seq == intent.seq) {
                Some(known) => *known = intent.clone(),
                None => intents.push(intent.clone()),
            }
        }
        forget(&mut intents, SETTLED_MAX, |intent| intent.state.is_settled());
        forget(&mut intents, UNSENT_MAX, Intent::is_unsent);
        let before = std::mem::replace(&mut self.contents.intents, intents);
        if let Err(error) = self.save() {
            self.contents.intents = before;
            return Err(error);
        }
        self.published.publish(&self.contents.intents);
        self.forget_sidecars();
        Ok(changed)
    }

    /// Writes a new file, syncs it to disk and renames it into place: a crash leaves the old file or
    /// the new one.
    fn save(&self) -> Result<(), L1Error> {
        let failed = |reason| self.failure(reason);
        let sealed =
            |digest| serde_json::to_vec_pretty(&Sealed { digest, contents: &self.contents });
        let bytes = self.contents.digest().and_then(sealed);
        let bytes = bytes.map_err(|error| failed(error.to_string()))?;
        rollmill_files::write(&self.path, &[&bytes]).map_err(|error| {
            failed(format!("cannot be written: {}", rollmill_errors::InWords(&error)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_rejected_and_nothing_is_made_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("intents");
        fs::create_dir(&path).unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("it is a directory") && error.contains("--intents"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    fn open(path: &Path) -> Result<IntentFile, L1Error> {
        IntentFile::open(path, 31337, B256::ZERO, Address::ZERO)
    }

    fn intent() -> Intent {
        let to = Address::with_last_byte(9);
        let request = TxRequest {
            expires: Some(Expiry::Timestamp(1_800_000_000)),
            fence: Some(4),
            ..TxRequest::call("propose/17", to, Bytes::from_static(&[1, 2, 3]))
        };
        Intent::new(request, 5, 90_000)
    }

    /// Goal: this version continues what a process of the first version left in flight.
    #[test]
    fn a_file_of_version_1_is_migrated_and_an_unknown_version_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("intents.json");
        let form = serde_json::json!({
            "tx_hash": B256::repeat_byte(3),
            "fees": { "max_fee_wei": 30, "max_priority_fee_wei": 2 },
            "sent_at_block": 8,
        });
        let contents = serde_json::json!({
            "version": 1, "chain_id": 31337, "genesis_hash": B256::ZERO, "account": Address::ZERO,
            "intents": [{
                "id": "propose-17", "nonce": 5, "to": Address::with_last_byte(9), "value": "0x3",
                "input": "0x010203", "gas_limit": 90_000, "digest": B256::repeat_byte(7),
                "attempts": [form], "state": "pending",
            }],
        });
        // Fields in the order in which version 1 wrote them.
        let typed: crate::intent_v1::Contents = serde_json::from_value(contents.clone()).unwrap();
        let digest = keccak256(serde_json::to_vec(&typed).unwrap());
        let write = |contents: &serde_json::Value| {
            let sealed = serde_json::json!({ "digest": digest, "contents": contents });
            fs::write(&path, sealed.to_string()).unwrap();
        };
        write(&contents);
        let mut file = open(&path).unwrap();
        let [migrated] = file.intents() else { panic!("{:?}", file.intents()) };
        assert_eq!((migrated.purpose.as_str(), migrated.attempt), ("propose-17", 0));
        assert_eq!((migrated.nonce, &migrated.input[..]), (5, &[1, 2, 3][..]));
        assert!(migrated.is_active() && migrated.forms[0].in_pool);
        assert_eq!(migrated.forms[0].tx_hash, B256::repeat_byte(3));
        let added = file.put(intent()).unwrap();
        assert_eq!(added.seq, 2);
        drop(file);
        assert_eq!(open(&path).unwrap().intents().len(), 2);

        let mut changed = contents.clone();
        changed["intents"][0]["nonce"] = 6.into();
        write(&changed);
        assert!(open(&path).unwrap_err().to_string().contains("is damaged"));
        let mut later = contents;
        later["version"] = 5.into();
        write(&later);
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("version 5") && !error.contains("is damaged"), "{error}");
    }

    /// Goal: the file does not grow without limit, and the oldest intents are removed first.
    #[test]
    fn settled_intents_are_forgotten_without_their_input() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = open(&folder.path().join("intents.json")).unwrap();
        let settled = |nonce| Intent { nonce, state: State::LostFinal, ..intent() };
        let all = (0..=SETTLED_MAX as u64).map(|nonce| Intent { seq: nonce + 1, ..settled(nonce) });
        file.put_all(all.collect()).unwrap();
        let nonces: Vec<u64> = file.intents().iter().map(|known| known.nonce).collect();
        assert_eq!(nonces, (1..=SETTLED_MAX as u64).collect::<Vec<_>>());
        assert!(file.intents().iter().all(|known| known.input.is_empty()));
    }

    /// Goal: an intent that could not be written is not in memory either.
    #[test]
    fn an_intent_that_cannot_be_written_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = open(&folder.path().join("intents.json")).unwrap();
        let before = file.put(intent()).unwrap();
        // No file can take the place of a directory.
        fs::remove_file(folder.path().join("intents.json")).unwrap();
        fs::create_dir(folder.path().join("intents.json")).unwrap();
        file.put(Intent { nonce: 6, ..intent() }).unwrap_err();
        assert_eq!(file.intents(), std::slice::from_ref(&before));
        assert_eq!(*file.published.intents(), [before]);
    }

    /// Goal: a damaged file is rejected or means the same; no other nonce is ever read from it.
    #[test]
    fn every_changed_or_missing_byte_is_rejected_or_means_the_same() {
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
        // White space and the case of a hexadecimal digit do not matter.
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
