//! Following a rollup through events and reorgs.

use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes};
use rollmill_l1::{Follower, L1Client, L1Event, Pruned, TxRequest, abi, data_hash};
use rollmill_l1_testing as support;
use rollmill_l1_testing::proxy::{self, Fault, Proxy};
use rollmill_l1_testing::{Anvil, CHAIN_ID, Network, mine, range, reorg};
use rollmill_protocol::{ChainLink, EthAddress, Fr};

async fn follower(network: &Network) -> Follower {
    let client = network.client.clone();
    Follower::start(client, network.rollup.address(), network.start).await.unwrap()
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
            L1Event::BlockProposed(e) => {
                let data = e.data.as_ref().unwrap();
                format!("proposed {} {}", e.block_number, String::from_utf8_lossy(data))
            }
            L1Event::EpochProven(e) => format!("proven {}", e.last_block),
            L1Event::Pruned(e) => format!("pruned {} to {}", e.pruned_tip, e.proven_tip),
            L1Event::Rewind { to } => format!("rewind {}", to.number),
        })
        .collect()
}

#[tokio::test]
async fn events_come_in_order_with_the_data_of_their_transaction() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 1000).await;
    let mut follower = follower(&network).await;
    network.propose(1, b"one").await;
    network.propose(3, b"two").await;
    let proven = network.prove(1, 2).await;
    network.propose(4, b"three").await;

    let events = follower.poll().await.unwrap();
    assert_eq!(
        summary(&events),
        ["proposed 1 one", "proposed 2 two", "proven 2", "proposed 3 three"]
    );
    let L1Event::EpochProven(event) = &events[2] else { unreachable!() };
    assert_eq!(event.place.tx_hash, proven.tx_hash);
    assert_eq!(event.place.block.number, proven.block_number);
    assert_eq!((event.epoch, event.first_block, event.num_constraints), (0, 1, 4242));
    assert_eq!(event.prover, Address::with_last_byte(0x1d));
    let L1Event::BlockProposed(event) = &events[0] else { unreachable!() };
    assert_eq!(event.data_hash, data_hash(b"one"));
    assert_eq!((event.slot, event.total_fees), (1, 77));

    assert!(follower.poll().await.unwrap().is_empty());
    let tips = network.rollup.tips().await.unwrap();
    assert_eq!((tips.pending, tips.proven), (3, 2));
    let record = network.rollup.proof_record(2).await.unwrap();
    assert_eq!(record.prover, Address::with_last_byte(0x1d));
}

/// Goal: the contract's Poseidon2 chain is the one that the node and the circuits compute.
#[tokio::test]
async fn contract_and_protocol_compute_the_same_chain() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 1000).await;
    let mut chain = Fr::from(0u64);
    for slot in [1, 2, 9] {
        let args = network.next(slot).await;
        let call = abi::propose_calldata(args.clone(), vec![slot as u8; 500]);
        network.call(&format!("propose-{slot}"), call).await;
        let record = network.rollup.block_record(args.blockNumber).await.unwrap();
        let element = |word: &B256| abi::element(word).unwrap();
        chain = ChainLink {
            chain_prev: chain,
            header_hash: element(&args.headerHash),
            data_hash: rollmill_protocol::block::data_hash(&vec![slot as u8; 500]),
            archive_root: element(&args.archiveRoot),
            slot,
            coinbase: EthAddress(args.coinbase.into_array()),
            total_fees: args.totalFees,
        }
        .chain();
        assert_eq!(record.chain, abi::word(&chain));
    }
}

/// Goal: a reorg is reported before the events that replace others, and a dropped proposal comes back
/// through the sender while its slot lasts. Method: replace the block of a proposal with an empty one.
#[tokio::test]
async fn a_reorg_rewinds_and_the_sender_brings_the_blocks_back() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 1000).await;
    let mut follower = follower(&network).await;
    network.propose(1, b"one").await;
    let second = network.propose(2, b"two").await;
    assert_eq!(follower.poll().await.unwrap().len(), 2);

    reorg(&network.client, 1).await;
    let events = follower.poll().await.unwrap();
    assert_eq!(summary(&events), [format!("rewind {}", second.block_number - 1)]);
    assert_eq!(network.rollup.tips().await.unwrap().pending, 1);

    network.sender.tick().await.unwrap();
    let events = next(&mut follower, 1).await;
    assert_eq!(summary(&events), ["proposed 2 two"]);
    assert_eq!(network.rollup.tips().await.unwrap().pending, 2);
}

#[tokio::test]
async fn a_reorg_below_the_start_and_a_shortened_chain_rewind_too() {
    use alloy::providers::ext::AnvilApi;
    let anvil = Anvil::start();
    let client = anvil.client().await;
    mine(&client, 5).await;
    let network = Network::on(client, true, 1000).await;
    let mut follower = follower(&network).await;
    network.propose(1, b"one").await;
    assert_eq!(follower.poll().await.unwrap().len(), 1);

    let head = network.client.latest().await.unwrap().number;
    network.client.provider().anvil_rollback(Some(1)).await.unwrap();
    assert_eq!(summary(&follower.poll().await.unwrap()), [format!("rewind {}", head - 1)]);
    reorg(&network.client, 5).await;
    assert_eq!(summary(&follower.poll().await.unwrap()), [format!("rewind {}", head - 6)]);
    // The deployments were dropped as well. All of it comes back, in order, in the same slot.
    network.at(1).await;
    network.sender.tick().await.unwrap();
    assert_eq!(summary(&next(&mut follower, 1).await), ["proposed 1 one"]);
}

#[tokio::test]
async fn a_follower_that_was_stopped_notices_a_reorg_when_it_goes_on() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 1000).await;
    let mut before = follower(&network).await;
    network.propose(1, b"one").await;
    let second = network.propose(2, b"two").await;
    before.poll().await.unwrap();
    let (tip, trail) = (before.tip(), before.trail());
    drop(before);

    reorg(&network.client, 1).await;
    mine(&network.client, 3).await;
    let address = network.rollup.address();
    let mut after = Follower::resume(network.client.clone(), address, tip, &trail);
    let events = after.poll().await.unwrap();
    assert_eq!(summary(&events), [format!("rewind {}", second.block_number - 1)]);
    assert_eq!(after.tip().number, network.client.latest().await.unwrap().number);
}

/// Goal: history is caught up in spans, and only blocks that L1 may replace are remembered.
#[tokio::test]
async fn final_blocks_are_followed_in_spans_and_forgotten() {
    let anvil = Anvil::with(&["--slots-in-an-epoch", "1"]);
    let network = Network::on(anvil.client().await, true, 10_000).await;
    network.propose(1, b"one").await;
    mine(&network.client, 2500).await;
    network.propose(2, b"two").await;
    mine(&network.client, 40).await;
    network.propose(3, b"three").await;

    let follower = Follower::start(network.client.clone(), network.rollup.address(), 0);
    let mut follower = follower.await.unwrap();
    let mut seen = Vec::new();
    while follower.tip().number < network.client.latest().await.unwrap().number {
        seen.extend(summary(&follower.poll().await.unwrap()));
    }
    assert_eq!(seen, ["proposed 1 one", "proposed 2 two", "proposed 3 three"]);
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
    let mut follower = Follower::resume(client, Address::ZERO, tip, &[]);
    assert_eq!(follower.poll().await.unwrap_err().code(), "L1-006");
}

#[tokio::test]
async fn a_missed_window_is_reported_and_a_verifiers_no_moves_nothing() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, false, 3).await;
    let mut follower = follower(&network).await;
    network.propose(1, b"one").await;
    network.propose(2, b"two").await;

    let call = abi::submit_calldata(range(1, 2), vec![1]);
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

    let deadline = network.rollup.proof_deadline().await.unwrap().unwrap();
    network.at(4).await;
    let head = network.client.latest().await.unwrap().number;
    assert!(!network.rollup.prune_due().await.unwrap());
    mine(&network.client, deadline.last_l1_block + 1 - head).await;
    assert!(network.rollup.prune_due().await.unwrap());
    network.call("prune", abi::prune_calldata()).await;
    let events = follower.poll().await.unwrap();
    assert_eq!(summary(&events), ["proposed 1 one", "proposed 2 two", "pruned 2 to 0"]);
    let Some(L1Event::Pruned(Pruned { epoch, .. })) = events.last() else { unreachable!() };
    assert_eq!(*epoch, 0);
}

/// Goal: the caller of the contract and the contract agree on all 25 public inputs.
#[tokio::test]
async fn public_inputs_of_an_epoch_are_read_from_the_contract() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 1000).await;
    network.propose(5, b"one").await;
    let record = network.rollup.block_record(1).await.unwrap();
    let inputs = network.rollup.epoch_public_inputs(range(1, 1)).await.unwrap();
    assert_eq!(inputs.len(), 25);
    let number = |n: u64| B256::from(alloy::primitives::U256::from(n));
    assert_eq!(inputs[..4], [number(31337), number(3), number(0x77), number(2)]);
    assert_eq!(inputs[5..7], [number(0x9e), record.archiveRoot]);
    assert_eq!(
        inputs[7..13],
        [number(1), number(1), number(1), number(4), number(0), record.chain]
    );
    let error = network.rollup.epoch_public_inputs(range(2, 2)).await.unwrap_err();
    assert!(error.to_string().contains("RangeStartWrong"), "{error}");
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

/// Goal: no content of a proposer's transaction stops a follower. Method: a fake contract logs
/// proposals that come from no call of `propose`; each is reported as such, and so are the events after
/// it. The other ways in which data can be wrong are cases of a unit test in `event.rs`.
#[tokio::test]
async fn a_proposal_that_cannot_be_read_is_an_event_and_the_follower_goes_on() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let sender = support::sender(&client, folder.path(), 0).await;
    let start = client.latest().await.unwrap().number;
    let emitter = rollmill_l1::deploy(&sender, "emitter", EMITTER.into()).await.unwrap().address;
    let proposed = |number: u64| abi::Rollup::BlockProposed {
        blockNumber: number,
        archiveRoot: B256::repeat_byte(1),
        headerHash: B256::repeat_byte(2),
        dataHash: data_hash(b"honest"),
        chain: B256::repeat_byte(3),
        slot: number,
        coinbase: Address::ZERO,
        totalFees: 0,
    };
    for number in 1..=3 {
        let request = TxRequest::call(format!("log-{number}"), emitter, logged(&proposed(number)));
        assert!(sender.send(request).await.unwrap().succeeded);
    }
    let head = client.latest().await.unwrap().number;
    let mut follower = Follower::start(client, emitter, start).await.unwrap();
    let events = follower.poll().await.unwrap();
    let mut numbers = Vec::new();
    for event in &events {
        let L1Event::BlockProposed(block) = event else { continue };
        let why = block.data.clone().unwrap_err().to_string();
        assert!(why.starts_with(&format!("L1-007: data of block {}", block.block_number)), "{why}");
        numbers.push(block.block_number);
    }
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(follower.tip().number, head, "it went past them");
}

/// Goal: a first sync gets through a connection that fails one request in five, and never back.
/// Method: ninety blocks behind a proxy with a printed seed; every poll either moves the position on or
/// reports an error, and all blocks arrive once.
#[tokio::test]
async fn a_first_sync_over_a_failing_endpoint_completes() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 100_000).await;
    for slot in 1..=90 {
        network.propose(slot, &[slot as u8; 64]).await;
    }
    let proxy = Proxy::before(&anvil.url).await;
    let client = L1Client::connect(std::slice::from_ref(&proxy.url), CHAIN_ID).await.unwrap();
    proxy.set(Fault::Flaky);
    let address = network.rollup.address();
    let mut follower = loop {
        if let Ok(follower) = Follower::start(client.clone(), address, network.start).await {
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
    assert!(proxy.failed() > 50, "the proxy failed {} requests only", proxy.failed());
}
