//! A small chain to prove, and a plain way to try changed witnesses.
#![allow(dead_code, unreachable_pub)] // each test file uses its own part
#![allow(clippy::result_large_err)] // a violation names its cells

pub mod golden;
pub mod mutate;
pub mod parts;

use rollmill_algebra::{Fr, poseidon2};
use rollmill_circuits::block_root::{BlockInput, BlockRootWitness};
use rollmill_circuits::client::{AccountKeys, ClientWitness, InputNote, Payer};
use rollmill_circuits::gadgets::charge::OpenedLeaf;
use rollmill_circuits::tx_base::TxBaseWitness;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::check::{Violation, check};
use rollmill_plonk::layout::{Layout, Witness};
use rollmill_protocol::block::BlockBody;
use rollmill_protocol::builder::{Block, BlockBuilder, BlockEnv};
use rollmill_protocol::gas::{DA_GAS_PER_TX, FeePerGas, GasSettings, L2_GAS_PER_TX};
use rollmill_protocol::genesis::{GENESIS_FORMAT, Genesis, GenesisBalance, GenesisNote};
use rollmill_protocol::message::{MESSAGE_SUBTREE_HEIGHT, deposit_leaf, message_in};
use rollmill_protocol::note::ViewingKey;
use rollmill_protocol::public_inputs::{ConstantsLayout, PairLayout};
use rollmill_protocol::state::TxGlobals;
use rollmill_protocol::tree::{MemoryStore, Tree, append};
use rollmill_protocol::tx::{Log, NO_EXPIRY, SLOTS, log_hash};
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf, vk_tree};
use rollmill_protocol::{
    Circuit, Commitment, Config, Constants, EthAddress, Gas, Header, Note, Opening, Pair,
    ProofKind, Tx, TxEffects, TxRange, TxTransition,
};

pub const CHAIN_ID: u64 = 31337;
/// Prices of genesis. Those of the blocks after it follow by the rule.
pub const GENESIS_PRICE: FeePerGas = FeePerGas { l2: 1000, da: 800 };
/// What leaves the notes of a transfer that pays from them.
pub const NOTES_OUT: u64 = 200_000_000;
/// Amount of every deposit.
pub const DEPOSIT: u64 = 700_000_000;

/// A number that looks random.
pub fn value(what: u64, i: u64) -> Fr {
    poseidon2::hash(1000 + what, &[Fr::from(i)])
}

pub fn keys(i: u64) -> AccountKeys {
    let viewing = ViewingKey { x: value(1, i), y: value(2, i) };
    AccountKeys { nsk: value(0, i), viewing }
}

pub fn account(i: u64) -> Fr {
    keys(i).address()
}

pub fn config() -> Config {
    Config {
        genesis_time: 1_700_000_000,
        slot_seconds: 12,
        slots_per_epoch: 32,
        l2_gas_limit: 3_200_000,
        l2_gas_target: 250_000,
        da_gas_limit: 64_000,
        da_gas_target: 3_000,
        min_fee_per_gas: 1,
        message_subtree_height: MESSAGE_SUBTREE_HEIGHT as u64,
    }
}

/// Accounts 0 to 3 have a note and a balance; 4 and 5 have none.
pub fn genesis() -> Genesis {
    Genesis {
        format: GENESIS_FORMAT,
        chain_id: CHAIN_ID,
        rollup: EthAddress([1; 20]),
        vk_root: vk_root(),
        config: config(),
        fee_per_l2_gas: GENESIS_PRICE.l2,
        fee_per_da_gas: GENESIS_PRICE.da,
        notes: (0..4)
            .map(|i| GenesisNote {
                owner: account(i),
                value: 1_000_000_000 + i,
                randomness: value(3, i),
            })
            .collect(),
        fee_balances: (0..4)
            .map(|i| GenesisBalance { address: account(i), amount: 1_000_000_000 })
            .collect(),
    }
}

pub fn version() -> u64 {
    genesis().version()
}

pub fn gas() -> GasSettings {
    GasSettings {
        max_fee_per_l2_gas: 10_000,
        max_fee_per_da_gas: 10_000,
        l2_gas_limit: L2_GAS_PER_TX + 5,
        da_gas_limit: DA_GAS_PER_TX,
        l2_teardown_gas_limit: 5,
        da_teardown_gas_limit: 0,
    }
}

/// Account `i` sends 100 of its genesis note to its neighbour, and pays from its balance.
pub fn transfer(anchor: &Header, store: &MemoryStore, i: u64) -> ClientWitness {
    let genesis = genesis();
    let note = genesis.notes[i as usize].note();
    let zero = Fr::from(0u64);
    let mut tags = [zero; SLOTS];
    let mut log_hashes = [zero; SLOTS];
    for k in 0..2u64 {
        tags[k as usize] = value(4, 10 * i + k);
        log_hashes[k as usize] = log_hash(&log(i, k));
    }
    ClientWitness {
        sender: keys(i),
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
        payer: Payer::Account(keys(i)),
        gas: gas(),
        notes_in: 0,
        notes_out: 0,
        claim_index: 0,
        claim_amount: 0,
        withdraw_recipient: EthAddress::default(),
        withdraw_amount: 0,
        expiry_slot: NO_EXPIRY,
        vk_root: vk_root(),
    }
}

/// The transfer is paid from its notes, and gets a refund.
pub fn paid_from_notes(mut w: ClientWitness) -> ClientWitness {
    w.payer = Payer::Notes { owner: w.address(), randomness: value(10, 1) };
    w.notes_out = NOTES_OUT;
    w.outputs[1].value -= NOTES_OUT;
    w
}

/// The transfer claims the deposit of block 1 for `payer`, who pays with it. Half of it enters the notes.
pub fn with_claim(mut w: ClientWitness, payer: u64) -> ClientWitness {
    w.payer = Payer::Account(keys(payer));
    (w.claim_index, w.claim_amount) = (payer - 4, DEPOSIT);
    w.notes_in = DEPOSIT / 2;
    w.outputs[1].value += DEPOSIT / 2;
    w
}

/// Transfer `i` of a chain: 0 pays from its balance, 1 from its notes, 2 and 3 claim a deposit of accounts without a
/// balance, if there are deposits, and 3 withdraws.
pub fn transfer_of_chain(
    anchor: &Header,
    store: &MemoryStore,
    i: u64,
    block: u64,
) -> ClientWitness {
    let mut w = transfer(anchor, store, i);
    if i == 1 {
        w = paid_from_notes(w);
    }
    if i >= 2 && block >= 2 {
        w = with_claim(w, i + 2);
    }
    if i == 3 {
        (w.withdraw_recipient, w.withdraw_amount) = (EthAddress([8; 20]), 60);
        w.expiry_slot = 100;
    }
    w
}

/// The messages of a block: deposits to accounts 4 and 5 in the first one, and a general one in each but the third.
pub fn messages(block: u64) -> Vec<Fr> {
    let index = 64 * (block - 1);
    let general = |index| {
        message_in(EthAddress([6; 20]), &value(11, block), &value(12, block), &value(13, 1), index)
    };
    match block {
        1 => vec![
            deposit_leaf(&account(4), DEPOSIT, index),
            deposit_leaf(&account(5), DEPOSIT, index + 1),
            general(index + 2),
        ],
        3 => Vec::new(),
        _ => vec![general(index)],
    }
}

/// Log `k` of transfer `i`.
pub fn log(i: u64, k: u64) -> Log {
    std::array::from_fn(|word| value(14, 100 * i + 10 * k + word as u64))
}

pub fn tx_of(w: &ClientWitness, i: u64) -> Tx {
    let logs = (0..2).map(|k| log(i, k)).collect();
    Tx {
        chain_id: CHAIN_ID,
        version: version(),
        anchor_header_hash: w.anchor.hash(),
        body: BlockBody { effects: w.effects(), logs },
        proof_kind: ProofKind::BuiltIn,
        pair: Pair::trivial(),
        client_proof: Vec::new(),
    }
}

/// One proven-to-be block with what each of its transactions did.
#[derive(Debug, Clone)]
pub struct BlockCase {
    pub block: Block,
    pub commitment: Commitment,
    pub txs: Vec<(Tx, TxTransition)>,
}

impl BlockCase {
    pub fn opening(&self) -> Opening {
        self.block.opening(self.commitment)
    }

    /// What TxBase states of a transaction.
    pub fn tx_range(&self, i: usize, constants: Constants) -> TxRange {
        let (tx, transition) = &self.txs[i];
        let header = &self.block.header;
        let globals = TxGlobals {
            chain_id: header.chain_id,
            version: header.version,
            slot: header.slot,
            price: header.fee_per_gas(),
            gas_left: Gas::default(),
        };
        let z = self.opening().z;
        TxRange::of_tx(transition, &tx.body, constants, &globals, z, Pair::trivial())
    }

    /// What TxBase states of each transaction.
    pub fn tx_ranges(&self, constants: Constants) -> Vec<TxRange> {
        (0..self.txs.len()).map(|i| self.tx_range(i, constants)).collect()
    }

    pub fn tx_base_witness(&self, i: usize) -> TxBaseWitness {
        let (tx, transition) = &self.txs[i];
        TxBaseWitness {
            constants: constants(),
            slot: self.block.header.slot,
            price: self.block.header.fee_per_gas(),
            z: self.opening().z,
            body: tx.body.clone(),
            transition: transition.clone(),
        }
    }

    pub fn block_root_witness(&self, ranges: usize, chain_before: Fr) -> BlockRootWitness {
        let own = rollmill_circuits::block_root::variant(ranges);
        let charges = [Circuit::TxBase, Circuit::TxMerge, own].map(opened);
        let (block, commitment) = (&self.block, self.commitment);
        let input = BlockInput::new(constants(), config(), block, commitment, chain_before);
        BlockRootWitness::new(input, charges)
    }
}

/// Blocks with these numbers of transactions after genesis, four in all at most.
pub fn chain(tx_counts: &[u64]) -> Vec<BlockCase> {
    let built = genesis().build(MemoryStore::new()).unwrap();
    let (genesis_header, genesis_store) = (built.header.clone(), built.state.store.clone());
    let (mut parent, mut store) = (built.header, built.state.store);
    let mut sender = 0;
    let mut out = Vec::new();
    for n in tx_counts {
        let number = parent.block_number + 1;
        let env = BlockEnv {
            slot: parent.slot + 2,
            coinbase: EthAddress([9; 20]),
            messages: messages(number),
        };
        let mut builder = BlockBuilder::new(&parent, store, &config(), env).unwrap();
        let mut txs = Vec::new();
        for _ in 0..*n {
            let w = transfer_of_chain(&genesis_header, &genesis_store, sender, number);
            let tx = tx_of(&w, sender);
            let transition = builder.apply(&tx).unwrap();
            txs.push((tx, transition));
            sender += 1;
        }
        let (block, next) = builder.finish().unwrap();
        (parent, store) = (block.header.clone(), next);
        let commitment = match n {
            0 => Commitment::default(),
            // Any commitment serves: that it is the data's is for L1 to check.
            _ => Commitment(std::array::from_fn(|i| (37 * i + 5 * number as usize) as u8)),
        };
        out.push(BlockCase { block, commitment, txs });
    }
    out
}

/// Effects that use every slot: eight nullifiers, notes, tags and logs, two messages, gas for teardowns, value in
/// both directions. Account 5, which has no balance yet, pays by the deposit that it claims.
pub fn full_body(i: u64) -> BlockBody {
    fn words(kind: u64, i: u64) -> [Fr; SLOTS] {
        std::array::from_fn(|k| value(kind, 100 * i + k as u64))
    }
    let zero = Fr::from(0u64);
    let logs: Vec<Log> = (0..SLOTS as u64).map(|k| log(50 + i, k)).collect();
    let effects = TxEffects {
        nullifiers: words(20, i),
        note_hashes: words(21, i),
        tags: words(22, i),
        log_hashes: std::array::from_fn(|k| log_hash(&logs[k])),
        messages: [value(23, 2 * i), value(23, 2 * i + 1)],
        public_calls_hash: zero,
        fee_payer: account(5),
        gas: GasSettings { da_gas_limit: DA_GAS_PER_TX + 7, da_teardown_gas_limit: 7, ..gas() },
        notes_in: 3,
        notes_out: 4,
        claim_index: 1,
        claim_amount: DEPOSIT,
        withdraw_recipient: EthAddress::default(),
        withdraw_amount: 0,
        refund_partial: zero,
        expiry_slot: 90,
    };
    BlockBody { effects, logs }
}

/// As [`full_body`], but notes pay: the refund takes the place of note 7, and a withdrawal that of message 0.
pub fn full_body_from_notes(i: u64) -> BlockBody {
    let (zero, mut body) = (Fr::from(0u64), full_body(i));
    let effects = &mut body.effects;
    (effects.fee_payer, effects.refund_partial) = (zero, value(24, i));
    effects.note_hashes[SLOTS - 1] = zero;
    (effects.claim_index, effects.claim_amount, effects.notes_out) = (0, 0, NOTES_OUT);
    (effects.withdraw_recipient, effects.withdraw_amount) = (EthAddress([8; 20]), 60);
    effects.messages[0] = zero;
    body
}

/// The second block, with a transaction of each of the two kinds that use every slot.
pub fn full_block() -> BlockCase {
    let (anchor, store) = genesis_chain();
    let env = |parent: &Header| BlockEnv {
        slot: parent.slot + 2,
        coinbase: EthAddress([9; 20]),
        messages: messages(parent.block_number + 1),
    };
    let builder = BlockBuilder::new(&anchor, store, &config(), env(&anchor)).unwrap();
    let (first, store) = builder.finish().unwrap();
    let mut builder =
        BlockBuilder::new(&first.header, store, &config(), env(&first.header)).unwrap();
    let bodies = [full_body(1), full_body_from_notes(2)];
    let txs = bodies.map(|body| {
        let tx = Tx {
            chain_id: CHAIN_ID,
            version: version(),
            anchor_header_hash: anchor.hash(),
            body,
            proof_kind: ProofKind::BuiltIn,
            pair: Pair::trivial(),
            client_proof: Vec::new(),
        };
        let transition = builder.apply(&tx).unwrap();
        (tx, transition)
    });
    let (block, _) = builder.finish().unwrap();
    let commitment = Commitment(std::array::from_fn(|i| (11 * i + 3) as u8));
    BlockCase { block, commitment, txs: txs.into() }
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
            protocol_version: PROTOCOL_VERSION,
        })
        .collect()
}

pub fn rows() -> rollmill_protocol::ChargedRows {
    rollmill_protocol::ChargedRows::new(|circuit| 1000 + circuit.role())
}

pub fn vk_root() -> Fr {
    vk_tree(&leaves())[VK_TREE_HEIGHT][0]
}

pub fn constants() -> Constants {
    Constants {
        chain_id: CHAIN_ID,
        version: version(),
        vk_root: vk_root(),
        protocol_version: PROTOCOL_VERSION,
        config_hash: config().hash(),
        prover_id: prover(),
    }
}

pub fn opened(circuit: Circuit) -> OpenedLeaf {
    opened_in(&leaves(), circuit)
}

pub fn opened_in(leaves: &[VkLeaf], circuit: Circuit) -> OpenedLeaf {
    let tree = vk_tree(leaves);
    let index = circuit as usize;
    OpenedLeaf {
        leaf: leaves[index],
        path: std::array::from_fn(|level| tree[level][(index >> level) ^ 1]),
    }
}

pub fn prover() -> EthAddress {
    EthAddress([5; 20])
}

/// A builder with small limb cells, so that the range table does not set the size.
pub fn small(n_public: usize) -> Builder {
    Builder::new(n_public, 10)
}

/// A builder with the limb cells that non-native arithmetic takes.
pub fn wide(n_public: usize) -> Builder {
    Builder::new(n_public, 16)
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
