//! A development L1 for tests, with a rollup on it.
#![allow(missing_debug_implementations, reason = "no test prints them")]

pub mod anvil;
pub mod blob_source;
pub mod fake;
pub mod pay;
pub mod pool;
pub mod proxy;
pub mod script;
pub mod trial;
pub mod web;

use std::path::Path;
use std::time::Duration;

use alloy::primitives::aliases::{U48, U96};
use alloy::primitives::{Address, B256, Bytes, U256, hex};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolValue;
use rollmill_l1::abi::{EpochArgs, ProposeArgs, Rates};
use rollmill_l1::{
    Chosen, DeploymentInfo, Followed, L1Client, Plan, RollupContract, SenderConfig, Terms,
    TxReceipt, TxRequest, TxSender, abi, attest, deploy, root_key,
};
use rollmill_protocol::gas::{DA_GAS_PER_TX, L2_GAS_PER_TX};
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf, vk_path, vk_tree};
use rollmill_protocol::{ChainLink, Circuit, Config, EthAddress, Fr};

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
pub fn constant_contract(word: B256) -> Bytes {
    // PUSH32 word, PUSH0, MSTORE, PUSH1 32, PUSH0, RETURN: 39 bytes, which the first ten copy and return.
    let runtime = [&[0x7f], word.as_slice(), &[0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]].concat();
    [&hex!("6027600a5f3960275ff3")[..], &runtime].concat().into()
}

/// Long enough that no test leaves a slot by mining blocks.
pub const SLOT_SECONDS: u64 = 10_000;
/// Slots of an epoch.
pub const SLOTS_PER_EPOCH: u64 = 4;

/// The parameters of [`Network`], with slot 0 at `genesis_time`.
pub fn config(genesis_time: u64) -> Config {
    Config {
        genesis_time,
        slot_seconds: SLOT_SECONDS,
        slots_per_epoch: SLOTS_PER_EPOCH,
        l2_gas_limit: 32 * L2_GAS_PER_TX,
        l2_gas_target: 16 * L2_GAS_PER_TX,
        da_gas_limit: 32 * DA_GAS_PER_TX,
        da_gas_target: 16 * DA_GAS_PER_TX,
        min_fee_per_gas: 1,
        message_subtree_height: 6,
    }
}

/// Rates that pay for proofs and need no bond.
pub fn rates() -> Rates {
    Rates {
        feePerConstraint: 1,
        blockReward: U96::from(1_000),
        proposerBps: 8_000,
        attesterBps: 2_000,
        proverBps: 0,
        challengeShareBps: 5_000,
        committeeSize: 4,
        bondAmount: U96::ZERO,
        minStake: U96::from(1),
    }
}

/// Leaves of both root circuits whose verifiers state this digest.
pub fn root_leaves(vk_digest: Fr) -> Vec<VkLeaf> {
    let leaf = |circuit: Circuit| VkLeaf {
        circuit,
        vk_digest,
        log_n: 17,
        n_public_inputs: circuit.n_public() as u64,
        charged_rows: 7,
        protocol_version: PROTOCOL_VERSION,
    };
    [Circuit::EpochRoot1, Circuit::EpochRoot2].map(leaf).into()
}

/// What a deployment is made from.
pub struct Setup<'a> {
    /// Leaves of the key tree, those of both root circuits among them. A root verifier answers with its digest,
    /// whatever it is asked: 1 accepts every proof, 0 none.
    pub leaves: &'a [VkLeaf],
    /// Seconds after an epoch in which a proof is in time, and those of the challenge period after it.
    pub window: u32,
    pub config: Config,
    /// The committee, in order. Without members, committees are drawn from stakers.
    pub members: Vec<Address>,
    /// Root of the archive at genesis, for the rollup's address and the root of the key tree.
    pub genesis: &'a dyn Fn(EthAddress, Fr) -> Fr,
}

/// A rollup that account 0 has deployed, in slot 0.
pub struct Network {
    pub client: L1Client,
    pub sender: TxSender,
    pub rollup: RollupContract,
    pub info: DeploymentInfo,
    pub config: Config,
    pub token: Address,
    pub folder: tempfile::TempDir,
    /// The L1 block before the first contract's.
    pub start: u64,
}

impl Network {
    /// A rollup whose committee is account 0, with verifiers that return `answer` for every call.
    pub async fn on(client: L1Client, answer: bool, window: u32) -> Self {
        let now = client.latest().await.unwrap();
        let setup = Setup {
            leaves: &root_leaves(Fr::from(u64::from(answer))),
            window,
            config: config(now.timestamp),
            members: vec![signer(0).address()],
            genesis: &|_, _| Fr::from(0x9eu64),
        };
        Self::with(client, setup).await
    }

    /// Deploys the contracts, with a token and a contract in the timelock's place that only they use.
    pub async fn with(client: L1Client, setup: Setup<'_>) -> Self {
        Self::governed(client, setup, None).await
    }

    /// [`Self::with`], under this timelock and with this token.
    pub async fn governed(
        client: L1Client,
        setup: Setup<'_>,
        given: Option<(Address, Address)>,
    ) -> Self {
        let Setup { leaves, window, config, members, genesis } = setup;
        let folder = tempfile::tempdir().unwrap();
        let sender = sender(&client, folder.path(), 0).await;
        let start = client.latest().await.unwrap().number;
        let made = |id: String, code: Bytes| {
            let sender = &sender;
            async move { deploy(sender, &id, code).await.unwrap().address }
        };
        let levels = vk_tree(leaves);
        let vk_root = levels[VK_TREE_HEIGHT][0];
        let mut root_keys = Vec::new();
        for circuit in [Circuit::EpochRoot1, Circuit::EpochRoot2] {
            let leaf = leaves.iter().find(|leaf| leaf.circuit == circuit).unwrap();
            let code = constant_contract(abi::word(&leaf.vk_digest));
            let verifier = made(format!("verifier/{}", circuit.name()), code).await;
            let path = vk_path(&levels, circuit);
            root_keys.push(root_key(verifier, leaf.charged_rows, &path).unwrap());
        }
        let [one_block, more_blocks] = root_keys.try_into().unwrap();
        let timelock = match given {
            Some((timelock, _)) => timelock,
            None => made("timelock".into(), constant_contract(B256::with_last_byte(1))).await,
        };
        let code = abi::BlobAvailability::BYTECODE.clone();
        let data_availability = made("data".into(), code).await;
        let code = abi::creation(&abi::FixedCommittee::BYTECODE, &members.abi_encode());
        let selection = match members.is_empty() {
            true => Chosen::Staking,
            false => Chosen::Existing(made("selection".into(), code).await),
        };
        let supply = (timelock, sender.account(), U256::from(10).pow(U256::from(24))).abi_encode();
        let code = abi::creation(&abi::AztToken::BYTECODE, &supply);
        let token = match given {
            Some((_, token)) => token,
            None => made("token".into(), code).await,
        };
        let plan = Plan::new(&sender, "test").await.unwrap();
        let rollup = EthAddress(plan.rollup().into_array());
        let terms = Terms {
            genesis_archive_root: genesis(rollup, vk_root),
            vk_root,
            config,
            one_block,
            more_blocks,
            proof_window_seconds: window,
            challenge_seconds: window,
            proof_grace_seconds: window,
            max_unproven_epochs: 128,
            data_availability,
            token,
            timelock,
            selection,
            rates: rates(),
        };
        let deployed = plan.deploy(&sender, "test", &terms).await.unwrap();
        assert_eq!(deployed.address, plan.rollup());
        let rollup = client.rollup(deployed.address).await.unwrap();
        let info = rollup.info().await.unwrap();
        assert_eq!(info.version, plan.version(CHAIN_ID, &vk_root, &terms.config));
        assert_eq!(info.config_hash, terms.config.hash());
        Self { client, sender, rollup, info, config, token, folder, start }
    }

    /// The contracts that a follower follows.
    pub fn followed(&self) -> Followed {
        Followed { rollup: self.rollup.address(), inbox: self.info.contracts.inbox }
    }

    /// Replaces the rates, as the timelock would.
    pub async fn set_rates(&self, next: Rates) {
        use alloy::providers::Provider;
        use alloy::providers::ext::AnvilApi;
        use alloy::rpc::types::TransactionRequest;
        use alloy::sol_types::SolCall;
        let provider = self.client.provider();
        let registry = abi::Registry::new(self.info.contracts.registry, provider.clone());
        let timelock = registry.TIMELOCK().call().await.unwrap();
        provider.anvil_set_balance(timelock, U256::from(10).pow(U256::from(18))).await.unwrap();
        provider.anvil_impersonate_account(timelock).await.unwrap();
        let call = Bytes::from(abi::Registry::setRatesCall { next }.abi_encode());
        let request = TransactionRequest::default().from(timelock).to(*registry.address());
        let sent = provider.send_transaction(request.input(call.into())).await.unwrap();
        assert!(sent.get_receipt().await.unwrap().status(), "the rates are out of bounds");
    }

    /// Lets time pass until L1 is in `slot`, by one L1 block; does nothing when it is there already.
    pub async fn at(&self, slot: u64) {
        let start = self.config.timestamp(slot).unwrap();
        let now = self.client.latest().await.unwrap().timestamp;
        if now < start {
            self.at_second(start).await;
        }
        assert!(now < start + SLOT_SECONDS, "slot {slot} is over");
    }

    /// Mines one L1 block at this Unix second.
    pub async fn at_second(&self, second: u64) {
        use alloy::providers::ext::AnvilApi;
        let provider = self.client.provider();
        provider.anvil_set_next_block_timestamp(second).await.unwrap();
        provider.anvil_mine(Some(1), None).await.unwrap();
    }

    /// The next block in `slot`, without transactions and with made-up roots, when L1 is in that slot.
    pub async fn next(&self, slot: u64) -> ProposeArgs {
        self.at(slot).await;
        let tips = self.rollup.tips().await.unwrap();
        let previous = self.rollup.block_record(tips.pending).await.unwrap();
        ProposeArgs {
            blockNumber: tips.pending + 1,
            slot: U48::from(slot),
            previousArchiveRoot: previous.archiveRoot,
            archiveRoot: B256::from(U256::from(1_000 + slot)),
            headerHash: B256::from(U256::from(2_000 + slot)),
            inHash: B256::ZERO,
            outRoot: B256::ZERO,
            coinbase: Address::with_last_byte(0xcb),
            totalFees: 77,
            txCount: 0,
            feePerL2Gas: 1,
            feePerDaGas: 1,
            l2GasUsed: 0,
            daGasUsed: 0,
        }
    }

    /// The link of a block without transactions.
    pub async fn link(&self, args: &ProposeArgs) -> ChainLink {
        let before = self.rollup.block_record(args.blockNumber - 1).await.unwrap().chain;
        let element = |word: &B256| abi::element(word).unwrap();
        ChainLink {
            chain_before: element(&before),
            header_hash: element(&args.headerHash),
            archive_root: element(&args.archiveRoot),
            slot: args.slot.to(),
            tx_count: args.txCount.into(),
            fee_per_l2_gas: args.feePerL2Gas,
            fee_per_da_gas: args.feePerDaGas,
            coinbase: EthAddress(args.coinbase.into_array()),
            l2_gas_used: args.l2GasUsed,
            da_gas_used: args.daGasUsed,
            total_fees: args.totalFees,
            in_hash: element(&args.inHash),
            out_root: element(&args.outRoot),
            z: Fr::from(0u64),
            y: Default::default(),
            commitment: Default::default(),
        }
    }

    /// The call that proposes a block without transactions, signed by account 0.
    pub async fn proposal(&self, args: ProposeArgs) -> Bytes {
        let chain = abi::word(&self.link(&args).await.chain());
        let (number, slot) = (args.blockNumber, args.slot.to());
        let digest = attest::block_digest(CHAIN_ID, self.rollup.address(), number, slot, chain);
        let signature = signer(0).sign_hash_sync(&digest).unwrap();
        let signed = attest::attestations(&[(signer(0).address(), Some(signature))]);
        abi::propose_calldata(args, signed, abi::no_data())
    }

    pub async fn propose(&self, slot: u64) -> TxReceipt {
        let args = self.next(slot).await;
        let call = self.proposal(args).await;
        self.call(&format!("propose-{slot}"), call).await
    }

    /// Proves an epoch up to block `last`.
    pub async fn prove(&self, epoch: u64, last: u64) -> TxReceipt {
        let call = abi::submit_calldata(range(epoch, last), vec![7; 64]);
        self.call(&format!("prove-{last}"), call).await
    }

    pub async fn call(&self, id: &str, input: Bytes) -> TxReceipt {
        let receipt =
            self.sender.send(TxRequest::call(id, self.rollup.address(), input)).await.unwrap();
        assert!(receipt.succeeded, "{id} reverted");
        receipt
    }
}

/// A proof of an epoch up to block `last`, with more work the longer it is.
pub fn range(epoch: u64, last: u64) -> EpochArgs {
    EpochArgs {
        epoch,
        lastBlock: last,
        prover: Address::with_last_byte(0x1d),
        numConstraints: 4242 + last,
        pair: std::array::from_fn(|i| U256::from(i)),
    }
}
