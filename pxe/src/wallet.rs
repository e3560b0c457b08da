//! The notes of an account, found by following the chain's public effects.
//!
//! The wallet reads the effects of every block, so that a node does not learn which notes it looks for.
//! A log whose tag is one that a known sender uses next belongs to the wallet; it tries to decrypt any
//! other with the viewing key. A note counts only if it opens the leaf that the transaction published.

mod sent;

use std::collections::{BTreeMap, BTreeSet};

use rand::{CryptoRng, RngCore};
use rollmill_circuits::client::{ClientWitness, InputNote};
use rollmill_errors::Bare;
use rollmill_node_client::wire::{BlockEffects, BlockRef, TxEffectsInfo, Versions};
use rollmill_node_client::{ClientError, NodeClient};
use rollmill_protocol::field::{serde_fr, to_hex};
use rollmill_protocol::gas::{DA_GAS_PER_TX, GasSettings, L2_GAS_PER_TX};
use rollmill_protocol::note::{NoteOrigin, fee_balance_slot, nullifier};
use rollmill_protocol::tx::{SLOTS, log_hash};
use rollmill_protocol::{Fr, Genesis, Note, Tx, TxEffects};
use serde::{Deserialize, Serialize};

use crate::error::PxeError;
use crate::keys::{Address, Keys, point_from_bytes, point_to_bytes};
use crate::logs::{self, LogNote};
use sent::Sent;

/// Tags of a sender that are searched beyond the last one seen.
const TAG_WINDOW: u64 = 16;
/// Blocks per request.
const BLOCKS: u64 = 16;
/// Recent blocks whose hashes are kept to notice a reorg.
const RECENT: usize = 64;
/// A transaction allows prices up to this multiple of the current ones.
const PRICE_MARGIN: u64 = 4;

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
    #[serde(default = "unknown_block")]
    pub block: u64,
    /// A transaction of this wallet that spends it was sent and may still be included.
    pub pending: bool,
    /// A transaction of this wallet that spends it was sent and dropped. The wallet spends it before
    /// other notes.
    #[serde(default)]
    pub given_back: bool,
}

/// Absent in the state of a release that did not record the blocks of notes; such a state is read from
/// the chain again.
fn unknown_block() -> u64 {
    u64::MAX
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

/// What a transfer may cost, at the pending tip's prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fee {
    /// At the current prices.
    pub now: u64,
    /// The maximum that the transaction allows if prices rise.
    pub max: u64,
}

/// The outcome of sending. In both cases the transaction was sent, or may have been: do not create it
/// again.
#[derive(Debug)]
pub enum Delivery {
    /// The node has accepted it.
    Accepted(Tx),
    /// The response was missing or unclear.
    Unknown(Tx, PxeError),
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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Hash of the genesis header: which network this is. Empty before the first sync.
    network: String,
    /// Number of the next block to read.
    next_block: u64,
    /// (number, header hash) of the last blocks read.
    recent: Vec<(u64, String)>,
    notes: Vec<OwnedNote>,
    /// By the hex of a compressed viewing key.
    contacts: BTreeMap<String, Contact>,
    /// Transactions whose blocks are not proven, in the order in which they were sent.
    #[serde(default)]
    sent: Vec<Sent>,
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
}

/// Generates client proofs; see [`crate::prover`].
pub trait ClientProver: Send + Sync {
    /// Proves a transfer with blinding drawn from `seed`.
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
        Self { keys, owner, state, proven: 0, verified: 0, spend_pending: true }
    }

    /// The state, for storing it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Sets whether transfers may spend notes of blocks that are not proven (default: yes). A user
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

    /// What the next transfer may cost.
    ///
    /// # Errors
    /// [`PxeError::Node`].
    pub async fn fee(&self, node: &NodeClient) -> Result<Fee, PxeError> {
        let info = node.header(BlockRef::Pending).await.map_err(node_error)?;
        let info = info.ok_or_else(|| PxeError::Node("it has no pending tip".to_owned()))?;
        let header = info.decode().map_err(|error| PxeError::Node(Bare(&error).to_string()))?;
        let at = |margin: u64| {
            let l2 = header.fee_per_l2_gas.saturating_mul(margin).saturating_mul(L2_GAS_PER_TX);
            let da = header.fee_per_da_gas.saturating_mul(margin).saturating_mul(DA_GAS_PER_TX);
            l2.saturating_add(da)
        };
        Ok(Fee { now: at(1), max: at(PRICE_MARGIN) })
    }

    /// The account's keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The account's address.
    pub fn address(&self) -> Address {
        self.keys.address()
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

    /// What the account can pay fees with.
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
    /// not respond or its response is impossible; the state is then that after the last whole block.
    pub async fn sync(&mut self, node: &NodeClient) -> Result<(), PxeError> {
        let versions = node.versions().await.map_err(node_error)?;
        let network = to_hex(&versions.genesis_header_hash);
        if self.state.network.is_empty() {
            self.start(node, &versions).await?;
        } else if self.state.network != network {
            let expected = self.state.network.clone();
            return Err(PxeError::Network { expected, got: network });
        }
        // The state of an older version does not record which block created a note.
        let old = self.state.notes.iter().any(|note| note.block == unknown_block());
        if old || self.reorged(node).await? {
            tracing::warn!(is_old = old, "resyncing the chain from the start");
            self.forget_chain();
            self.start(node, &versions).await?;
        }
        loop {
            let blocks =
                node.block_effects(self.state.next_block, BLOCKS).await.map_err(node_error)?;
            if blocks.is_empty() {
                return self.settle(node).await;
            }
            for block in &blocks {
                self.read_block(block)?;
            }
        }
    }

    /// Discards everything that was read from the chain. The counters of sent tags stay: they cannot be
    /// read from the chain, and a tag used twice would link two logs. Sent transactions stay too: they
    /// may be included again.
    fn forget_chain(&mut self) {
        let contacts = std::mem::take(&mut self.state.contacts).into_iter();
        let sent = contacts.filter(|(_, contact)| contact.sent > 0);
        let contacts = sent.map(|(key, c)| (key, Contact { sent: c.sent, seen: 0 })).collect();
        self.unplace_sent();
        let sent = std::mem::take(&mut self.state.sent);
        self.state = State { contacts, sent, ..State::default() };
    }

    async fn start(&mut self, node: &NodeClient, versions: &Versions) -> Result<(), PxeError> {
        self.state.network = to_hex(&versions.genesis_header_hash);
        self.state.next_block = 1;
        let genesis = node.genesis().await.map_err(node_error)?;
        self.read_genesis(&genesis);
        Ok(())
    }

    /// Adds the genesis notes of this account.
    pub fn read_genesis(&mut self, genesis: &Genesis) {
        for (i, item) in genesis.notes.iter().enumerate() {
            if item.owner == self.owner {
                let note = item.note();
                self.add_note((note.value, note.randomness), genesis.origin(i), i as u64, 0);
            }
        }
    }

    async fn reorged(&self, node: &NodeClient) -> Result<bool, PxeError> {
        let Some((number, hash)) = self.state.recent.last() else { return Ok(false) };
        let header = node.header(BlockRef::Number(*number)).await.map_err(node_error)?;
        Ok(header.is_none_or(|h| to_hex(&h.header_hash) != *hash))
    }

    /// Applies one block, completely or not at all. Blocks come in order.
    ///
    /// # Errors
    /// [`PxeError::Node`] for another block than the next, and for effects that cannot be read.
    pub fn read_block(&mut self, block: &BlockEffects) -> Result<(), PxeError> {
        if block.block_number != self.state.next_block {
            let (expected, got) = (self.state.next_block, block.block_number);
            return Err(PxeError::Node(format!("block {got} instead of block {expected}")));
        }
        let effects = block.txs.iter().map(TxEffectsInfo::decode).collect::<Result<Vec<_>, _>>();
        let effects = effects.map_err(|error| PxeError::Node(Bare(&error).to_string()))?;
        for (tx, effects) in block.txs.iter().zip(&effects) {
            self.read_tx(block.block_number, tx, effects);
        }
        self.state.next_block += 1;
        self.state.recent.push((block.block_number, to_hex(&block.header_hash)));
        if self.state.recent.len() > RECENT {
            self.state.recent.remove(0);
        }
        Ok(())
    }

    fn read_tx(&mut self, block: u64, tx: &TxEffectsInfo, effects: &TxEffects) {
        let spent: BTreeSet<Fr> = effects.present_nullifiers().copied().collect();
        for note in &mut self.state.notes {
            if note.spent_in.is_none() && spent.contains(&note.nullifier) {
                note.spent_in = Some(block);
                note.pending = false;
            }
        }
        self.note_published(block, tx.tx_hash, &spent);
        let expected = self.expected_tags();
        for (i, log) in tx.logs.iter().enumerate().take(SLOTS) {
            let tagged = expected.get(&effects.tags[i]);
            let Some(found) = logs::decrypt(&self.keys, &log.0) else { continue };
            let note = Note { owner: self.owner, value: found.value, randomness: found.randomness };
            let origin = NoteOrigin { first_nullifier: effects.nullifiers[0], index: i as u64 };
            if note.unique(&origin) != effects.note_hashes[i] {
                tracing::warn!(block, "log names a note that its transaction does not create");
                continue;
            }
            let leaf = tx.note_start_index + i as u64;
            self.add_note((note.value, note.randomness), origin, leaf, block);
            let contact = hex::encode(point_to_bytes(&found.sender));
            let entry = self.state.contacts.entry(contact).or_default();
            if let Some((_, counter)) = tagged {
                entry.seen = entry.seen.max(counter + 1);
            }
        }
    }

    /// Tags that known senders use next, with the sender and the counter.
    fn expected_tags(&self) -> BTreeMap<Fr, (String, u64)> {
        let mut out = BTreeMap::new();
        for (key, contact) in &self.state.contacts {
            let Some(vpk) = hex::decode(key).ok().and_then(|b| point_from_bytes(&b)) else {
                continue;
            };
            let secret = logs::pair_secret(&self.keys.vsk, &vpk, &self.owner);
            for counter in contact.seen..contact.seen + TAG_WINDOW {
                out.insert(logs::tag(&secret, counter), (key.clone(), counter));
            }
        }
        out
    }

    fn add_note(
        &mut self,
        (value, randomness): (u64, Fr),
        origin: NoteOrigin,
        leaf_index: u64,
        block: u64,
    ) {
        let note = Note { owner: self.owner, value, randomness };
        let unique = note.unique(&origin);
        let nullifier = nullifier(&unique, &self.keys.nsk);
        if self.state.notes.iter().any(|n| n.nullifier == nullifier) {
            return;
        }
        self.state.notes.push(OwnedNote {
            value,
            randomness,
            first_nullifier: origin.first_nullifier,
            index_in_tx: origin.index,
            leaf_index,
            nullifier,
            spent_in: None,
            block,
            pending: false,
            given_back: false,
        });
    }

    /// Builds, proves and sends a transfer of `amount` to `to`. Returns the transaction.
    ///
    /// # Errors
    /// As [`Self::prepare`], and [`PxeError::Node`] when the node rejects the transaction; then its
    /// notes stay spendable. If the node does not respond, the notes stay locked until [`Self::sync`]
    /// gets a response.
    pub async fn transfer(
        &mut self,
        node: &NodeClient,
        prover: &dyn ClientProver,
        to: &Address,
        amount: u64,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Tx, PxeError> {
        match self.deliver(node, prover, (to, amount), rng, &mut |_| Ok(())).await? {
            Delivery::Accepted(tx) => {
                self.report(&tx.hash());
                Ok(tx)
            }
            Delivery::Unknown(tx, error) => {
                self.report(&tx.hash());
                Err(error)
            }
        }
    }

    /// As [`Self::transfer`], but passes the state to `keep` before anything is sent, so that a crash
    /// at any step leaves a record of what may have been sent. The caller informs the user, calls
    /// [`Self::report`] and stores the state again.
    ///
    /// # Errors
    /// Only when nothing was sent, or the node rejected it finally: then the transfer may be repeated.
    /// Every later outcome is a [`Delivery`].
    pub async fn deliver(
        &mut self,
        node: &NodeClient,
        prover: &dyn ClientProver,
        (to, amount): (&Address, u64),
        rng: &mut (impl RngCore + CryptoRng),
        keep: &mut (dyn FnMut(&Self) -> Result<(), PxeError> + Send),
    ) -> Result<Delivery, PxeError> {
        rollmill_service::failpoint!("pxe.before_proof");
        let tx = self.prepare(node, prover, to, amount, rng).await?;
        self.hold(&tx);
        rollmill_service::failpoint!("pxe.before_intent");
        if let Err(error) = keep(self) {
            self.give_back(&tx.hash(), "it was not sent");
            return Err(error);
        }
        rollmill_service::failpoint!("pxe.after_intent");
        let sent = node.send_transaction(&tx).await;
        rollmill_service::failpoint!("pxe.after_send");
        match sent {
            Ok(_) => Ok(Delivery::Accepted(tx)),
            Err(error) if error.rejects_transaction() => {
                self.give_back(&tx.hash(), &error.to_string());
                Err(node_error(error))
            }
            Err(error) => Ok(Delivery::Unknown(tx, node_error(error))),
        }
    }

    /// Builds and proves a transfer without sending it.
    pub async fn prepare(
        &mut self,
        node: &NodeClient,
        prover: &dyn ClientProver,
        to: &Address,
        amount: u64,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Tx, PxeError> {
        use ark_ff::UniformRand;
        let chosen = self.choose(amount)?;
        let info = node
            .header(BlockRef::Pending)
            .await
            .map_err(node_error)?
            .ok_or_else(|| PxeError::Node("it has no pending tip".to_owned()))?;
        let anchor = info.decode().map_err(|error| PxeError::Node(Bare(&error).to_string()))?;
        let mut inputs = Vec::with_capacity(2);
        for note in &chosen {
            let path =
                node.note_path(note.leaf_index, &info.header_hash).await.map_err(node_error)?;
            inputs.push(InputNote {
                value: note.value,
                randomness: note.randomness,
                origin: NoteOrigin {
                    first_nullifier: note.first_nullifier,
                    index: note.index_in_tx,
                },
                leaf_index: Some(note.leaf_index),
                path: path.path,
            });
        }
        while inputs.len() < 2 {
            inputs.push(InputNote::dummy(Fr::rand(rng)));
        }
        let total: u64 = chosen.iter().map(|n| n.value).sum();
        let own = self.address();
        let outputs = [
            Note { owner: to.to_field(), value: amount, randomness: Fr::rand(rng) },
            Note { owner: self.owner, value: total - amount, randomness: Fr::rand(rng) },
        ];
        let zero = Fr::from(0u64);
        let (mut tags, mut log_hashes, mut logs) = ([zero; SLOTS], [zero; SLOTS], Vec::new());
        for (i, (recipient, note)) in [*to, own].iter().zip(&outputs).enumerate() {
            let plain = LogNote { value: note.value, randomness: note.randomness, sender: own.vpk };
            let log = logs::encrypt(recipient, &plain, rng);
            let key = hex::encode(point_to_bytes(&recipient.vpk));
            let contact = self.state.contacts.entry(key).or_default();
            let secret = logs::pair_secret(&self.keys.vsk, &recipient.vpk, &recipient.to_field());
            tags[i] = logs::tag(&secret, contact.sent);
            contact.sent += 1;
            log_hashes[i] = log_hash(&log);
            logs.push(log);
        }
        let gas = GasSettings {
            max_fee_per_l2_gas: anchor.fee_per_l2_gas.saturating_mul(PRICE_MARGIN),
            max_fee_per_da_gas: anchor.fee_per_da_gas.saturating_mul(PRICE_MARGIN),
            l2_gas_limit: L2_GAS_PER_TX,
            da_gas_limit: DA_GAS_PER_TX,
            l2_teardown_gas_limit: 0,
            da_teardown_gas_limit: 0,
        };
        let inputs: [InputNote; 2] = inputs
            .try_into()
            .map_err(|_| PxeError::Prove("a transfer spends two notes".to_owned()))?;
        let witness = ClientWitness {
            nsk: self.keys.nsk,
            viewing: own.viewing(),
            anchor,
            inputs,
            outputs,
            tags,
            log_hashes,
            gas,
        };
        let mut seed = [0u8; 32];
        rng.fill_bytes(&mut seed);
        let client_proof = prover.prove(&witness, seed)?;
        Ok(Tx {
            chain_id: witness.anchor.chain_id,
            version: witness.anchor.version,
            anchor_header_hash: info.header_hash,
            effects: witness.effects(),
            logs,
            client_proof,
        })
    }

    /// The change of a transfer of `amount`.
    ///
    /// # Errors
    /// [`PxeError::Funds`].
    pub fn change(&self, amount: u64) -> Result<u64, PxeError> {
        let chosen = self.choose(amount)?;
        Ok(chosen.iter().fold(0u64, |sum, n| sum.saturating_add(n.value)).saturating_sub(amount))
    }

    /// One or two notes worth at least `amount`: the smallest single one, else the two largest. Notes
    /// of a dropped transaction come first, if they are enough.
    fn choose(&self, amount: u64) -> Result<Vec<OwnedNote>, PxeError> {
        let may = |note: &&OwnedNote| self.spend_pending || note.block <= self.proven;
        let mut notes: Vec<&OwnedNote> = self.spendable().filter(may).collect();
        notes.sort_by_key(|n| n.value);
        let back: Vec<&OwnedNote> = notes.iter().copied().filter(|n| n.given_back).collect();
        let enough = |notes: Vec<&OwnedNote>| -> Option<Vec<OwnedNote>> {
            if let Some(note) = notes.iter().find(|n| n.value >= amount) {
                return Some(vec![(*note).clone()]);
            }
            let two: Vec<OwnedNote> = notes.iter().rev().take(2).map(|n| (*n).clone()).collect();
            let total = two.iter().try_fold(0u64, |sum, n| sum.checked_add(n.value));
            total.is_some_and(|total| total >= amount).then_some(two)
        };
        let of_back = if back.is_empty() { None } else { enough(back) };
        if let Some(chosen) = of_back.or_else(|| enough(notes.clone())) {
            return Ok(chosen);
        }
        let two = notes.iter().rev().take(2);
        let spendable = two.fold(0u64, |sum, n| sum.saturating_add(n.value));
        let balance = notes.iter().fold(0u64, |sum, n| sum.saturating_add(n.value));
        Err(PxeError::Funds { wanted: amount, spendable, balance })
    }
}

fn node_error(error: ClientError) -> PxeError {
    match error {
        ClientError::Transport { .. } | ClientError::NotANode { .. } => PxeError::Client(error),
        other => PxeError::Node(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
