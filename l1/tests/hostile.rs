//! Proposals that are not sent as a plain account's own transaction: whoever sends the proposer's signed block,
//! through whatever account, it lands once, and followers follow it.

use alloy::eips::eip7702::Authorization;
use alloy::network::EthereumWallet;
use alloy::primitives::{Address, Bytes, U256};
use alloy::providers::{Provider, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::SignerSync;
use alloy::sol_types::SolCall;
use rollmill_l1::{Follower, L1Event, abi, attest, deploy};
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
        let network = Network::on(anvil.client().await, true, 100_000).await;
        let client = network.client.clone();
        let follower = Follower::start(client, network.followed(), network.start).await.unwrap();
        Self { network, anvil, follower }
    }

    /// Sends from account `index`. Returns whether the transaction succeeded.
    async fn send(&self, index: usize, request: TransactionRequest) -> bool {
        let wallet = EthereumWallet::from(signer(index));
        let url = self.anvil.url.parse().unwrap();
        let provider = ProviderBuilder::new()
            .wallet(wallet)
            .connect_reqwest(rollmill_net::untimed_http_client(), url);
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

    /// Requires of a proposal by `request` that it lands as block `number`.
    async fn is_followed(&mut self, index: usize, request: TransactionRequest, number: u64) {
        assert!(self.send(index, request).await, "the transaction reverted");
        let events = self.follower.poll().await.unwrap();
        let [L1Event::BlockProposed(event)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(event.block_number, number);
    }

    async fn calldata(&self, slot: u64) -> Bytes {
        self.network.proposal(self.network.next(slot).await).await
    }
}

#[tokio::test]
async fn a_proposal_through_a_contract_lands() {
    let mut hostile = Hostile::new().await;
    let rollup = hostile.network.rollup.address();
    let through = deploy(&hostile.network.sender, "forwarder", forwarder(rollup, 1)).await.unwrap();
    // By the proposer's own account, and by a stranger's.
    for (number, index) in [(1, 0), (2, 1)] {
        let data = hostile.calldata(number).await;
        let call = TransactionRequest::default().to(through.address).input(data.into());
        hostile.is_followed(index, call.clone(), number).await;
        // The same again is another block in the same slot.
        hostile.is_rejected(index, call).await;
    }
}

#[tokio::test]
async fn a_proposal_through_a_delegated_account_lands() {
    let mut hostile = Hostile::new().await;
    let rollup = hostile.network.rollup.address();
    let code = deploy(&hostile.network.sender, "forwarder", forwarder(rollup, 1)).await.unwrap();
    hostile.delegate(code.address).await;
    let account = signer(0).address();
    // The account calls itself, a stranger calls it, and it calls the rollup while it is delegated.
    for (number, index, to) in [(1, 0, account), (2, 1, account), (3, 0, rollup)] {
        let data = hostile.calldata(number).await;
        let call = TransactionRequest::default().to(to).input(data.into());
        hostile.is_followed(index, call, number).await;
    }
}

/// Goal: nobody proposes in another's name. Method: the stranger signs, or changes what was signed.
#[tokio::test]
async fn a_proposal_without_the_proposers_signature_is_rejected() {
    let mut hostile = Hostile::new().await;
    let rollup = hostile.network.rollup.address();
    let honest = hostile.calldata(1).await;
    let args = hostile.network.next(1).await;
    let mut changed = abi::Rollup::proposeCall::abi_decode(&honest).unwrap();
    changed.args.coinbase = signer(1).address();
    let link = abi::word(&hostile.network.link(&args).await.chain());
    let digest = attest::block_digest(CHAIN_ID, rollup, 1, 1, link);
    let signature = signer(1).sign_hash_sync(&digest).unwrap();
    let stranger = attest::attestations(&[(signer(1).address(), Some(signature))]);
    let absent = attest::attestations(&[(signer(0).address(), None)]);
    for input in [
        changed.abi_encode().into(),
        abi::propose_calldata(args.clone(), stranger, abi::no_data()),
        abi::propose_calldata(args, absent, abi::no_data()),
    ] {
        let call = TransactionRequest::default().to(rollup).input(Bytes::into(input));
        hostile.is_rejected(1, call).await;
    }
    hostile.is_followed(1, TransactionRequest::default().to(rollup).input(honest.into()), 1).await;
}

#[tokio::test]
async fn two_proposals_for_one_slot_in_one_transaction_are_rejected() {
    let mut hostile = Hostile::new().await;
    let rollup = hostile.network.rollup.address();
    let code = deploy(&hostile.network.sender, "batch", forwarder(rollup, 2)).await.unwrap();
    let data = hostile.calldata(1).await;
    let twice = Bytes::from([&data[..], &data[..]].concat());
    let call = TransactionRequest::default().to(code.address).input(twice.into());
    hostile.is_rejected(0, call).await;
    hostile.is_followed(0, TransactionRequest::default().to(rollup).input(data.into()), 1).await;
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
        let getter = abi::Rollup::tipsCall::SELECTOR.repeat(parts.into());
        let call = TransactionRequest::default().to(code.address);
        assert!(hostile.send(1, call.clone().input(Bytes::from(getter).into())).await);
        let nothing = Bytes::from([0xff; 4].repeat(parts.into()));
        assert!(!hostile.send(1, call.input(nothing.into())).await);
    }
}
