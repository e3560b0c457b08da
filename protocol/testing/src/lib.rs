//! A small deployment and transactions for it, and a player of the blocks that the Python model makes. The
//! proofs are not proofs: nothing here verifies them.

pub mod cases;
pub mod model;
pub mod private;
pub mod witness;

use rollmill_protocol::builder::{BlockBuilder, BlockEnv};
use rollmill_protocol::gas::{DA_GAS_PER_TX, FeePerGas, GasSettings, L2_GAS_PER_TX};
use rollmill_protocol::genesis::{Genesis, GenesisBalance, GenesisNote};
use rollmill_protocol::note::{discovery_tag, note_partial};
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::tx::{Log, NO_EXPIRY, log_hash};
use rollmill_protocol::{
    BlockBody, Config, Constants, EthAddress, Fr, Header, Pair, ProofKind, Tx, TxEffects,
};

pub const CHAIN_ID: u64 = 31337;
/// The least prices of the deployment, which hold as long as no block passes its target.
pub const PRICE: FeePerGas = FeePerGas { l2: 2, da: 2 };
/// The fee of a transaction at [`PRICE`].
pub const FEE: u64 = L2_GAS_PER_TX * PRICE.l2 + DA_GAS_PER_TX * PRICE.da;
pub const USERS: u64 = 4;
pub const PROVER: EthAddress = EthAddress([0xee; 20]);

/// A value that depends on nothing but these two numbers.
pub fn value(kind: u64, i: u64) -> Fr {
    discovery_tag(&Fr::from(1000 + kind), i)
}

pub fn user(i: u64) -> Fr {
    value(0, i % USERS)
}

/// Slots of 12 seconds, epochs of eight, targets of half a block.
pub fn config() -> Config {
    Config {
        genesis_time: 1_700_000_000,
        slot_seconds: 12,
        slots_per_epoch: 8,
        l2_gas_limit: 32 * L2_GAS_PER_TX,
        l2_gas_target: 16 * L2_GAS_PER_TX,
        da_gas_limit: 32 * DA_GAS_PER_TX,
        da_gas_target: 16 * DA_GAS_PER_TX,
        min_fee_per_gas: PRICE.l2,
        message_subtree_height: 6,
    }
}

pub fn genesis() -> Genesis {
    Genesis {
        format: rollmill_protocol::genesis::GENESIS_FORMAT,
        chain_id: CHAIN_ID,
        rollup: EthAddress([0xa0; 20]),
        vk_root: value(9, 0),
        config: config(),
        fee_per_l2_gas: PRICE.l2,
        fee_per_da_gas: PRICE.da,
        notes: (0..USERS)
            .map(|i| GenesisNote { owner: user(i), value: 1000, randomness: value(1, i) })
            .collect(),
        fee_balances: (0..USERS)
            .map(|i| GenesisBalance { address: user(i), amount: 100 * FEE })
            .collect(),
    }
}

/// The number of the deployment.
pub fn version() -> u64 {
    genesis().version()
}

/// The first block's parent and its state.
pub fn start() -> (Header, MemoryStore) {
    let built = genesis().build(MemoryStore::new()).unwrap();
    (built.header, built.state.store)
}

pub fn gas() -> GasSettings {
    GasSettings {
        max_fee_per_l2_gas: 10,
        max_fee_per_da_gas: 10,
        l2_gas_limit: L2_GAS_PER_TX,
        da_gas_limit: DA_GAS_PER_TX,
        ..GasSettings::default()
    }
}

/// Effects and logs of transaction number `i`: two nullifiers, two notes, two logs; a balance pays.
pub fn body(i: u64) -> BlockBody {
    let absent = [0u64; 8].map(Fr::from);
    let mut effects = TxEffects {
        nullifiers: absent,
        note_hashes: absent,
        tags: absent,
        log_hashes: absent,
        messages: [0u64; 2].map(Fr::from),
        public_calls_hash: Fr::from(0u64),
        fee_payer: user(i),
        gas: gas(),
        notes_in: 0,
        notes_out: 0,
        claim_index: 0,
        claim_amount: 0,
        withdraw_recipient: EthAddress::default(),
        withdraw_amount: 0,
        refund_partial: Fr::from(0u64),
        expiry_slot: NO_EXPIRY,
    };
    let mut logs = Vec::new();
    for j in 0..2 {
        let n = 2 * i + j;
        let at = j as usize;
        effects.nullifiers[at] = value(2, n);
        effects.note_hashes[at] = value(3, n);
        effects.tags[at] = value(4, n);
        let log: Log = std::array::from_fn(|k| value(5, 5 * n + k as u64));
        effects.log_hashes[at] = log_hash(&log);
        logs.push(log);
    }
    BlockBody { effects, logs }
}

/// As [`body`], but the fee comes out of notes, with this much more than the fee at [`PRICE`] as a refund.
pub fn body_from_notes(i: u64, refund: u64) -> BlockBody {
    let mut body = body(i);
    body.effects.fee_payer = Fr::from(0u64);
    body.effects.notes_out = FEE + refund;
    body.effects.refund_partial = note_partial(&user(i), &value(6, i));
    body
}

/// A transaction with this body.
pub fn tx_of(body: BlockBody, anchor: Fr) -> Tx {
    Tx {
        chain_id: CHAIN_ID,
        version: version(),
        anchor_header_hash: anchor,
        body,
        proof_kind: ProofKind::BuiltIn,
        pair: Pair::trivial(),
        client_proof: vec![7; 40],
    }
}

/// Transaction number `i`, with [`body`].
pub fn tx(i: u64, anchor: Fr) -> Tx {
    tx_of(body(i), anchor)
}

/// The next slot, without messages.
pub fn env(parent: &Header) -> BlockEnv {
    BlockEnv { slot: parent.slot + 1, coinbase: EthAddress([0xc0; 20]), messages: Vec::new() }
}

pub fn builder(parent: &Header, store: MemoryStore) -> BlockBuilder<MemoryStore> {
    BlockBuilder::new(parent, store, &config(), env(parent)).unwrap()
}

pub fn constants() -> Constants {
    Constants {
        chain_id: CHAIN_ID,
        version: version(),
        vk_root: genesis().vk_root,
        protocol_version: rollmill_protocol::version::PROTOCOL_VERSION,
        config_hash: config().hash(),
        prover_id: PROVER,
    }
}
