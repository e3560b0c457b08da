//! Following a rollup through events and reorgs.

use std::time::Duration;

use alloy::primitives::U256;
use alloy::primitives::{Address, B256, Bytes};
use rollmill_l1::{
    Followed, Follower, L1Client, L1Event, MessageKind, Pruned, TxRequest, abi, attest,
};
use rollmill_l1_testing as support;
use rollmill_l1_testing::proxy::{self, Fault, Proxy};
use rollmill_l1_testing::{
    Anvil, CHAIN_ID, Network, SLOT_SECONDS, SLOTS_PER_EPOCH, mine, range, reorg,
};
use rollmill_protocol::Fr;

async fn follower(network: &Network) -> Follower {
    let client = network.client.clone();
    Follower::start(client, network.followed(), network.start).await.unwrap()
}

/// The next `count` events, in any number of polls: a node that mines by itself responds to a
/// transaction before it has mined it.
async fn next(follower: &mut Follower, count: usize) -> Vec<L1Event> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(follower.next(Duration::from_millis(10)).await.unwrap());
    }
    events
}

/// Numbers of the blocks that the events propose, and of those that they prove up to.
fn summary(events: &[L1Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| match event {
            L1Event::BlockProposed(e) => format!("proposed {} in {}", e.block_number, e.slot),
            L1Event::MessageSent(e) => format!("message {} for {}", e.index, e.block),
            L1Event::EpochProven(e) => format!("proven {}", e.last_block),
            L1Event::Pruned(e) => format!("pruned {} to {}", e.pruned_tip, e.proven_tip),
            L1Event::Rewind { to } => format!("rewind {}", to.number),
        })
        .collect()
}

#[tokio::test]
async fn events_come_in_order() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 100_000).await;
    let mut follower = follower(&network).await;
    network.propose(1).await;
    network.propose(3).await;
    let proven = network.prove(0, 2).await;
    network.propose(4).await;

    let events = follower.poll().await.unwrap();
    assert_eq!(
        summary(&events),
        ["proposed 1 in 1", "proposed 2 in 3", "proven 2", "proposed 3 in 4"]
    );
    let L1Event::EpochProven(event) = &events[2] else { unreachable!() };
    assert_eq!(event.place.tx_hash, proven.tx_hash);
    assert_eq!(event.place.block.number, proven.block_number);
    assert_eq!((event.epoch, event.first_block, event.first_added), (0, 1, 1));
    assert_eq!((event.delta, event.is_late), (4244, false));
    assert_eq!(event.prover, Address::with_last_byte(0x1d));
    let L1Event::BlockProposed(event) = &events[0] else { unreachable!() };
    assert_eq!((event.slot, event.total_fees, event.tx_count, event.signers), (1, 77, 0, 1));
    assert_eq!((event.versioned_hash, event.commitment.len()), (B256::ZERO, 0));

    assert!(follower.poll().await.unwrap().is_empty());
    let tips = network.rollup.tips().await.unwrap();
    assert_eq!((tips.pending, tips.proven), (3, 2));
    let record = network.rollup.epoch_record(0).await.unwrap();
    assert_eq!((record.lastProven.to::<u64>(), record.constraintsPaid), (2, 4244));
}

/// Goal: messages come with the blocks, of both kinds, and with the leaf that the protocol computes.
#[tokio::test]
async fn messages_are_events_with_the_protocols_leaves() {
    use alloy::sol_types::SolCall;
    use rollmill_protocol::message;
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 100_000).await;
    let mut follower = follower(&network).await;
    let send = |id: &'static str, to: Address, input: Vec<u8>| {
        let request = TxRequest::call(id, to, input.into());
        let sender = &network.sender;
        async move { assert!(sender.send(request).await.unwrap().succeeded, "{id}") }
    };
    let word = |n: u64| B256::from(U256::from(n));
    let (inbox, portal) = (network.info.contracts.inbox, network.info.contracts.feePortal);
    let general =
        abi::Inbox::sendCall { recipient: word(5), content: word(6), secretHash: word(7) };
    send("general", inbox, general.abi_encode()).await;
    let amount = U256::from(3_000_000_000_u64);
    let approve = abi::AztToken::approveCall { spender: portal, value: amount };
    send("approve", network.token, approve.abi_encode()).await;
    let deposit = abi::FeePortal::depositCall { to: word(9), amount };
    send("deposit", portal, deposit.abi_encode()).await;
    network.propose(1).await;

    let events = follower.poll().await.unwrap();
    assert_eq!(summary(&events), ["message 64 for 2", "message 65 for 2", "proposed 1 in 1"]);
    let [L1Event::MessageSent(general), L1Event::MessageSent(deposit), _] = &events[..] else {
        unreachable!()
    };
    let sender = network.sender.account();
    let kind =
        MessageKind::General { sender, recipient: word(5), content: word(6), secret_hash: word(7) };
    assert_eq!(general.kind, kind);
    let [five, six, seven, nine] = [5u64, 6, 7, 9].map(Fr::from);
    let from = rollmill_protocol::EthAddress(sender.into_array());
    let leaf = message::message_in(from, &five, &six, &seven, 64);
    assert_eq!(general.leaf, abi::word(&leaf));
    assert_eq!(deposit.kind, MessageKind::Deposit { to: word(9), units: word(3) });
    assert_eq!(deposit.leaf, abi::word(&message::deposit_leaf(&nine, 3, 65)));
    // Block 1 was proposed, so block 2 takes these two, and what comes now goes to block 3.
    let hash = abi::Inbox::new(inbox, network.client.provider().clone());
    let hash = hash.hashOf(2).call().await.unwrap();
    let leaves = [general, deposit].map(|event| abi::element(&event.leaf).unwrap());
    assert_eq!(hash, abi::word(&message::in_hash(&leaves)));
}

/// Goal: the contract's link, config hash and digest are those of the protocol.
#[tokio::test]
async fn contract_and_protocol_compute_the_same_chain() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 100_000).await;
    assert_eq!(network.info.config_hash, network.config.hash());
    for slot in [1, 2, 9] {
        let args = network.next(slot).await;
        let chain = abi::word(&network.link(&args).await.chain());
        let number = args.blockNumber;
        let digest = attest::block_digest(CHAIN_ID, network.rollup.address(), number, slot, chain);
        assert_eq!(network.rollup.block_digest(number, slot, chain).await.unwrap(), digest);
        let call = network.proposal(args).await;
        network.call(&format!("propose-{slot}"), call).await;
        assert_eq!(network.rollup.block_record(number).await.unwrap().chain, chain);
    }
}

/// Goal: a reorg is reported before the events that replace others, and a dropped proposal comes back
/// through the sender while its slot lasts. Method: replace the block of a proposal with an empty one.
#[tokio::test]
async fn a_reorg_rewinds_and_the_sender_brings_the_blocks_back() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 100_000).await;
    let mut follower = follower(&network).await;
    network.propose(1).await;
    let second = network.propose(2).await;
    assert_eq!(follower.poll().await.unwrap().len(), 2);

    reorg(&network.client, 1).await;
    let events = follower.poll().await.unwrap();
    assert_eq!(summary(&events), [format!("rewind {}", second.block_number - 1)]);
    assert_eq!(network.rollup.tips().await.unwrap().pending, 1);

    network.sender.tick().await.unwrap();
    let events = next(&mut follower, 1).await;
    assert_eq!(summary(&events), ["proposed 2 in 2"]);
    assert_eq!(network.rollup.tips().await.unwrap().pending, 2);
}

#[tokio::test]
async fn a_reorg_below_the_start_and_a_shortened_chain_rewind_too() {
    use alloy::providers::ext::AnvilApi;
    let anvil = Anvil::start();
    let client = anvil.client().await;
    mine(&client, 5).await;
    let network = Network::on(client, true, 100_000).await;
    let mut follower = follower(&network).await;
    network.propose(1).await;
    assert_eq!(follower.poll().await.unwrap().len(), 1);

    let head = network.client.latest().await.unwrap().number;
    network.client.provider().anvil_rollback(Some(1)).await.unwrap();
    // An endpoint that lags looks the same, so what comes next decides.
    assert_eq!(follower.poll().await.unwrap_err().code(), "L1-024");
    assert_eq!(follower.tip().number, head);
    mine(&network.client, 1).await;
    assert_eq!(summary(&follower.poll().await.unwrap()), [format!("rewind {}", head - 1)]);
    reorg(&network.client, 6).await;
    assert_eq!(summary(&follower.poll().await.unwrap()), [format!("rewind {}", head - 6)]);
    // The deployments were dropped as well. All of it comes back, in order, in the same slot.
    network.at(1).await;
    network.sender.tick().await.unwrap();
    assert_eq!(summary(&next(&mut follower, 1).await), ["proposed 1 in 1"]);
}

#[tokio::test]
async fn a_follower_that_was_stopped_notices_a_reorg_when_it_goes_on() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 100_000).await;
    let mut before = follower(&network).await;
    network.propose(1).await;
    let second = network.propose(2).await;
    before.poll().await.unwrap();
    let (tip, trail) = (before.tip(), before.trail());
    drop(before);

    reorg(&network.client, 1).await;
    mine(&network.client, 3).await;
    let mut after = Follower::resume(network.client.clone(), network.followed(), tip, &trail);
    let events = after.poll().await.unwrap();
    assert_eq!(summary(&events), [format!("rewind {}", second.block_number - 1)]);
    assert_eq!(after.tip().number, network.client.latest().await.unwrap().number);
}

/// Goal: history is caught up in spans, and only blocks that L1 may replace are remembered.
#[tokio::test]
async fn final_blocks_are_followed_in_spans_and_forgotten() {
    let anvil = Anvil::with(&["--slots-in-an-epoch", "1"]);
    let network = Network::on(anvil.client().await, true, 100_000).await;
    network.propose(1).await;
    mine(&network.client, 2500).await;
    network.propose(2).await;
    mine(&network.client, 40).await;
    network.propose(3).await;

    let follower = Follower::start(network.client.clone(), network.followed(), 0);
    let mut follower = follower.await.unwrap();
    let mut seen = Vec::new();
    while follower.tip().number < network.client.latest().await.unwrap().number {
        seen.extend(summary(&follower.poll().await.unwrap()));
    }
    assert_eq!(seen, ["proposed 1 in 1", "proposed 2 in 2", "proposed 3 in 3"]);
    let finalized = follower.finalized().unwrap().number;
    let trail = follower.trail();
    assert!(trail.len() <= 4, "{trail:?}");
    assert!(trail[0].number <= finalized && trail[1].number > finalized, "{trail:?}");
}

#[tokio::test]
async fn another_chain_under_a_stored_position_is_rejected() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let mut tip = client.latest().await.unwrap();
    tip.hash = B256::repeat_byte(0xee);
    let nobody = Followed { rollup: Address::ZERO, inbox: Address::ZERO };
    let mut follower = Follower::resume(client, nobody, tip, &[]);
    assert_eq!(follower.poll().await.unwrap_err().code(), "L1-006");
}

#[tokio::test]
async fn a_missed_deadline_is_reported_and_a_verifiers_no_moves_nothing() {
    let anvil = Anvil::start();
    let window = 2 * SLOT_SECONDS;
    let network = Network::on(anvil.client().await, false, window as u32).await;
    let mut follower = follower(&network).await;
    network.propose(1).await;
    network.propose(2).await;

    let call = abi::submit_calldata(range(0, 2), vec![1]);
    let request = TxRequest::call("prove", network.rollup.address(), call);
    let error = network.sender.send(request.clone()).await.unwrap_err();
    assert_eq!(error.code(), "L1-008");
    assert!(error.to_string().contains("ProofRejected"), "{error}");
    // Sent without a simulation, it is included and reverts.
    let unchecked =
        TxRequest { purpose: "prove-unchecked".into(), gas_limit: Some(500_000), ..request };
    let receipt = network.sender.send(unchecked).await.unwrap();
    assert!(!receipt.succeeded);
    assert_eq!(network.rollup.tips().await.unwrap().proven, 0);

    let deadline = || network.rollup.proof_deadline(&network.info);
    let seen = deadline().await.unwrap().unwrap();
    let end = network.config.timestamp(SLOTS_PER_EPOCH).unwrap();
    assert_eq!(
        (seen.epoch, seen.window_end, seen.challenge_end),
        (0, end + window, end + 2 * window)
    );
    network.at_second(seen.challenge_end).await;
    assert!(!deadline().await.unwrap().unwrap().is_prune_due);
    network.at_second(seen.challenge_end + 1).await;
    assert!(deadline().await.unwrap().unwrap().is_prune_due);
    network.call("prune", abi::prune_calldata()).await;
    let events = follower.poll().await.unwrap();
    assert_eq!(summary(&events), ["proposed 1 in 1", "proposed 2 in 2", "pruned 2 to 0"]);
    let Some(L1Event::Pruned(Pruned { epoch, .. })) = events.last() else { unreachable!() };
    assert_eq!(*epoch, 0);
    assert_eq!(deadline().await.unwrap(), None);
}

/// Goal: an epoch whose predecessor was completed late has the grace period, and no longer than to the end of
/// its challenge period.
#[tokio::test]
async fn the_deadline_moves_with_a_late_predecessor() {
    let anvil = Anvil::start();
    let window = SLOT_SECONDS;
    let network = Network::on(anvil.client().await, true, window as u32).await;
    let end = |epoch: u64| network.config.timestamp((epoch + 1) * SLOTS_PER_EPOCH).unwrap();
    network.propose(1).await;
    network.propose(SLOTS_PER_EPOCH).await;
    let deadline = || network.rollup.proof_deadline(&network.info);
    assert_eq!(deadline().await.unwrap().unwrap().window_end, end(0) + window);
    network.prove(0, 1).await;
    let seen = deadline().await.unwrap().unwrap();
    assert_eq!((seen.epoch, seen.window_end), (1, end(1) + window), "the first one was in time");
}

/// Goal: the caller of the contract and the contract agree on all public inputs.
#[tokio::test]
async fn public_inputs_of_an_epoch_are_read_from_the_contract() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 100_000).await;
    network.propose(5).await;
    let record = network.rollup.block_record(1).await.unwrap();
    let inputs = network.rollup.public_inputs(range(1, 1)).await.unwrap();
    let number = |n: u64| B256::from(U256::from(n));
    let info = &network.info;
    let expected = [
        number(CHAIN_ID),
        number(info.version),
        abi::word(&info.vk_root),
        number(2),
        abi::word(&info.config_hash),
        number(0x1d),
        number(0x9e),
        record.archiveRoot,
        number(1),
        number(1),
        number(1),
        number(0),
        record.chain,
        number(4243),
    ];
    assert_eq!(inputs[..14], expected);
    assert_eq!(inputs.len(), 24);
    let error = network.rollup.public_inputs(range(1, 2)).await.unwrap_err();
    assert!(error.to_string().contains("RangeEndWrong"), "{error}");
}

/// A contract that logs what it is called with: three topics, then the log's data.
const EMITTER: [u8; 30] = alloy::primitives::hex!(
    "6014600a5f3960145ff3" "365f5f376040516020515f51606036036060a300"
);

/// The input that makes the emitter log this event.
fn logged<E: alloy::sol_types::SolEvent>(event: &E) -> Bytes {
    let log = event.encode_log_data();
    let topics = log.topics().iter().flat_map(|topic| topic.0);
    topics.chain(log.data.iter().copied()).collect()
}

/// Goal: an event counts only if the contract of its kind emitted it. Method: a contract that logs what it is
/// told stands in for either.
#[tokio::test]
async fn an_event_of_another_contract_is_not_followed() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let sender = support::sender(&client, folder.path(), 0).await;
    let start = client.latest().await.unwrap().number;
    let emitter = rollmill_l1::deploy(&sender, "emitter", EMITTER.into()).await.unwrap().address;
    let proposed = abi::Rollup::BlockProposed {
        blockNumber: 1,
        archiveRoot: B256::repeat_byte(1),
        headerHash: B256::repeat_byte(2),
        chain: B256::repeat_byte(3),
        slot: 1,
        coinbase: Address::ZERO,
        totalFees: 0,
        txCount: 0,
        versionedHash: B256::ZERO,
        z: U256::ZERO,
        y: U256::ZERO,
        commitment: Bytes::new(),
        inHash: B256::ZERO,
        outRoot: B256::ZERO,
        signers: 1,
        proposer: Address::ZERO,
    };
    let request = TxRequest::call("log", emitter, logged(&proposed));
    assert!(sender.send(request).await.unwrap().succeeded);
    let none = Address::repeat_byte(7);
    for (followed, events) in [
        (Followed { rollup: emitter, inbox: none }, 1),
        (Followed { rollup: none, inbox: emitter }, 0),
        (Followed { rollup: none, inbox: none }, 0),
    ] {
        let mut follower = Follower::start(client.clone(), followed, start).await.unwrap();
        assert_eq!(follower.poll().await.unwrap().len(), events, "{followed:?}");
    }
}

/// Goal: a first sync gets through a connection that fails one request in five, and never back.
/// Method: ninety blocks behind a proxy with a printed seed; every poll either moves the position on or
/// reports an error, and all blocks arrive once.
#[tokio::test]
async fn a_first_sync_over_a_failing_endpoint_completes() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 2_000_000).await;
    for slot in 1..=90 {
        network.propose(slot).await;
    }
    let proxy = Proxy::before(&anvil.url).await;
    let client = L1Client::connect(std::slice::from_ref(&proxy.url), CHAIN_ID).await.unwrap();
    proxy.set(Fault::Flaky);
    let followed = network.followed();
    let mut follower = loop {
        if let Ok(follower) = Follower::start(client.clone(), followed, network.start).await {
            break follower;
        }
    };
    let head = network.client.latest().await.unwrap().number;
    let (mut seen, mut errors) = (Vec::new(), 0);
    while follower.tip().number < head {
        let before = follower.tip().number;
        match follower.poll().await {
            Ok(events) => {
                assert!(follower.tip().number > before, "a poll without an error moves on");
                seen.extend(events);
            }
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                assert_eq!(follower.tip().number, before, "an error moves nothing");
                errors += 1;
                assert!(errors < 100, "no progress; seed {}", proxy::SEED);
            }
        }
    }
    let numbers: Vec<u64> = seen
        .iter()
        .filter_map(|event| match event {
            L1Event::BlockProposed(block) => Some(block.block_number),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, (1..=90).collect::<Vec<_>>());
    println!("{} requests failed, {errors} polls, seed {}", proxy.failed(), proxy::SEED);
    assert!(proxy.failed() > 30, "the proxy failed {} requests only", proxy.failed());
}

/// Goal: an endpoint that lags, when the good one fails for a moment, is no reorganisation: nothing is undone, whether
/// the good one does not answer or lags too.
#[tokio::test]
async fn an_endpoint_without_the_followed_blocks_rewinds_nothing() {
    let anvil = Anvil::start();
    let (good, lagging) = (Proxy::before(&anvil.url).await, Proxy::before(&anvil.url).await);
    let urls = [good.url.clone(), lagging.url.clone()];
    let client = L1Client::connect(&urls, CHAIN_ID).await.unwrap();
    mine(&anvil.client().await, 10).await;
    let nobody = Followed { rollup: Address::ZERO, inbox: Address::ZERO };
    let mut follower = Follower::start(client, nobody, 0).await.unwrap();
    assert!(follower.poll().await.unwrap().is_empty());
    assert_eq!(follower.tip().number, 10);

    lagging.set(Fault::Behind);
    good.set(Fault::Down);
    let error = follower.poll().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(follower.tip().number, 10);
    good.set(Fault::None);
    assert!(follower.poll().await.unwrap().is_empty());
    assert_eq!(follower.tip().number, 10);
    good.set(Fault::Behind);
    assert_eq!(follower.poll().await.unwrap_err().code(), "L1-024");
    assert_eq!(follower.tip().number, 10);
}

/// Fault: one URL stands for several servers, and the one that answers lags. Goal: nothing is undone, and the follower
/// goes on where it was when L1 has the blocks again.
#[tokio::test]
async fn a_followed_block_that_is_merely_absent_is_waited_for() {
    let anvil = Anvil::start();
    let proxy = Proxy::before(&anvil.url).await;
    let client = L1Client::connect(std::slice::from_ref(&proxy.url), CHAIN_ID).await.unwrap();
    let direct = anvil.client().await;
    mine(&direct, 10).await;
    let nobody = Followed { rollup: Address::ZERO, inbox: Address::ZERO };
    let mut follower = Follower::start(client, nobody, 0).await.unwrap();
    assert!(follower.poll().await.unwrap().is_empty());

    proxy.set(Fault::Behind);
    for _ in 0..2 {
        let error = follower.poll().await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("L1-024: L1 has no blocks 2 to 10, "), "{text}");
        assert_eq!(follower.tip().number, 10);
    }
    proxy.set(Fault::None);
    mine(&direct, 2).await;
    assert!(follower.poll().await.unwrap().is_empty());
    assert_eq!(follower.tip().number, 12);
}
