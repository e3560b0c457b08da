//! Pool and builder together, without L1: for all inputs, blocks are built as long as one can be, and
//! what honest wallets send lands.
//!
//! Time is slots: one block at most in each. Every run prints its seed; `ROLLMILL_SEED` repeats one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rollmill_l1_testing::Random;
use rollmill_node::{
    ClientProofVerifier, Data, L1Event, L1Position, L1Update, Node, NodeSettings, PoolError,
    PoolLimits, ProofRejected, ProposedBlock,
};
use rollmill_node_client::wire::{BlockRef, TxStatus};
use rollmill_protocol::gas::{self, FeePerGas, Gas, MAX_TXS_PER_BLOCK};
use rollmill_protocol::genesis::{Genesis, GenesisBalance};
use rollmill_protocol::note::fee_balance_slot;
use rollmill_protocol::tree::{IndexedTree, indexed};
use rollmill_protocol::{
    ClientInputs, Commitment, Config, EthAddress, Fr, ProofKind, Tx, blob, field,
};
use rollmill_protocol_testing as chain;
use rollmill_sequencer::build::{Choice, Outcome, build};

#[derive(Debug)]
struct AnyProof;

impl ClientProofVerifier for AnyProof {
    fn verify(&self, _: ProofKind, _: &ClientInputs, _: &[u8]) -> Result<(), ProofRejected> {
        Ok(())
    }
}

/// A node, and an L1 that accepts every block.
struct Network {
    node: Arc<Node>,
    _folder: tempfile::TempDir,
    slot: u64,
    anchor: Fr,
    max_txs: usize,
    version: u64,
}

/// What came of a slot.
#[derive(Debug, PartialEq, Eq)]
enum Slot {
    Nothing,
    Empty,
    Full(usize),
}

fn payer(i: u64) -> Fr {
    chain::value(0, i)
}

impl Network {
    fn new(price: u64, balances: &[u64], pool: PoolLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let balance = |(i, amount): (usize, &u64)| GenesisBalance {
            address: payer(i as u64),
            amount: *amount,
        };
        let genesis = Genesis {
            fee_per_l2_gas: price,
            fee_per_da_gas: price,
            fee_balances: balances.iter().enumerate().map(balance).collect(),
            config: Config { min_fee_per_gas: FEE_MIN.l2, ..chain::config() },
            ..chain::genesis()
        };
        let version = genesis.version();
        let settings = NodeSettings {
            data_dir: folder.path().to_owned(),
            genesis,
            l1_start: L1Position { number: 0, hash: [0; 32] },
            pool,
            state_blocks: 4,
        };
        let node = Node::open(settings, Arc::new(AnyProof)).unwrap();
        let anchor = node.genesis_header().hash();
        Self { node, _folder: folder, slot: 0, anchor, max_txs: MAX_TXS_PER_BLOCK, version }
    }

    /// Transaction `i` of payer `from`, which allows `max` for a unit of either kind of gas.
    fn tx(&self, i: u64, from: u64, max: u64) -> Tx {
        let mut tx = chain::tx(i, self.anchor);
        tx.version = self.version;
        let effects = &mut tx.body.effects;
        effects.fee_payer = payer(from);
        effects.gas.max_fee_per_l2_gas = max;
        effects.gas.max_fee_per_da_gas = max;
        tx
    }

    fn submit(&self, tx: &Tx) -> Result<Fr, PoolError> {
        self.node.submit(&tx.to_bytes())
    }

    /// The price of the day, of which a wallet allows four times as much.
    fn price(&self) -> u64 {
        self.node.next_price().unwrap().l2
    }

    /// One slot passes: a block is built if the sequencer would, and the node follows it.
    fn pass_slot(&mut self) -> Slot {
        self.slot += 1;
        let node = &self.node;
        let parent = node.block_record(BlockRef::Pending).unwrap().unwrap();
        let choice = Choice {
            slot: self.slot,
            coinbase: EthAddress([0xc0; 20]),
            max_txs: self.max_txs,
            is_priced_out: node.is_priced_out().unwrap(),
        };
        let Outcome { built, left_out } = build(node, &node.ready_txs(), choice).unwrap();
        assert_eq!(left_out, [], "the pool called them ready");
        let (slot, events) = match built {
            None => (Slot::Nothing, vec![]),
            Some(built) => {
                let block = built.block;
                // The node takes the commitment from L1, which has checked it.
                let (commitment, data) = match block.txs.is_empty() {
                    true => (Commitment::default(), Data::None),
                    false => {
                        let words = blob::block_words(&block.txs);
                        (Commitment([7; 48]), Data::Blob(blob::encode_words(&words).unwrap()))
                    }
                };
                let opening = block.opening(commitment);
                let link = block.chain_link(parent.chain, &opening);
                let number = block.header.block_number;
                let proposed = ProposedBlock::with_link(number, &link, data);
                let count = block.txs.len();
                let slot = if count == 0 { Slot::Empty } else { Slot::Full(count) };
                (slot, vec![(self.slot, L1Event::BlockProposed(proposed))])
            }
        };
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&self.slot.to_be_bytes());
        let to = L1Position { number: self.slot, hash };
        let time = node.config().timestamp(self.slot).unwrap();
        let update = L1Update::Extend { to, time, finalized: None, events };
        node.apply(&update).unwrap();
        assert_eq!(node.tips().rejected, None);
        slot
    }

    /// Advances slots until no block is built. Returns how many were used.
    fn run_dry(&mut self) -> u64 {
        let start = self.slot;
        while self.pass_slot() != Slot::Nothing {
            assert!(self.slot - start < 5000, "it does not end");
        }
        self.slot - start
    }

    fn balance(&self, from: u64) -> u64 {
        let block = self.node.tips().pending.block_number;
        let state = self.node.state_at(block).unwrap();
        let slot = fee_balance_slot(&payer(from));
        let value = indexed::value(&state, IndexedTree::PublicData, &slot).unwrap();
        field::to_u64("balance", &value.unwrap_or_default()).unwrap()
    }

    fn status(&self, tx: &Tx) -> TxStatus {
        self.node.transaction_status(&tx.hash()).unwrap()
    }

    fn is_included(&self, tx: &Tx) -> bool {
        matches!(self.status(tx), TxStatus::Included { .. })
    }
}

/// Enough for any number of fees at any price that a test reaches.
const RICH: u64 = u64::MAX / 2;

fn ample_limits() -> PoolLimits {
    PoolLimits { payer_txs_max: usize::MAX, ..PoolLimits::default() }
}

/// Goal: a burst that once stopped block building for good: 212 transfers of the wallet, which allows
/// four times the price of the day, at price 1.
#[test]
fn two_hundred_and_twelve_honest_transfers_at_price_1_all_land() {
    let mut network = Network::new(1, &[RICH; 4], ample_limits());
    let burst: Vec<Tx> = (0..212).map(|i| network.tx(i, i % 4, 4)).collect();
    for tx in &burst {
        network.submit(tx).unwrap();
    }
    let mut slots = Vec::new();
    while burst.iter().any(|tx| !network.is_included(tx)) {
        slots.push(network.pass_slot());
        assert!(slots.len() < 60, "{slots:?}");
    }
    // Four full blocks bring the price to 5, and then empty ones take turns with full ones.
    assert_eq!(slots[..4], [const { Slot::Full(32) }; 4]);
    assert_eq!(slots[4], Slot::Empty);
    assert_eq!(network.pass_slot(), Slot::Nothing, "nothing waits, so nothing is built");
}

/// Goal: an honest burst lands whole at any price.
#[test]
fn honest_bursts_of_600_land_at_prices_1_10_100_and_1000() {
    for price in [1, 10, 100, 1000] {
        let mut network = Network::new(price, &[RICH; 50], ample_limits());
        let max = 4 * network.price();
        let burst: Vec<Tx> = (0..600).map(|i| network.tx(i, i % 50, max)).collect();
        for tx in &burst {
            network.submit(tx).unwrap();
        }
        let slots = network.run_dry();
        for tx in &burst {
            assert!(network.is_included(tx), "price {price}: {:?}", network.status(tx));
        }
        assert!(slots <= 60, "price {price}: {slots} slots");
    }
}

/// Goal: a pool full of transactions at the least price keeps no better one out, neither of the pool
/// nor of the next block.
#[test]
fn five_thousand_transactions_at_the_least_price_do_not_keep_a_better_one_out() {
    let limits = PoolLimits { txs_max: 1024, ..ample_limits() };
    let mut network = Network::new(1, &[RICH; 64], limits);
    let mut rejected = 0;
    for i in 0..5000 {
        match network.submit(&network.tx(i, i % 63, 1)) {
            Ok(_) => {}
            Err(PoolError::Full { .. }) => rejected += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(rejected, 5000 - 1024);
    let better = network.tx(5000, 63, 4);
    network.submit(&better).unwrap();
    assert_eq!(network.node.ready_count(), 1024);
    assert_eq!(network.pass_slot(), Slot::Full(MAX_TXS_PER_BLOCK));
    assert!(network.is_included(&better));
}

/// Goal: after a provable block at the highest price there is, honest transactions land, once empty
/// blocks brought the price down.
#[test]
fn the_highest_price_is_no_end() {
    let mut network = Network::new(u64::MAX, &[RICH], ample_limits());
    assert_eq!(network.pass_slot(), Slot::Nothing);
    let tx = network.tx(0, 0, 40);
    network.submit(&tx).unwrap();
    let slots = network.run_dry();
    assert!(network.is_included(&tx), "{:?}", network.status(&tx));
    let falls = |price: &u64| Some(gas::next_fee_per_gas(*price, 0, 1, 1));
    let prices = std::iter::successors(Some(gas::FEE_PER_GAS_MAX), falls);
    let expected = prices.take_while(|price| *price > 40).count() as u64;
    // The block with the transaction, and what the genesis price is above the first block's.
    assert!((expected..expected + 3).contains(&slots), "{slots}, {expected} expected");
}

/// The least prices, in the deployment's config.
const FEE_MIN: FeePerGas = FeePerGas { l2: 1, da: 1 };

/// Blocks in which the price falls from `price` to the least.
fn slots_to_fall(mut price: FeePerGas) -> u64 {
    let mut slots = 0;
    while price != FEE_MIN {
        let fallen = |price| gas::next_fee_per_gas(price, 0, 1, 1);
        price = FeePerGas { l2: fallen(price.l2), da: fallen(price.da) };
        slots += 1;
    }
    slots
}

/// Goal: if some set of the waiting transactions is admissible at some price, a block with
/// transactions is built within as many slots as the price takes to fall, and in the end only what
/// its payer cannot pay for at any price waits.
///
/// Method: random bursts of payers rich and poor, who allow from nothing to much more than the price,
/// some with the nullifiers of others, over random slots. What is admissible is decided here, from
/// balances and maximum prices alone.
fn random_bursts(seed: u64) {
    println!("seed {seed}");
    let mut random = Random(seed);
    let genesis_price = [1, 2, 7, 10, 100, 1000][random.below(6) as usize];
    let fee_min = gas::fee(FEE_MIN, Gas::PER_TX).unwrap();
    let fee = fee_min * genesis_price;
    let balances: Vec<u64> = (0..12)
        .map(|_| match random.below(4) {
            0 => random.below(2 * fee_min),
            1 => fee + random.below(fee),
            2 => fee * (2 + random.below(30)),
            _ => RICH,
        })
        .collect();
    let limits = PoolLimits {
        txs_max: 40 + random.below(100) as usize,
        payer_txs_max: 5 + random.below(60) as usize,
        ..PoolLimits::default()
    };
    let mut network = Network::new(genesis_price, &balances, limits);
    network.max_txs = 4 + random.below(29) as usize;
    let mut sent: BTreeMap<u64, (u64, Tx)> = BTreeMap::new();
    let mut without_block = 0;
    let mut patience = slots_to_fall(network.node.next_price().unwrap());
    let bursts = 1 + random.below(4);
    for burst in 0..=bursts {
        // None in the last: the pool runs dry.
        let count = if burst == bursts { 0 } else { random.below(80) };
        for _ in 0..count {
            let i = sent.len() as u64;
            let from = random.below(12);
            let max = match random.below(4) {
                0 => 1 + random.below(genesis_price),
                1 => network.price() * (1 + random.below(8)),
                _ => 4 * network.price(),
            };
            let mut tx = network.tx(i, from, max);
            if i > 0 && random.below(8) == 0 {
                let (_, other) = &sent[&random.below(i)];
                tx.body.effects.nullifiers[1] = other.effects().nullifiers[0];
            }
            // Rejected ones count as never sent.
            let _ = network.submit(&tx);
            sent.insert(i, (from, tx));
        }
        let slots = if burst == bursts { u64::MAX } else { 1 + random.below(6) };
        for _ in 0..slots {
            let waits = |tx: &Tx| matches!(network.status(tx), TxStatus::Pending { .. });
            let is_admissible =
                |(from, tx): &(u64, Tx)| waits(tx) && network.balance(*from) >= fee_min;
            let can_build = sent.values().any(is_admissible);
            match network.pass_slot() {
                Slot::Full(_) => {
                    without_block = 0;
                    patience = slots_to_fall(network.node.next_price().unwrap());
                }
                Slot::Empty => {
                    assert!(can_build, "an empty block for nothing");
                    without_block += 1;
                    assert!(without_block <= patience, "{without_block} slots without a block");
                }
                Slot::Nothing => {
                    assert!(!can_build, "something is admissible, and nothing was built");
                    if burst == bursts {
                        return check_all_landed(&network, &sent);
                    }
                }
            }
        }
    }
}

fn check_all_landed(network: &Network, sent: &BTreeMap<u64, (u64, Tx)>) {
    let mut spent = BTreeSet::new();
    for (_, tx) in sent.values().filter(|(_, tx)| network.is_included(tx)) {
        for nullifier in tx.effects().present_nullifiers() {
            assert!(spent.insert(*nullifier), "a nullifier landed twice");
        }
    }
}

#[test]
fn a_block_is_built_whenever_one_can_be() {
    if let Ok(seed) = std::env::var("ROLLMILL_SEED") {
        return random_bursts(seed.parse().unwrap());
    }
    for seed in 0..12 {
        random_bursts(seed);
    }
}
