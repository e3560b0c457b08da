//! The notes of an account, found by following the chain's public effects.
//!
//! The wallet reads the effects of every block, so that a node does not learn which notes it looks for.
//! A log whose tag is one that a known sender uses next belongs to the wallet; it tries to decrypt any
//! other with the viewing key. A note counts only if it opens the leaf that the transaction published.

mod deposits;
mod keyed;
mod order;
mod scan;
mod sent;
mod spend;
mod tree;

use std::collections::BTreeMap;

use rollmill_circuits::client::ClientWitness;
use rollmill_errors::Bare;
use rollmill_node_client::wire::{BlockRef, Versions};
use rollmill_node_client::{ClientError, NodeClient};
use rollmill_protocol::field::{serde_fr, to_hex};
use rollmill_protocol::note::fee_balance_slot;
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::{Fr, Tx};
use serde::{Deserialize, Serialize};

use crate::error::PxeError;
use crate::keys::{Address, Keys};
use keyed::KeyRecords;
use sent::Sent;
use tree::NoteTree;

pub use deposits::Hindrance;
pub(crate) use keyed::Fate;
pub use keyed::{Earlier, IdempotencyKey, KEY_LENGTH_MAX, KEY_LENGTH_MIN, KEY_SECONDS};
pub use order::{EXPIRY_EPOCHS, Fee, FeePayer, Order, Purpose, Quote};
pub(crate) use order::{Terms, gas_after};
pub use sent::SentTransaction;
pub(crate) use sent::{Word, after_rejection, ask};

/// Tags of a sender that are searched beyond the last one seen.
const TAG_WINDOW: u64 = 16;
/// Blocks per request.
const BLOCKS: u64 = 16;
/// Recent blocks whose hashes are kept to notice a reorg.
const RECENT: usize = 64;
/// Version of the form of [`State`]. Form 2 added the note tree, form 1 the idempotency keys; form 0 had no number.
const STATE_FORM: u64 = 2;

/// A note of this account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedNote {
    pub value: u64,
    #[serde(with = "serde_fr")]
    pub randomness: Fr,
    #[serde(with = "serde_fr")]
    pub first_nullifier: Fr,
    pub index_in_tx: u64,
    pub leaf_index: u64,
    #[serde(with = "serde_fr")]
    pub nullifier: Fr,
    /// Block that spent it.
    pub spent_in: Option<u64>,
    /// Block that created it; 0 at genesis.
    pub block: u64,
    /// A transaction of this wallet that spends it was sent and may still be included.
    pub pending: bool,
    /// A transaction of this wallet that spends it was sent and dropped. The wallet spends it before
    /// other notes.
    pub given_back: bool,
}

/// The balances of an account, by how certain they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balances {
    /// In blocks that are proven on L1.
    pub proven: u64,
    /// In later blocks whose client proofs the node has verified; L1 may still prune them.
    pub pending: u64,
    /// In unverified blocks: such a note may not exist.
    pub unverified: u64,
}

/// The outcome of sending. In each case the transaction was sent, or may have been: do not create it
/// again.
#[derive(Debug)]
pub enum Delivery {
    /// The node has accepted it.
    Accepted(Tx),
    /// The response was missing or unclear.
    Unknown(Tx, PxeError),
    /// An earlier order with the same idempotency key made the transaction. Nothing was made now.
    Earlier(Earlier),
}

/// A sender or recipient whose tags are known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Contact {
    /// Next counter of logs to them.
    sent: u64,
    /// Highest counter seen of logs from them, plus one.
    seen: u64,
}

/// State that is stored between runs; all but sent transactions can be read again from the chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of the protocol whose chain it describes.
    version: u64,
    /// [`STATE_FORM`] when it was written. A release that does not know a form does not read it, and loses nothing.
    #[serde(default)]
    form: u64,
    /// Hash of the genesis header: which network this is. Empty before the first sync.
    network: String,
    /// Number of the next block to read.
    next_block: u64,
    /// Slot of the last block read.
    slot: u64,
    /// (number, header hash) of the last blocks read.
    recent: Vec<(u64, String)>,
    notes: Vec<OwnedNote>,
    /// By the hex of a compressed viewing key.
    contacts: BTreeMap<String, Contact>,
    /// The blocks that claimed deposits of this account, by the deposit's index.
    claimed: BTreeMap<u64, u64>,
    /// Transactions whose blocks are not proven, in the order in which they were sent.
    sent: Vec<Sent>,
    /// The note tree after the last block read. None before the first sync, and in a state of form 1.
    #[serde(default)]
    tree: Option<NoteTree>,
    /// Idempotency keys, each with the transaction of its order.
    #[serde(default)]
    keyed: KeyRecords,
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: PROTOCOL_VERSION,
            form: STATE_FORM,
            network: String::new(),
            next_block: 0,
            slot: 0,
            recent: Vec::new(),
            notes: Vec::new(),
            contacts: BTreeMap::new(),
            claimed: BTreeMap::new(),
            sent: Vec::new(),
            tree: None,
            keyed: KeyRecords::default(),
        }
    }
}

impl State {
    /// Reads what [`Self::to_bytes`] writes, now or in an earlier release: a state of form 0 has no keys, and one of form 1 no
    /// tree, which the next sync makes.
    ///
    /// # Errors
    /// [`PxeError::State`] also for the state of another version of the protocol, whose chain is another, and for
    /// one of a form that this release does not know.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PxeError> {
        let state: Option<Self> = serde_json::from_slice(bytes).ok();
        let state = state
            .filter(|state| state.version == PROTOCOL_VERSION && state.form <= STATE_FORM)
            .ok_or_else(|| PxeError::state("it is of another version"))?;
        Ok(Self { form: STATE_FORM, ..state })
    }

    /// The bytes to store, which are to be sealed.
    ///
    /// # Errors
    /// [`PxeError::State`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, PxeError> {
        serde_json::to_vec(self).map_err(|_| PxeError::state("it cannot be written"))
    }
}

/// An account with its notes.
#[derive(Debug)]
pub struct Wallet {
    keys: Keys,
    owner: Fr,
    state: State,
    /// Numbers of the node's proven and verified tips at the last sync.
    proven: u64,
    verified: u64,
    spend_pending: bool,
    /// Seconds since 1970.
    clock: fn() -> u64,
}

/// The system's time, in seconds since 1970. A clock that is wrong only makes transactions expire sooner or
/// later.
pub fn seconds() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Generates client proofs; see [`crate::prover`].
pub trait ClientProver: Send + Sync {
    /// Proves a transaction with blinding drawn from `seed`.
    fn prove(&self, witness: &ClientWitness, seed: [u8; 32]) -> Result<Vec<u8>, PxeError>;
}

impl Wallet {
    /// A wallet with empty state.
    pub fn new(keys: Keys) -> Self {
        Self::with_state(keys, State::default())
    }

    /// A wallet that continues from stored state.
    pub fn with_state(keys: Keys, state: State) -> Self {
        let owner = keys.address().to_field();
        let clock = seconds;
        Self { keys, owner, state, proven: 0, verified: 0, spend_pending: true, clock }
    }

    /// The state, for storing it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Sets the clock, in seconds since 1970, that expiries start from when no block is newer.
    pub fn set_clock(&mut self, clock: fn() -> u64) {
        self.clock = clock;
    }

    /// Sets whether transactions may spend notes of blocks that are not proven (default: yes). A user
    /// should spend only proven notes.
    pub fn set_spend_pending(&mut self, allowed: bool) {
        self.spend_pending = allowed;
    }

    /// The spendable notes, by how certain they are as of the last sync.
    pub fn balances(&self) -> Balances {
        let mut balances = Balances::default();
        for note in self.spendable() {
            let sum = match note.block {
                block if block <= self.proven => &mut balances.proven,
                block if block <= self.verified => &mut balances.pending,
                _ => &mut balances.unverified,
            };
            *sum = sum.saturating_add(note.value);
        }
        balances
    }

    /// How certain a note is: `proven`, `pending` or `unverified`.
    pub fn finality(&self, note: &OwnedNote) -> &'static str {
        match note.block {
            block if block <= self.proven => "proven",
            block if block <= self.verified => "pending",
            _ => "unverified",
        }
    }

    /// The account's keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The account's address.
    pub fn address(&self) -> Address {
        self.keys.address()
    }

    /// Number of the last block that was read; 0 before the first one.
    pub fn last_block(&self) -> u64 {
        self.state.next_block.saturating_sub(1)
    }

    /// Notes that are neither spent nor about to be.
    pub fn spendable(&self) -> impl Iterator<Item = &OwnedNote> {
        self.state.notes.iter().filter(|n| n.spent_in.is_none() && !n.pending)
    }

    /// All notes ever found.
    pub fn notes(&self) -> &[OwnedNote] {
        &self.state.notes
    }

    /// Sum of the spendable notes. It cannot overflow while the asset's supply is below 2^64.
    pub fn balance(&self) -> u64 {
        self.spendable().fold(0, |sum, n| sum.saturating_add(n.value))
    }

    /// Sum of the notes that sent transactions spend which may still be included.
    pub fn locked(&self) -> u64 {
        let locked = self.state.notes.iter().filter(|note| note.pending);
        locked.fold(0, |sum, note| sum.saturating_add(note.value))
    }

    /// The account's public balance at the node's pending tip. It pays fees, and deposits are claimed into
    /// it.
    ///
    /// # Errors
    /// [`PxeError::Node`].
    pub async fn fee_balance(&self, node: &NodeClient) -> Result<u64, PxeError> {
        let data = node.public_data(&fee_balance_slot(&self.owner)).await.map_err(node_error)?;
        let value = data.map(|d| d.value).unwrap_or_default();
        rollmill_protocol::field::to_u64("fee balance", &value)
            .map_err(|error| PxeError::Node(Bare(&error).to_string()))
    }

    /// Reads the chain up to the node's pending tip. Starts over when the last block that was read is
    /// not on the chain any more.
    ///
    /// # Errors
    /// [`PxeError::Network`] when the state is another network's, [`PxeError::Node`] when the node does
    /// not respond or its response is impossible, or when a reorganization comes between two requests;
    /// the state is then that after the last whole block, and the next sync continues or starts over.
    pub async fn sync(&mut self, node: &NodeClient) -> Result<(), PxeError> {
        let versions = node.versions().await.map_err(node_error)?;
        let network = to_hex(&versions.genesis_header_hash);
        if self.state.network.is_empty() {
            self.start(node, &versions).await?;
        } else if self.state.network != network {
            let expected = self.state.network.clone();
            return Err(PxeError::Network { expected, got: network });
        }
        if self.reorged(node).await? {
            tracing::warn!("resyncing the chain from the start");
            self.forget_chain();
            self.start(node, &versions).await?;
        }
        self.catch_up_with_tree(node).await?;
        loop {
            let blocks =
                node.block_effects(self.state.next_block, BLOCKS).await.map_err(node_error)?;
            if blocks.is_empty() {
                return self.settle(node).await;
            }
            self.check_tip(node).await?;
            for block in &blocks {
                self.read_block(block)?;
            }
        }
    }

    /// Discards everything that was read from the chain. The counters of sent tags stay: they cannot be
    /// read from the chain, and a tag used twice would link two logs. Sent transactions stay too: they
    /// may be included again. So do the keys of orders, which a client may repeat.
    fn forget_chain(&mut self) {
        let contacts = std::mem::take(&mut self.state.contacts).into_iter();
        let sent = contacts.filter(|(_, contact)| contact.sent > 0);
        let contacts = sent.map(|(key, c)| (key, Contact { sent: c.sent, seen: 0 })).collect();
        self.unplace_sent();
        let sent = std::mem::take(&mut self.state.sent);
        let keyed = std::mem::take(&mut self.state.keyed);
        self.state = State { contacts, sent, keyed, ..State::default() };
    }

    async fn start(&mut self, node: &NodeClient, versions: &Versions) -> Result<(), PxeError> {
        self.state.network = to_hex(&versions.genesis_header_hash);
        self.state.next_block = 1;
        let genesis = node.genesis().await.map_err(node_error)?;
        self.read_genesis(&genesis);
        self.start_tree(&genesis)
    }

    async fn reorged(&self, node: &NodeClient) -> Result<bool, PxeError> {
        let Some((number, hash)) = self.state.recent.last() else { return Ok(false) };
        let header = node.header(BlockRef::Number(*number)).await.map_err(node_error)?;
        Ok(header.is_none_or(|h| to_hex(&h.header_hash) != *hash))
    }

    /// Checks that the last block that was read is on the chain that the node's answer before came from. Call it after
    /// each answer and before it is used: without this, blocks of two chains would be mixed when a reorganization comes
    /// between two requests, since only the last one is compared when the next sync begins.
    ///
    /// # Errors
    /// [`PxeError::Node`] for another block, upon which the next sync starts over.
    async fn check_tip(&self, node: &NodeClient) -> Result<(), PxeError> {
        if !self.reorged(node).await? {
            return Ok(());
        }
        let number = self.last_block();
        Err(PxeError::Node(format!("block {number} is another one than before")))
    }
}

pub(crate) fn node_error(error: ClientError) -> PxeError {
    match error {
        ClientError::Transport { .. } | ClientError::NotANode { .. } => PxeError::Client(error),
        other => PxeError::Node(other.to_string()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
