//! A small chain to prove, and a plain way to try changed witnesses.
#![allow(dead_code, unreachable_pub)] // each test file uses its own part
#![allow(clippy::result_large_err)] // a violation names its cells

pub mod golden;
pub mod mutate;

use rollmill_algebra::{Fr, poseidon2};
use rollmill_circuits::block_root::{BlockInput, BlockRootWitness};
use rollmill_circuits::client::{ClientWitness, InputNote};
use rollmill_circuits::gadgets::charge::OpenedLeaf;
use rollmill_circuits::tx_base::TxBaseWitness;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::check::{Violation, check};
use rollmill_plonk::layout::{Layout, Witness};
use rollmill_protocol::builder::{Block, BlockBuilder, BlockEnv};
use rollmill_protocol::gas::{DA_GAS_PER_TX, FeePerGas, GasSettings, L2_GAS_PER_TX};
use rollmill_protocol::genesis::{Genesis, GenesisBalance, GenesisNote};
use rollmill_protocol::note::{ViewingKey, address, npk};
use rollmill_protocol::public_inputs::{ConstantsLayout, PairLayout};
use rollmill_protocol::tree::{MemoryStore, Tree, append};
use rollmill_protocol::vk_tree::{VkLeaf, vk_tree};
use rollmill_protocol::{
    Circuit, Constants, EthAddress, Header, Note, Pair, Tx, TxRange, TxTransition,
};

pub const PRICE: FeePerGas = FeePerGas { l2: 2, da: 3 };
pub const CHAIN_ID: u64 = 31337;
pub const VERSION: u64 = 7;

/// A number that looks random.
pub fn value(what: u64, i: u64) -> Fr {
    poseidon2::hash(1000 + what, &[Fr::from(i)])
}

pub fn viewing(i: u64) -> ViewingKey {
    ViewingKey { x: value(1, i), y: value(2, i) }
}

pub fn nsk(i: u64) -> Fr {
    value(0, i)
}

pub fn account(i: u64) -> Fr {
    address(&npk(&nsk(i)), &viewing(i))
}

pub fn genesis() -> Genesis {
    Genesis {
        format: 1,
        chain_id: CHAIN_ID,
        rollup_version: VERSION,
        timestamp: 1000,
        fee_per_l2_gas: PRICE.l2,
        fee_per_da_gas: PRICE.da,
        notes: (0..4)
            .map(|i| GenesisNote { owner: account(i), value: 500 + i, randomness: value(3, i) })
            .collect(),
        fee_balances: (0..4)
            .map(|i| GenesisBalance { address: account(i), amount: 1_000_000 })
            .collect(),
    }
}

pub fn gas() -> GasSettings {
    GasSettings {
        max_fee_per_l2_gas: 10,
        max_fee_per_da_gas: 10,
        l2_gas_limit: L2_GAS_PER_TX + 5,
        da_gas_limit: DA_GAS_PER_TX,
        l2_teardown_gas_limit: 5,
        da_teardown_gas_limit: 0,
    }
}

/// Account `i` sends 100 of its genesis note to its neighbour.
pub fn transfer(anchor: &Header, store: &MemoryStore, i: u64) -> ClientWitness {
    let genesis = genesis();
    let note = genesis.notes[i as usize].note();
    let zero = Fr::from(0u64);
    let mut tags = [zero; 8];
    let mut log_hashes = [zero; 8];
    for k in 0..2u64 {
        tags[k as usize] = value(4, 10 * i + k);
        log_hashes[k as usize] = rollmill_protocol::tx::log_hash(&log(i, k));
    }
    ClientWitness {
        nsk: nsk(i),
        viewing: viewing(i),
        anchor: anchor.clone(),
        inputs: [
            InputNote {
                value: note.value,
                randomness: note.randomness,
                origin: genesis.origin(i as usize),
                leaf_index: Some(i),
                path: append::path(store, Tree::Notes, 0, i).unwrap(),
            },
            InputNote::dummy(value(5, i)),
        ],
        outputs: [
            Note { owner: account((i + 1) % 4), value: 100, randomness: value(6, i) },
            Note { owner: account(i), value: note.value - 100, randomness: value(7, i) },
        ],
        tags,
        log_hashes,
        gas: gas(),
    }
}

fn log(i: u64, k: u64) -> Vec<u8> {
    vec![(16 * i + k) as u8; rollmill_protocol::tx::LOG_BYTES]
}

pub fn tx_of(w: &ClientWitness, i: u64) -> Tx {
    Tx {
        chain_id: CHAIN_ID,
        version: VERSION,
        anchor_header_hash: w.anchor.hash(),
        effects: w.effects(),
        logs: (0..2).map(|k| log(i, k)).collect(),
        client_proof: Vec::new(),
    }
}

/// One proven-to-be block with what each of its transactions did.
#[derive(Debug, Clone)]
pub struct BlockCase {
    pub block: Block,
    pub txs: Vec<(Tx, TxTransition)>,
}

/// Blocks with these numbers of transactions after genesis, four in all at most.
pub fn chain(tx_counts: &[u64]) -> Vec<BlockCase> {
    let built = genesis().build(MemoryStore::new()).unwrap();
    let (genesis_header, genesis_store) = (built.header.clone(), built.state.store.clone());
    let (mut parent, mut store) = (built.header, built.state.store);
    let mut sender = 0;
    let mut out = Vec::new();
    for n in tx_counts {
        let env = BlockEnv {
            slot: parent.slot + 2,
            timestamp: parent.timestamp + 24,
            coinbase: EthAddress([9; 20]),
            price: PRICE,
        };
        let mut builder = BlockBuilder::new(&parent, store, env).unwrap();
        let mut txs = Vec::new();
        for _ in 0..*n {
            let tx = tx_of(&transfer(&genesis_header, &genesis_store, sender), sender);
            let transition = builder.apply(&tx).unwrap();
            txs.push((tx, transition));
            sender += 1;
        }
        let (block, next) = builder.finish().unwrap();
        (parent, store) = (block.header.clone(), next);
        out.push(BlockCase { block, txs });
    }
    out
}

pub fn genesis_chain() -> (Header, MemoryStore) {
    let built = genesis().build(MemoryStore::new()).unwrap();
    (built.header, built.state.store)
}

/// Leaves of a made-up verification-key tree: circuit `i` is charged `1000 + i` rows.
pub fn leaves() -> Vec<VkLeaf> {
    Circuit::ALL
        .iter()
        .map(|circuit| VkLeaf {
            circuit: *circuit,
            vk_digest: value(8, circuit.role()),
            log_n: 17,
            n_public_inputs: 25,
            charged_rows: 1000 + circuit.role(),
            protocol_version: 1,
        })
        .collect()
}

pub fn rows() -> rollmill_protocol::ChargedRows {
    rollmill_protocol::ChargedRows::new(|circuit| 1000 + circuit.role())
}

pub fn constants() -> Constants {
    let vk_root = vk_tree(&leaves())[4][0];
    Constants { chain_id: CHAIN_ID, version: VERSION, vk_root, protocol_version: 1 }
}

pub fn opened(circuit: Circuit) -> OpenedLeaf {
    let leaves = leaves();
    let tree = vk_tree(&leaves);
    let index = circuit as usize;
    OpenedLeaf {
        leaf: leaves[index],
        path: std::array::from_fn(|level| tree[level][(index >> level) ^ 1]),
    }
}

pub fn tx_base_witness(tx: &Tx, transition: &TxTransition) -> TxBaseWitness {
    TxBaseWitness {
        constants: constants(),
        price: PRICE,
        effects: tx.effects.clone(),
        transition: transition.clone(),
    }
}

pub fn tx_range(transition: &TxTransition) -> TxRange {
    TxRange::of_tx(transition, constants(), PRICE, Pair::trivial())
}

pub fn prover() -> EthAddress {
    EthAddress([5; 20])
}

pub fn block_root_witness(block: &Block, ranges: usize, chain_prev: Fr) -> BlockRootWitness {
    let own = rollmill_circuits::block_root::variant(ranges);
    let charges = [Circuit::TxBase, Circuit::TxMerge, own].map(opened);
    let input = BlockInput::new(constants(), prover(), block, chain_prev);
    BlockRootWitness::new(input, charges)
}

/// A builder with small limb cells, so that the range table does not set the size.
pub fn small(n_public: usize) -> Builder {
    Builder::new(n_public, 10)
}

pub fn constants_vars(b: &mut Builder) -> ConstantsLayout<Var> {
    constants().layout().map(|v| b.witness(v))
}

pub fn pair_vars(b: &mut Builder) -> PairLayout<Var> {
    PairLayout::of(&Pair::trivial()).map(|v| b.witness(v))
}

pub fn finish(b: Builder) -> (Layout, Witness) {
    b.finish(None).unwrap()
}

pub fn outcome(b: Builder) -> Result<(), Violation> {
    let (layout, witness) = finish(b);
    check(&layout, &witness)
}
