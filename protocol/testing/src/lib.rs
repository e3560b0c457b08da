//! A small deployment and transactions for it. The proofs are not proofs: nothing here verifies them.

use rollmill_protocol::Fr;
use rollmill_protocol::builder::{BlockBuilder, BlockEnv};
use rollmill_protocol::gas::{DA_GAS_PER_TX, FeePerGas, GasSettings, L2_GAS_PER_TX};
use rollmill_protocol::genesis::{Genesis, GenesisBalance, GenesisNote};
use rollmill_protocol::note::discovery_tag;
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::tx::{LOG_BYTES, log_hash};
use rollmill_protocol::{Constants, EthAddress, Header, Tx, TxEffects};

pub const CHAIN_ID: u64 = 31337;
pub const VERSION: u64 = 1;
pub const PRICE: FeePerGas = FeePerGas { l2: 2, da: 3 };
/// The fee of a transaction at [`PRICE`].
pub const FEE: u64 = L2_GAS_PER_TX * PRICE.l2 + DA_GAS_PER_TX * PRICE.da;
pub const USERS: u64 = 4;

/// A value that depends on nothing but these two numbers.
pub fn value(kind: u64, i: u64) -> Fr {
    discovery_tag(&Fr::from(1000 + kind), i)
}

pub fn user(i: u64) -> Fr {
    value(0, i % USERS)
}

pub fn genesis() -> Genesis {
    Genesis {
        format: 1,
        chain_id: CHAIN_ID,
        rollup_version: VERSION,
        timestamp: 1_700_000_000,
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

/// Transaction number `i`: two nullifiers, two notes, two logs.
pub fn tx(i: u64, anchor: Fr) -> Tx {
    let mut effects = TxEffects {
        nullifiers: [0u64; 8].map(Fr::from),
        note_hashes: [0u64; 8].map(Fr::from),
        tags: [0u64; 8].map(Fr::from),
        log_hashes: [0u64; 8].map(Fr::from),
        messages: [0u64; 2].map(Fr::from),
        fee_payer: user(i),
        gas: gas(),
    };
    let mut logs = Vec::new();
    for j in 0..2 {
        effects.nullifiers[j] = value(2, 2 * i + j as u64);
        effects.note_hashes[j] = value(3, 2 * i + j as u64);
        effects.tags[j] = value(4, 2 * i + j as u64);
        let log = vec![(i * 2) as u8 + j as u8; LOG_BYTES];
        effects.log_hashes[j] = log_hash(&log);
        logs.push(log);
    }
    Tx {
        chain_id: CHAIN_ID,
        version: VERSION,
        anchor_header_hash: anchor,
        effects,
        logs,
        client_proof: vec![7; 40],
    }
}

pub fn env(parent: &Header) -> BlockEnv {
    BlockEnv {
        slot: parent.slot + 1,
        timestamp: parent.timestamp + 12,
        coinbase: EthAddress([0xc0; 20]),
        price: PRICE,
    }
}

pub fn builder(parent: &Header, store: MemoryStore) -> BlockBuilder<MemoryStore> {
    BlockBuilder::new(parent, store, env(parent)).unwrap()
}

pub fn constants() -> Constants {
    Constants {
        chain_id: CHAIN_ID,
        version: VERSION,
        vk_root: value(9, 0),
        protocol_version: rollmill_protocol::version::PROTOCOL_VERSION,
    }
}
