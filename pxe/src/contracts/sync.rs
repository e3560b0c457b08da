//! Follows the chain for the notes of contracts.
//!
//! The wallet of an account reads the same blocks for the built-in asset, and keeps its state in its own form. This one
//! writes facts of blocks into the store, for all accounts at once, so that a reorganization undoes exactly what it
//! must. It asks a node for whole blocks only, never for single notes: it makes the paths of its notes out of the
//! leaves of all blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollmill_errors::Bare;
use rollmill_node_client::wire::{BlockEffects, BlockRef, Tips};
use rollmill_node_client::{NodeClient, REQUEST_TIMEOUT};
use rollmill_protocol::field::to_hex;
use rollmill_protocol::tree::{Appended, ArchiveFrontier, Frontier, root_from_path};
use rollmill_protocol::{BlockData, Config, Fr, Header as BlockHeader, TxEffects};
use rollmill_pxe_store::{Account, BlockStep, Header, Scope, Store, StoreError, View};

use super::discover::{self, FoundNote, Known};
use super::error::ContractError;
use super::owners::Owners;
use super::request::Environment;
use super::sent::Expected;
use crate::error::PxeError;
use crate::leaves;
use crate::wallet::{gas_after, node_error};

/// Blocks per request.
const BLOCKS: u64 = 16;
/// The first block that may have notes of contracts.
const FIRST: u64 = 1;
/// Longest time for which new blocks are read at once: that of eight requests which a node answers at the last moment.
/// It is below the 300 s that a client of the service waits, so that the client is told. What was read is kept, and the
/// next call reads on.
pub const READ_TIMEOUT: Duration = Duration::from_secs(8 * REQUEST_TIMEOUT.as_secs());
/// Time beside it for each block that is read once more: its part of the time of a request. Reading again starts anew
/// each time, so a fixed time would end each attempt on a long chain.
const AGAIN: Duration = Duration::from_secs(REQUEST_TIMEOUT.as_secs().div_ceil(BLOCKS));

/// Does what asks a node for at most this time, whatever the node does.
///
/// # Errors
/// [`PxeError::Slow`], and those of the work.
pub(super) async fn within<T>(
    time: Duration,
    work: impl Future<Output = Result<T, PxeError>>,
) -> Result<T, PxeError> {
    let late = |_| PxeError::Slow { seconds: time.as_secs() };
    tokio::time::timeout(time, work).await.map_err(late)?
}

/// [`READ_TIMEOUT`], and time for blocks that are read once more.
fn time_for(again: u64) -> Duration {
    let again = u32::try_from(again).unwrap_or(u32::MAX);
    READ_TIMEOUT.saturating_add(AGAIN.saturating_mul(again))
}

/// How long [`follow`] may take now.
///
/// # Errors
/// Those of the store.
pub(super) fn time(store: &Store) -> Result<Duration, PxeError> {
    Ok(time_for(Missing::read(store, &own_scope(store)?)?.blocks()))
}

/// Reads the chain up to the pending tip for all accounts of the store. An account that was added since is caught up
/// with. After an error the store is as after the last whole block. It takes at most [`READ_TIMEOUT`], and 2 s more for
/// each block that is read once more.
///
/// # Errors
/// [`PxeError::Network`] for a node of another network than that of the blocks that were read, [`PxeError::Node`] when
/// the node's answers are impossible, [`PxeError::NoteRoot`] when it leaves out notes of a block, [`PxeError::Chain`]
/// for a block that does not follow those that were read, [`PxeError::Slow`] when the time is over, those of the
/// connection and of the store.
pub async fn follow(store: &Store, node: &NodeClient) -> Result<(), PxeError> {
    within(time(store)?, follow_on(store, node)).await
}

/// As [`follow`], for as long as it takes.
pub(super) async fn follow_on(store: &Store, node: &NodeClient) -> Result<(), PxeError> {
    let scope = own_scope(store)?;
    let network = network(store, node).await?;
    rewind(store, &scope, node).await?;
    catch_up(store, &scope, node, network).await?;
    let edges = edges(store, &scope, node, network).await?;
    let mut reader = Reader::new(store, &scope, edges, network)?;
    loop {
        let next = match store.view(&scope)?.tip()? {
            Some(tip) => tip.saturating_add(1),
            None => FIRST,
        };
        let blocks = node.block_effects(next, BLOCKS).await.map_err(node_error)?;
        if blocks.is_empty() {
            break;
        }
        check_tip(store, node).await?;
        reader.expect()?;
        for (number, block) in (next..).zip(&blocks) {
            reader.read(number, block)?;
        }
    }
    finalize(store, &scope, node).await
}

/// The hash of the node's genesis header. Without this check a node of another network would undo all blocks, as if a
/// reorganization had removed them, and be sent what is in flight.
async fn network(store: &Store, node: &NodeClient) -> Result<Fr, PxeError> {
    let got = node.versions().await.map_err(node_error)?.genesis_header_hash;
    let known = store.view(&Scope::default())?.network()?;
    match known.filter(|expected| *expected != got) {
        Some(expected) => Err(PxeError::Network { expected: to_hex(&expected), got: to_hex(&got) }),
        None => Ok(got),
    }
}

/// The edges of the trees after a block, which the next block continues.
struct Edges {
    notes: Frontier,
    archive: ArchiveFrontier,
}

impl Edges {
    /// Those after a block that follows, with what it appends to the note tree.
    fn grown(&self, block: &BlockData) -> Result<(Vec<Appended>, Self), PxeError> {
        let (appended, notes) = leaves::of_block(&self.notes, block)?;
        let archive = leaves::archived(&self.archive, &block.header)?;
        Ok((appended, Self { notes, archive }))
    }

    /// Those after a block that was read, if the store has them.
    fn after(view: &View<'_>, block: u64) -> Result<Option<Self>, PxeError> {
        let (notes, archive) = (view.frontier(block)?, view.archive(block)?);
        Ok(notes.zip(archive).map(|(notes, archive)| Self { notes, archive }))
    }

    /// Those after the genesis of a network.
    async fn genesis(node: &NodeClient, network: Fr) -> Result<Self, PxeError> {
        let genesis = node.genesis().await.map_err(node_error)?;
        let (_, notes) = leaves::of_genesis(&genesis)?;
        Ok(Self { notes, archive: ArchiveFrontier::genesis(network) })
    }
}

/// The edges after the last block that was read.
async fn edges(
    store: &Store,
    scope: &Scope,
    node: &NodeClient,
    network: Fr,
) -> Result<Edges, PxeError> {
    let known = {
        let view = store.view(scope)?;
        match view.tip()?.filter(|tip| *tip >= FIRST) {
            Some(block) => Some(Edges::after(&view, block)?.ok_or(PxeError::NoTree { block })?),
            None => None,
        }
    };
    match known {
        Some(edges) => Ok(edges),
        None => Edges::genesis(node, network).await,
    }
}

/// Checks that the last block that was read is on the chain that the next ones came from. [`rewind`] stops at the first
/// block that is on the chain: without this, blocks that a reorganization removed between two requests would stay below
/// those that are read again. Headers of the next ones name those before them; this says earlier what happened.
///
/// # Errors
/// [`PxeError::Node`] for another block, which the next sync undoes.
pub(super) async fn check_tip(store: &Store, node: &NodeClient) -> Result<(), PxeError> {
    let last = store.view(&Scope::default())?.headers()?.pop();
    let Some(Header { number, hash, .. }) = last else { return Ok(()) };
    let found = node.header(BlockRef::Number(number)).await.map_err(node_error)?;
    if found.is_some_and(|found| found.header_hash == hash) {
        return Ok(());
    }
    Err(PxeError::Node(format!("block {number} is another one than before")))
}

/// Undoes blocks that are not on the chain any more.
async fn rewind(store: &Store, scope: &Scope, node: &NodeClient) -> Result<(), PxeError> {
    let mut headers = store.view(scope)?.headers()?;
    let mut undone = None;
    while let Some(header) = headers.pop() {
        let on_chain = node.header(BlockRef::Number(header.number)).await.map_err(node_error)?;
        if on_chain.is_some_and(|found| found.header_hash == header.hash) {
            break;
        }
        undone = Some(header.number);
    }
    if let Some(number) = undone {
        tracing::warn!(block = number, "reorganization: notes of contracts read again from here");
        store.rewind(number.saturating_sub(1))?;
    }
    Ok(())
}

/// Records the block that L1 has finalized, as far as it was read, and removes what no note needs any more then. What is
/// final is not undone, so a node that names another block, or one that it says elsewhere is not proven, is not believed.
async fn finalize(store: &Store, scope: &Scope, node: &NodeClient) -> Result<(), PxeError> {
    let Tips { pending, proven, finalized, .. } = node.tips().await.map_err(node_error)?;
    // By the tips of another chain, blocks would become final that were removed.
    check_tip(store, node).await?;
    let number = finalized.block_number;
    if number > proven.block_number || proven.block_number > pending.block_number {
        return Err(PxeError::Node(format!("block {number} is final and not proven")));
    }
    let (tip, first, before, headers) = {
        let view = store.view(scope)?;
        (view.tip()?, view.first_block()?, view.finalized()?, view.headers()?)
    };
    let (Some(tip), Some(first)) = (tip, first) else { return Ok(()) };
    let known = headers.iter().find(|header| header.number == number);
    if known.is_some_and(|known| known.hash != finalized.header_hash) {
        return Err(PxeError::Node(format!(
            "its final block {number} is another one than was read"
        )));
    }
    let settled = number.min(tip);
    if settled >= first && before.is_none_or(|before| before < settled) {
        store.finalize(settled)?;
        forget_paths(store, scope)?;
    }
    Ok(())
}

/// Forgets the paths of notes whose nullifiers are final. A message that no contract opens yet may turn out to be a
/// note, so its path stays.
fn forget_paths(store: &Store, scope: &Scope) -> Result<(), PxeError> {
    let waiting = discover::deferred_positions(&store.view(scope)?, scope)?;
    if let Some(waiting) = waiting {
        store.forget_paths(scope, &waiting)?;
    }
    Ok(())
}

/// What is to be read once more: the blocks up to the tip, for accounts that were added since they were read, and for
/// all if an earlier release read them, which kept no note tree.
struct Missing {
    /// The accounts that were added.
    new: Vec<Account>,
    first: Option<u64>,
    tip: Option<u64>,
    has_edges: bool,
}

impl Missing {
    fn read(store: &Store, scope: &Scope) -> Result<Self, PxeError> {
        let view = store.view(scope)?;
        let mut new = Vec::new();
        for account in scope.accounts() {
            if !view.is_followed(account)? {
                new.push(*account);
            }
        }
        let tip = view.tip()?;
        let has_edges = match tip.filter(|tip| *tip >= FIRST) {
            Some(tip) => Edges::after(&view, tip)?.is_some(),
            None => true,
        };
        Ok(Self { new, first: view.first_block()?, tip, has_edges })
    }

    fn is_nothing(&self) -> bool {
        self.new.is_empty() && self.has_edges
    }

    /// How many blocks that are.
    fn blocks(&self) -> u64 {
        if self.is_nothing() { 0 } else { self.tip.unwrap_or_default() }
    }
}

/// Reads what is [`Missing`].
async fn catch_up(
    store: &Store,
    scope: &Scope,
    node: &NodeClient,
    network: Fr,
) -> Result<(), PxeError> {
    let missing = Missing::read(store, scope)?;
    if missing.is_nothing() {
        return Ok(());
    }
    let Missing { new, first, tip, .. } = missing;
    let of_new = Scope::of(new.iter().copied());
    if let (Some(first), Some(tip)) = (first, tip) {
        let genesis = Edges::genesis(node, network).await?;
        let mut reader = Reader::new(store, &of_new, genesis, network)?;
        let mut next = FIRST;
        while next <= tip {
            let count = BLOCKS.min((tip - next).saturating_add(1));
            let blocks = node.block_effects(next, count).await.map_err(node_error)?;
            if blocks.is_empty() {
                return Err(PxeError::Node(format!("it has no block {next} any more")));
            }
            check_tip(store, node).await?;
            for (number, block) in (next..=tip).zip(&blocks) {
                if number < first {
                    reader.pass(number, block)?;
                } else {
                    reader.read_again(number, block)?;
                }
                next = number.saturating_add(1);
            }
        }
    }
    let tip = tip.unwrap_or_default();
    store.step(&of_new, |step| new.iter().try_for_each(|account| step.follow(account, tip)))?;
    Ok(())
}

/// Records which of these notes were spent in the blocks after them, which are read once more. It takes at most the
/// time of [`follow`] for as many blocks.
///
/// # Errors
/// As [`follow`].
pub async fn mark_spent(
    store: &Store,
    node: &NodeClient,
    notes: &[FoundNote],
) -> Result<(), PxeError> {
    let tip = store.view(&Scope::default())?.tip()?;
    within(time_for(tip.unwrap_or_default()), mark_spent_in(store, node, notes)).await
}

async fn mark_spent_in(
    store: &Store,
    node: &NodeClient,
    notes: &[FoundNote],
) -> Result<(), PxeError> {
    let scope = Scope::of(notes.iter().map(|note| note.account));
    let mut known = Known::new();
    for note in notes {
        known.entry(note.account).or_default().insert(note.nullifier);
    }
    let (tip, headers) = {
        let view = store.view(&scope)?;
        (view.tip()?, view.headers()?)
    };
    let hashes: BTreeMap<u64, Fr> = headers.iter().map(|read| (read.number, read.hash)).collect();
    let (Some(tip), Some(mut next)) = (tip, notes.iter().map(|note| note.block).min()) else {
        return Ok(());
    };
    while next <= tip {
        let count = BLOCKS.min((tip - next).saturating_add(1));
        let blocks = node.block_effects(next, count).await.map_err(node_error)?;
        if blocks.is_empty() {
            return Err(PxeError::Node(format!("it has no block {next} any more")));
        }
        check_tip(store, node).await?;
        for block in &blocks {
            let data = leaves::decoded(next, block)?;
            // Of blocks before the final one no hash is kept.
            if hashes.get(&next).is_some_and(|hash| *hash != block.header_hash) {
                return Err(PxeError::Node(format!("block {next} is another one than before")));
            }
            store.read_again(&scope, next, |step| {
                data.txs.iter().try_for_each(|tx| discover::nullify(step, &tx.effects, &known))
            })?;
            next = next.saturating_add(1);
        }
    }
    Ok(())
}

/// Reads blocks for the accounts of a scope.
struct Reader<'s> {
    store: &'s Store,
    scope: &'s Scope,
    owners: Owners,
    contracts: Vec<Fr>,
    known: Known,
    /// After the last block.
    edges: Edges,
    /// Hash of the genesis header.
    network: Fr,
    /// Positions of the subtrees of the note tree whose paths are kept.
    marks: BTreeSet<u64>,
    /// Transactions that were sent.
    expected: Expected,
}

impl<'s> Reader<'s> {
    fn new(
        store: &'s Store,
        scope: &'s Scope,
        edges: Edges,
        network: Fr,
    ) -> Result<Self, PxeError> {
        let view = store.view(scope)?;
        let owners = Owners::read(&view, scope)?;
        let contracts = view.contracts()?.into_iter().map(|(address, _)| address).collect();
        let mut known = Known::new();
        for account in scope.accounts() {
            let nullifiers = view.notes(account)?.into_iter().map(|stored| stored.note.nullifier);
            known.insert(*account, nullifiers.collect());
        }
        let marks = view.marks()?;
        let expected = Expected::read(&view, scope)?;
        Ok(Self { store, scope, owners, contracts, known, edges, network, marks, expected })
    }

    /// Takes what was sent since. Call it when blocks have arrived: what is in them was kept before.
    fn expect(&mut self) -> Result<(), PxeError> {
        self.expected = Expected::read(&self.store.view(self.scope)?, self.scope)?;
        Ok(())
    }

    /// Takes the leaves of a block from before the store's first one.
    fn pass(&mut self, number: u64, block: &BlockEffects) -> Result<(), PxeError> {
        let data = leaves::decoded(number, block)?;
        (_, self.edges) = self.edges.grown(&data)?;
        Ok(())
    }

    /// Reads the next block.
    fn read(&mut self, number: u64, block: &BlockEffects) -> Result<(), PxeError> {
        let data = leaves::decoded(number, block)?;
        let (appended, after) = self.edges.grown(&data)?;
        let header = Header { number, hash: block.header_hash, slot: data.header.slot };
        let (owners, contracts) = (self.owners.all(), &self.contracts);
        let (known, marks, expected) = (&mut self.known, &mut self.marks, &self.expected);
        let network = &self.network;
        self.store.read_block(self.scope, &header, |step| {
            marks.extend(discover::read_block(step, &data, owners, contracts, known)?);
            expected.note(step, effects(&data))?;
            step.grow(&appended, marks, &after.notes)?;
            note_chain(step, &after, network)
        })?;
        self.edges = after;
        Ok(())
    }

    /// Reads a block that was read for other accounts.
    fn read_again(&mut self, number: u64, block: &BlockEffects) -> Result<(), PxeError> {
        let data = leaves::decoded(number, block)?;
        let (appended, after) = self.edges.grown(&data)?;
        let (owners, contracts) = (self.owners.all(), &self.contracts);
        let (known, marks, expected) = (&mut self.known, &mut self.marks, &self.expected);
        let network = &self.network;
        self.store.read_again(self.scope, number, |step| {
            marks.extend(discover::read_block(step, &data, owners, contracts, known)?);
            expected.note(step, effects(&data))?;
            step.grow(&appended, marks, &after.notes)?;
            note_chain(step, &after, network)
        })?;
        self.edges = after;
        Ok(())
    }
}

/// Keeps what the next block is checked with, and with the first one whose chain it is.
fn note_chain(step: &mut BlockStep<'_, '_>, after: &Edges, network: &Fr) -> Result<(), StoreError> {
    if step.block() == FIRST {
        step.network(network)?;
    }
    step.archive(&after.archive)
}

/// What each transaction of a block does.
fn effects(block: &BlockData) -> impl Iterator<Item = &TxEffects> + Clone {
    block.txs.iter().map(|tx| &tx.effects)
}

/// The header that calls read: that of the last block that was read for contracts.
///
/// # Errors
/// [`PxeError::Node`] for another block than the one that was read.
async fn anchor(store: &Store, node: &NodeClient) -> Result<BlockHeader, PxeError> {
    let scope = Scope::default();
    let (tip, known) = {
        let view = store.view(&scope)?;
        let tip = view.tip()?.unwrap_or_default();
        let headers = view.headers()?;
        (tip, headers.into_iter().find(|header| header.number == tip).map(|header| header.hash))
    };
    let found = node.header(BlockRef::Number(tip)).await.map_err(node_error)?;
    let found = found.ok_or_else(|| PxeError::Node(format!("it has no block {tip}")))?;
    let header = found.decode().map_err(|error| PxeError::Node(Bare(&error).to_string()))?;
    let is_known = known.is_none_or(|known| known == found.header_hash);
    if header.block_number != tip || !is_known {
        return Err(PxeError::Node(format!("block {tip} is another one than before")));
    }
    Ok(header)
}

/// On which state and at which price a transaction is made now. Read the chain first, see [`follow`].
///
/// # Errors
/// [`PxeError::Node`] for answers that do not belong to the blocks that were read.
pub async fn environment(store: &Store, node: &NodeClient) -> Result<Environment, PxeError> {
    Ok(basis(store, node).await?.environment)
}

/// What a transaction takes from the network, checked against the blocks that were read.
#[derive(Debug, Clone)]
pub struct Basis {
    pub environment: Environment,
    /// Parameters of the deployment.
    pub config: Config,
    /// The root of its verification keys.
    pub vk_root: Fr,
}

/// As [`environment`], with what the genesis file says.
///
/// # Errors
/// As [`environment`].
pub async fn basis(store: &Store, node: &NodeClient) -> Result<Basis, PxeError> {
    let genesis = node.genesis().await.map_err(node_error)?;
    let bare = |error: rollmill_protocol::DecodeError| PxeError::Node(Bare(&error).to_string());
    genesis.config.check().map_err(bare)?;
    let anchor = anchor(store, node).await?;
    // The version is a hash over chain id, contract, key root and parameters.
    if (genesis.chain_id, genesis.version()) != (anchor.chain_id, anchor.version) {
        return Err(PxeError::Node("its genesis file is not that of its blocks".to_owned()));
    }
    let gas = gas_after(&genesis.config, &anchor);
    let environment = Environment { anchor, gas };
    Ok(Basis { environment, config: genesis.config, vk_root: genesis.vk_root })
}

/// The paths of leaves in the anchor's note tree, by the index of the leaf: out of the store, so that no node learns
/// which notes are read.
///
/// # Errors
/// [`ContractError::Path`] for a leaf that is not in the anchor's tree, or that the store has no path of, and those of
/// the store.
pub fn paths(
    store: &Store,
    anchor: &BlockHeader,
    notes: &[super::UsedNote],
) -> Result<BTreeMap<u64, Vec<Fr>>, PxeError> {
    let scope = Scope::default();
    let view = store.view(&scope)?;
    let root = &anchor.state.tx_state.note_root;
    let mut paths = BTreeMap::new();
    for note in notes {
        let leaf_index = note.leaf_index;
        let path = view.note_path(leaf_index, anchor.block_number)?;
        let path = path.filter(|path| root_from_path(&note.leaf, leaf_index, path) == *root);
        paths.insert(leaf_index, path.ok_or(ContractError::Path { leaf_index })?);
    }
    Ok(paths)
}

/// All accounts of a store: the scope of its owner's own commands.
///
/// # Errors
/// Those of the store.
pub fn own_scope(store: &Store) -> Result<Scope, PxeError> {
    let accounts: Vec<Account> = store.accounts()?.into_iter().map(|info| info.account).collect();
    Ok(Scope::of(accounts))
}
