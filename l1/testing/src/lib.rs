//! A development L1 for tests, with a rollup on it.
#![allow(missing_debug_implementations, reason = "no test prints them")]

pub mod anvil;
pub mod blob_source;
pub mod fake;
pub mod pay;
pub mod pool;
pub mod proxy;
pub mod web;

use std::path::Path;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U256, hex};
use alloy::signers::local::PrivateKeySigner;
use rollmill_l1::abi::{EpochArgs, Parameters, ProposeArgs};
use rollmill_l1::{
    L1Client, RollupContract, SenderConfig, TxReceipt, TxRequest, TxSender, abi, deploy,
    deploy_rollup,
};

pub use anvil::{Anvil, CHAIN_ID};

/// A deterministic stream of numbers: splitmix64 (Steele, Lea and Flood, 2014, figure 15).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number, below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }
}

/// The first keys of anvil's well-known development mnemonic.
pub const KEYS: [&str; 3] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
];

pub fn signer(index: usize) -> PrivateKeySigner {
    KEYS[index].parse().unwrap()
}

/// Mines empty blocks, few enough per request that none times out on a busy machine.
pub async fn mine(client: &L1Client, blocks: u64) {
    use alloy::providers::ext::AnvilApi;
    const A_REQUEST: u64 = 50;
    for from in (0..blocks).step_by(A_REQUEST as usize) {
        let count = A_REQUEST.min(blocks - from);
        client.provider().anvil_mine(Some(count), None).await.unwrap();
    }
}

/// Replaces the last `depth` blocks with empty ones. Their transactions are dropped.
pub async fn reorg(client: &L1Client, depth: u64) {
    use alloy::providers::ext::AnvilApi;
    use alloy::rpc::types::anvil::ReorgOptions;
    client.provider().anvil_reorg(ReorgOptions { depth, tx_block_pairs: vec![] }).await.unwrap();
}

/// A sender that polls often, with its file in `folder`.
pub async fn sender(client: &L1Client, folder: &Path, index: usize) -> TxSender {
    let config = SenderConfig { poll_interval: Duration::from_millis(10), ..Default::default() };
    let path = folder.join(format!("account-{index}.json"));
    TxSender::open(client.clone(), signer(index), &path, config).await.unwrap()
}

/// Creation code of a contract that returns one word for every call.
pub fn constant_contract(word: u8) -> Bytes {
    let runtime = [0x60, word, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3];
    [&hex!("6008600a5f3960085ff30000")[..10], &runtime[..]].concat().into()
}

/// Long enough that no test leaves a slot by mining blocks.
pub const SLOT_SECONDS: u32 = 10_000;

/// A rollup of account 0 with a verifier that always returns `answer`, in slot 0, with four slots per
/// epoch.
pub struct Network {
    pub client: L1Client,
    pub sender: TxSender,
    pub rollup: RollupContract,
    pub folder: tempfile::TempDir,
    /// The L1 block before the rollup's.
    pub start: u64,
    /// Unix second at which slot 0 starts.
    pub genesis_time: u64,
}

impl Network {
    pub async fn on(client: L1Client, answer: bool, window: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sender = sender(&client, folder.path(), 0).await;
        let verifier = deploy(&sender, "verifier", constant_contract(answer.into())).await.unwrap();
        let now = client.latest().await.unwrap();
        let parameters = Parameters {
            genesisArchiveRoot: B256::with_last_byte(0x9e),
            vkRoot: B256::with_last_byte(0x77),
            verifier: verifier.address,
            proposer: sender.account(),
            rollupVersion: 3,
            protocolVersion: 2,
            genesisTime: now.timestamp,
            slotSeconds: SLOT_SECONDS,
            slotsPerEpoch: 4,
            proofWindowL1Blocks: window,
        };
        let deployed = deploy_rollup(&sender, "rollup", &parameters).await.unwrap();
        let rollup = client.rollup(deployed.address).await.unwrap();
        assert_eq!(rollup.parameters().await.unwrap(), parameters);
        let start = deployed.receipt.block_number - 1;
        Self { client, sender, rollup, folder, start, genesis_time: now.timestamp }
    }

    /// Lets time pass until L1 is in `slot`, by one L1 block; does nothing when it is there already.
    pub async fn at(&self, slot: u64) {
        use alloy::providers::ext::AnvilApi;
        let start = self.genesis_time + slot * u64::from(SLOT_SECONDS);
        let now = self.client.latest().await.unwrap().timestamp;
        if now < start {
            let provider = self.client.provider();
            provider.anvil_set_next_block_timestamp(start).await.unwrap();
            provider.anvil_mine(Some(1), None).await.unwrap();
        }
        assert!(now < start + u64::from(SLOT_SECONDS), "slot {slot} is over");
    }

    /// The next block in `slot`, with made-up roots, when L1 is in that slot.
    pub async fn next(&self, slot: u64) -> ProposeArgs {
        self.at(slot).await;
        let tips = self.rollup.tips().await.unwrap();
        let previous = self.rollup.block_record(tips.pending).await.unwrap();
        ProposeArgs {
            blockNumber: tips.pending + 1,
            slot,
            previousArchiveRoot: previous.archiveRoot,
            archiveRoot: B256::from(U256::from(1_000 + slot)),
            headerHash: B256::from(U256::from(2_000 + slot)),
            coinbase: Address::with_last_byte(0xcb),
            totalFees: 77,
        }
    }

    pub async fn propose(&self, slot: u64, data: &[u8]) -> TxReceipt {
        let args = self.next(slot).await;
        self.call(&format!("propose-{slot}"), abi::propose_calldata(args, data.to_vec())).await
    }

    pub async fn prove(&self, first: u64, last: u64) -> TxReceipt {
        let call = abi::submit_calldata(range(first, last), vec![7; 64]);
        self.call(&format!("prove-{last}"), call).await
    }

    pub async fn call(&self, id: &str, input: Bytes) -> TxReceipt {
        let receipt =
            self.sender.send(TxRequest::call(id, self.rollup.address(), input)).await.unwrap();
        assert!(receipt.succeeded, "{id} reverted");
        receipt
    }
}

pub fn range(first: u64, last: u64) -> EpochArgs {
    EpochArgs {
        firstBlock: first,
        lastBlock: last,
        prover: Address::with_last_byte(0x1d),
        outHash: B256::ZERO,
        numConstraints: 4242,
        pair: std::array::from_fn(|i| U256::from(i)),
    }
}
