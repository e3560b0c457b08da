//! Proposals that are not sent as a plain account's own transaction: L1 rejects each, and followers
//! continue.

use alloy::eips::eip7702::Authorization;
use alloy::network::EthereumWallet;
use alloy::primitives::{Address, Bytes, U256};
use alloy::providers::{Provider, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::SignerSync;
use alloy::sol_types::SolCall;
use rollmill_l1::{Follower, L1Event, abi, deploy};
use rollmill_l1_testing::{Anvil, CHAIN_ID, Network, signer};

/// Memory for two proposals of a few bytes.
const GAS: u64 = 1_000_000;

/// Creation code of a contract that calls `target` with its own calldata, in `parts` equal parts one
/// after the other, and reverts with what a failed call returned.
fn forwarder(target: Address, parts: u8) -> Bytes {
    // calldatacopy(0, 0, calldatasize)
    let mut code = vec![0x36, 0x5f, 0x5f, 0x37];
    // PUSH1 parts, CALLDATASIZE, DIV: the length of a part
    let length = [0x60, parts, 0x36, 0x04];
    for part in 0..parts {
        // call(gas, target, 0, part * length, length, 0, 0)
        code.extend([0x5f, 0x5f]);
        code.extend(length);
        code.extend(length);
        code.extend([0x60, part, 0x02, 0x5f, 0x73]);
        code.extend(target.as_slice());
        code.extend([0x5a, 0xf1]);
        // On after a success, else returndatacopy(0, 0, returndatasize), revert(0, returndatasize)
        let next = u8::try_from(code.len() + 10).unwrap();
        code.extend([0x60, next, 0x57, 0x3d, 0x5f, 0x5f, 0x3e, 0x3d, 0x5f, 0xfd, 0x5b]);
    }
    code.push(0x00);
    let size = u8::try_from(code.len()).unwrap();
    // codecopy(0, 11, size), return(0, size)
    let creation = [0x60, size, 0x60, 0x0b, 0x5f, 0x39, 0x60, size, 0x5f, 0xf3, 0x00];
    [&creation[..], &code].concat().into()
}

struct Hostile {
    network: Network,
    anvil: Anvil,
    follower: Follower,
}

impl Hostile {
    async fn new() -> Self {
        let anvil = Anvil::start();
        let network = Network::on(anvil.client().await, true, 1000).await;
        let client = network.client.clone();
        let follower =
            Follower::start(client, network.rollup.address(), network.start).await.unwrap();
        Self { network, anvil, follower }
    }

    /// Sends from account `index`. Returns whether the transaction succeeded.
    async fn send(&self, index: usize, request: TransactionRequest) -> bool {
        let wallet = EthereumWallet::from(signer(index));
        let url = self.anvil.url.parse().unwrap();
        let provider = ProviderBuilder::new().wallet(wallet).connect_http(url);
        let request = request.gas_limit(GAS);
        let pending = provider.send_transaction(request).await.unwrap();
        pending.get_receipt().await.unwrap().status()
    }

    /// Lets the proposer's account run the code of `target` (EIP-7702), or its own none again.
    async fn delegate(&self, target: Address) {
        let account = signer(0).address();
        let nonce = self.network.client.provider().get_transaction_count(account).await.unwrap();
        // The transaction itself uses a nonce before the authorisation is checked.
        let authorization =
            Authorization { chain_id: U256::from(CHAIN_ID), address: target, nonce: nonce + 1 };
        let signature = signer(0).sign_hash_sync(&authorization.signature_hash()).unwrap();
        let mut request = TransactionRequest::default().to(Address::with_last_byte(0xee));
        request.authorization_list = Some(vec![authorization.into_signed(signature)]);
        assert!(self.send(0, request).await);
        let code = self.network.client.provider().get_code_at(account).await.unwrap();
        assert_eq!(code.len(), if target == Address::ZERO { 0 } else { 23 });
    }

    /// Requires of a proposal by `request`: no success, nothing on L1, no event for a follower.
    async fn is_rejected(&mut self, index: usize, request: TransactionRequest) {
        let before = self.network.rollup.tips().await.unwrap().pending;
        assert!(!self.send(index, request).await, "the transaction succeeded");
        assert_eq!(self.network.rollup.tips().await.unwrap().pending, before);
        assert_eq!(self.follower.poll().await.unwrap(), []);
    }

    /// An honest proposal lands and is followed with its data.
    async fn goes_on(&mut self, slot: u64) {
        self.network.propose(slot, b"honest").await;
        let events = self.follower.poll().await.unwrap();
        let [L1Event::BlockProposed(event)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((event.slot, event.data.as_ref()), (slot, Ok(&Bytes::from("honest"))));
    }

    async fn calldata(&self, slot: u64) -> Bytes {
        abi::propose_calldata(self.network.next(slot).await, b"hostile".to_vec())
    }
}

#[tokio::test]
async fn a_proposal_through_a_contract_is_rejected() {
    let mut hostile = Hostile::new().await;
    let rollup = hostile.network.rollup.address();
    let through = deploy(&hostile.network.sender, "forwarder", forwarder(rollup, 1)).await.unwrap();
    let data = hostile.calldata(1).await;
    // By the proposer's own account, and by a stranger's.
    for index in [0, 1] {
        let call = TransactionRequest::default().to(through.address).input(data.clone().into());
        hostile.is_rejected(index, call).await;
    }
    hostile.goes_on(1).await;
}

#[tokio::test]
async fn a_proposal_through_a_delegated_account_is_rejected() {
    let mut hostile = Hostile::new().await;
    let rollup = hostile.network.rollup.address();
    let code = deploy(&hostile.network.sender, "forwarder", forwarder(rollup, 1)).await.unwrap();
    hostile.delegate(code.address).await;
    let account = signer(0).address();
    let data = hostile.calldata(1).await;
    // The account calls itself, a stranger calls it, and it calls the rollup while it is delegated.
    for (index, to) in [(0, account), (1, account), (0, rollup)] {
        let call = TransactionRequest::default().to(to).input(data.clone().into());
        hostile.is_rejected(index, call).await;
    }
    hostile.delegate(Address::ZERO).await;
    hostile.goes_on(1).await;
}

#[tokio::test]
async fn two_proposals_in_one_transaction_are_rejected() {
    let mut hostile = Hostile::new().await;
    let rollup = hostile.network.rollup.address();
    let code = deploy(&hostile.network.sender, "batch", forwarder(rollup, 2)).await.unwrap();
    let first = hostile.network.next(1).await;
    let mut second = first.clone();
    (second.blockNumber, second.previousArchiveRoot) = (first.blockNumber + 1, first.archiveRoot);
    let calls = [first, second].map(|args| abi::propose_calldata(args, b"hostile".to_vec()));
    let data: Bytes = calls.concat().into();
    let call = |to| TransactionRequest::default().to(to).input(data.clone().into());
    hostile.is_rejected(0, call(code.address)).await;
    hostile.delegate(code.address).await;
    hostile.is_rejected(0, call(signer(0).address())).await;
    hostile.delegate(Address::ZERO).await;
    hostile.goes_on(1).await;
}

/// Goal: the forwarder above does forward, so that the rejections are the rollup's.
#[tokio::test]
async fn the_forwarder_forwards_and_tells_a_failure() {
    let hostile = Hostile::new().await;
    let sender = &hostile.network.sender;
    let rollup = hostile.network.rollup.address();
    for parts in [1, 2] {
        let name = format!("forwarder-{parts}");
        let code = deploy(sender, &name, forwarder(rollup, parts)).await.unwrap();
        // A getter that any caller may ask, once in each part, and a function that there is not.
        let getter = abi::Rollup::pendingTipCall::SELECTOR.repeat(parts.into());
        let call = TransactionRequest::default().to(code.address);
        assert!(hostile.send(1, call.clone().input(Bytes::from(getter).into())).await);
        let nothing = Bytes::from([0xff; 4].repeat(parts.into()));
        assert!(!hostile.send(1, call.input(nothing.into())).await);
    }
}
