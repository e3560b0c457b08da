//! The sequencer on a node and a development L1: what it builds, what it waits for, what it prunes, and
//! what is left when it is killed.

use std::sync::Arc;

use crate::common::running::Running;
use crate::common::{node, with_client_key};
use rollmill_l1::Azt;
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::providers::ext::AnvilApi;
use rollmill_l1::alloy::rpc::types::anvil::ReorgOptions;
use rollmill_l1::quote::Quote;
use rollmill_l1_testing::proxy::{Fault, Proxy};
use rollmill_l1_testing::{CHAIN_ID, signer};
use rollmill_node::{DeadlineMetrics, Pruner};
use rollmill_sequencer::config::Config;
use rollmill_sequencer::quotes::{Market, QuoteBook};
use rollmill_sequencer::sequencer::Turn;
use rollmill_sequencer_testing::{Deployment, SLOT_SECONDS, SLOTS_PER_EPOCH};
use rollmill_service::Process;

/// Goal: with transactions waiting, nothing is built on or beside a rejected block, and building
/// continues when it is gone. Method: post an invalid block, run a turn, remove the block by a
/// reorganisation, run another turn.
#[tokio::test]
async fn no_block_is_built_while_l1_holds_a_refused_one() {
    let deployment = Deployment::new(&[]).await;
    deployment.propose_nonsense().await;
    let mut running = Running::start(deployment, Config::default()).await;
    running.reach(|tips| tips.rejected.is_some()).await;
    running.submit(0);

    for _ in 0..3 {
        assert_eq!(running.turn().await, Turn::Paused);
    }
    let tips = running.deployment.rollup.tips().await.unwrap();
    assert_eq!(tips.pending, 1, "only the nonsense");
    assert_eq!(running.node.ready_count(), 1);
    let held = running.process.status_page.status()["held"].clone();
    assert_eq!(held["block_number"], 1);
    assert!(held["reason"].as_str().unwrap().starts_with("NODE-033"), "{held}");
    assert_eq!(running.figure("rollmill_sequencer_held"), 1.0);

    let options = ReorgOptions { depth: 1, tx_block_pairs: vec![] };
    running.deployment.client.provider().anvil_reorg(options).await.unwrap();
    running.reach(|tips| tips.rejected.is_none()).await;
    assert_eq!(running.turn().await, Turn::Proposed(1));
    assert_eq!(running.node.ready_count(), 0);
    assert!(running.process.status_page.status()["held"].is_null());
    assert_eq!(running.figure("rollmill_sequencer_held"), 0.0);
    running.end().await;
}

/// Goal: a rejected block that no reorganisation removes pauses the sequencer only until its deadline:
/// then the sequencer itself prunes, and continues.
#[tokio::test]
async fn a_held_sequencer_prunes_at_the_deadline_and_goes_on() {
    let deployment = Deployment::new(&[]).await;
    deployment.propose_nonsense().await;
    let mut running = Running::start(deployment, Config::default()).await;
    running.reach(|tips| tips.rejected.is_some()).await;
    running.submit(0);
    assert_eq!(running.figure("rollmill_node_prune_due"), 0.0);
    assert!(!running.sequencer.pruner.step().await.unwrap(), "nothing is due");
    assert_eq!(running.figure("rollmill_node_proof_deadline_open"), 1.0);
    assert!(running.figure("rollmill_node_proof_window_seconds") > 100_000.0);
    assert!(running.figure("rollmill_node_proof_deadline_seconds") > 200_000.0);
    let shown = running.process.status_page.status()["proof_deadline"].clone();
    assert_eq!(shown["is_missed"], false, "{shown}");
    assert_eq!(running.turn().await, Turn::Paused);

    running.deployment.miss_deadline(0).await;

    // A process that only watches leaves the prune to others.
    let watcher = Pruner {
        contract: running.deployment.rollup.clone(),
        info: running.deployment.network.info.clone(),
        sender: None,
        patience_seconds: 0,
        metrics: DeadlineMetrics::new(&Process::new("watcher", ()).metrics).unwrap(),
        seen: Default::default(),
    };
    assert!(!watcher.step().await.unwrap());
    assert!(watcher.seen.borrow().unwrap().is_missed);
    assert!(watcher.seen.borrow().unwrap().seconds_left < 0);
    // So does one that gives others more time than has passed.
    let patient = Pruner { patience_seconds: 1_000_000, ..watcher };
    assert!(!patient.step().await.unwrap());
    assert_eq!(running.deployment.rollup.tips().await.unwrap().pending, 1);

    assert!(running.sequencer.pruner.step().await.unwrap(), "it is due");
    assert_eq!(running.figure("rollmill_node_prunes_sent_total"), 1.0);
    assert_eq!(running.deployment.rollup.tips().await.unwrap().pending, 0);
    running.reach(|tips| tips.rejected.is_none()).await;
    assert!(!running.sequencer.pruner.step().await.unwrap(), "it is done");
    assert_eq!(running.figure("rollmill_node_prune_due"), 0.0);
    assert_eq!(running.turn().await, Turn::Proposed(1));
    running.end().await;
}

/// Goal: nothing is built on blocks that a prune is due to take, although they are good.
#[tokio::test]
async fn nothing_is_built_on_blocks_that_missed_their_deadline() {
    let deployment = Deployment::new(&[]).await;
    let mut running = Running::start(deployment, Config::default()).await;
    running.submit(0);
    assert_eq!(running.turn().await, Turn::Proposed(1));
    running.submit(1);
    running.deployment.miss_deadline(0).await;
    // Seen by the watch, not yet acted upon.
    let sender = running.sequencer.pruner.sender.take();
    assert!(!running.sequencer.pruner.step().await.unwrap());
    assert_eq!(running.turn().await, Turn::Paused);
    running.sequencer.pruner.sender = sender;
    assert!(running.sequencer.pruner.step().await.unwrap());
    running.reach(|tips| tips.pending.block_number == 0).await;
    assert!(!running.sequencer.pruner.step().await.unwrap());
    // Both transactions are in one block now.
    assert_eq!(running.turn().await, Turn::Proposed(1));
    assert_eq!(running.node.block(1).unwrap().unwrap().txs.len(), 2);
    running.end().await;
}

/// Goal: without the data of a block on L1 nothing is built, signed or sent, since the next block has to follow that
/// one; building continues when a source has the data.
#[tokio::test]
async fn nothing_is_built_while_the_data_of_a_block_is_missing() {
    let mut running = Running::start(Deployment::new(&[]).await, Config::default()).await;
    running.submit(0);
    assert_eq!(running.turn().await, Turn::Proposed(1));
    let (mut running, blobs) = running.restart_without_blobs().await;
    // The block of the present slot is the one that is missing.
    let slot = running.deployment.rollup.current_slot().await.unwrap();
    let start = running.deployment.genesis.config.timestamp(slot + 1).unwrap();
    running.deployment.network.at_second(start).await;
    running.submit(1);
    running.is_paused_without_data().await;

    let archive = running.deployment.path("blobs");
    std::fs::remove_dir_all(&archive).unwrap();
    std::fs::rename(blobs, archive).unwrap();
    running.reach(|tips| tips.pending.block_number == 1).await;
    // Its client proofs are known here no more.
    let tx = running.deployment.tx(0, running.node.genesis_header().hash());
    running.node.keep_included(tx).unwrap();
    running.has_its_data().await;
    assert_eq!(running.turn().await, Turn::Proposed(2));
    assert_eq!(running.figure("rollmill_sequencer_data_missing"), 0.0);
    running.end().await;
}

/// Goal: a block whose data no source ever has pauses the sequencer only until its deadline.
#[tokio::test]
async fn a_block_without_data_is_pruned_at_the_deadline_and_building_continues() {
    let mut running = Running::start(Deployment::new(&[]).await, Config::default()).await;
    running.submit(0);
    assert_eq!(running.turn().await, Turn::Proposed(1));
    let (mut running, _) = running.restart_without_blobs().await;
    running.deployment.miss_deadline(0).await;
    running.submit(1);
    running.is_paused_without_data().await;
    assert!(running.sequencer.pruner.step().await.unwrap(), "it is due");
    running.has_its_data().await;
    assert!(!running.sequencer.pruner.step().await.unwrap(), "it is done");
    assert_eq!(running.turn().await, Turn::Proposed(1));
    running.end().await;
}

/// Goal: building waits for the client proofs of a block on L1, and continues without them after its
/// patience, because the contract takes no block beside it.
#[tokio::test]
async fn building_waits_for_client_proofs_and_then_goes_on() {
    let config = Config { max_unverified_seconds: 1_000_000, ..Config::default() };
    let deployment = Deployment::new(&[]).await;
    let mut running = Running::start(deployment, config).await;
    running.submit(0);
    assert_eq!(running.turn().await, Turn::Proposed(1));
    assert_eq!(running.node.tips().unverified(), None);
    // A node that lost its pool: the same chain, none of the client proofs.
    let Running { deployment, process, node, sequencer, following, .. } = running;
    process.shutdown.start();
    following.await.unwrap().unwrap();
    drop((sequencer, node));
    std::fs::remove_dir_all(deployment.path("node")).unwrap();
    let mut running = Running::start(deployment, process.config.clone()).await;
    running.reach(|tips| tips.pending.block_number == 1).await;
    assert_eq!(running.node.tips().unverified(), Some(1));
    running.submit(1);
    for _ in 0..3 {
        assert_eq!(running.turn().await, Turn::Unverified);
    }
    assert_eq!(running.figure("rollmill_sequencer_unverified"), 1.0);
    // Found: the next block is built on it without a wait.
    let before = running.node.tips();
    let tx = running.deployment.tx(0, running.node.genesis_header().hash());
    running.node.keep_included(tx).unwrap();
    assert_eq!((before.unverified(), running.node.tips().unverified()), (Some(1), None));
    assert_ne!(running.turn().await, Turn::Unverified);
    running.end().await;
}

/// Goal: the block that opens an epoch goes with a quote, and no other block does.
#[tokio::test]
async fn an_epoch_is_opened_with_its_quote() {
    let mut running = Running::start(Deployment::new(&[]).await, Config::default()).await;
    let market = Market {
        chain_id: CHAIN_ID,
        rollup: running.deployment.rollup.address(),
        slots_per_epoch: SLOTS_PER_EPOCH,
    };
    let book = Arc::new(QuoteBook::new(market, None, running.sequencer.metrics.clone()));
    for epoch in [0, 1] {
        let prover = signer(2).address();
        let quote = Quote { prover, epoch, fee: Azt::from_units(7), valid_until_slot: 9 };
        let signed = quote.sign(&signer(2), CHAIN_ID, market.rollup).unwrap();
        book.offer(signed, 5).unwrap();
    }
    running.sequencer.quotes = Some(book);
    // Slots 5 and 6 are of epoch 0, slots 8 and 9 of epoch 1.
    for (block, slots, taken) in [(1, 0, 1.0), (2, 1, 1.0), (3, 2, 2.0), (4, 1, 2.0)] {
        let provider = running.deployment.client.provider();
        provider.anvil_increase_time(slots * SLOT_SECONDS).await.unwrap();
        // The second one tells how far L1's blocks are apart.
        provider.anvil_mine(Some(2), None).await.unwrap();
        running.submit(block);
        assert_eq!(running.turn().await, Turn::Proposed(block));
        assert_eq!(running.figure("rollmill_sequencer_quotes_taken_total"), taken, "block {block}");
    }
    running.end().await;
}

/// Goal: a block goes with the quote that was there when it was proposed, and one that comes until L1 includes the block is
/// none of it.
#[tokio::test]
async fn a_quote_that_comes_after_the_proposal_is_not_taken() {
    let (mut running, proxy) = Running::behind_a_proxy().await;
    let rollup = running.deployment.rollup.address();
    let market = Market { chain_id: CHAIN_ID, rollup, slots_per_epoch: SLOTS_PER_EPOCH };
    let book = Arc::new(QuoteBook::new(market, None, running.sequencer.metrics.clone()));
    running.sequencer.quotes = Some(Arc::clone(&book));
    let slot = running.deployment.rollup.current_slot().await.unwrap();
    running.submit(0);
    proxy.set(Fault::LoseTransactions);
    let (memory, shutdown) = (&mut running.memory, &running.process.shutdown);
    running.sequencer.turn(memory, shutdown).await.unwrap_err();
    let (prover, epoch) = (signer(2).address(), slot / SLOTS_PER_EPOCH);
    let quote = Quote { prover, epoch, fee: Azt::from_units(7), valid_until_slot: slot + 9 };
    book.offer(quote.sign(&signer(2), CHAIN_ID, rollup).unwrap(), slot).unwrap();
    proxy.set(Fault::None);
    assert_eq!(running.turn().await, Turn::Proposed(1));
    assert_eq!(running.figure("rollmill_sequencer_quotes_taken_total"), 0.0);
    assert!(book.cheapest(epoch, slot).is_some());
    running.end().await;
}

/// Goal: while no endpoint passes proposals on, one is made and no more; it lands when they do, and
/// none reverts.
#[tokio::test]
async fn one_proposal_is_in_flight_while_l1_includes_none() {
    let (mut running, proxy) = Running::behind_a_proxy().await;
    let account = running.sequencer.sender.account();
    let provider = running.deployment.client.provider().clone();
    let nonce = || async { provider.get_transaction_count(account).await.unwrap() };
    let before = nonce().await;
    running.submit(0);
    proxy.set(Fault::LoseTransactions);
    for _ in 0..5 {
        let (memory, shutdown) = (&mut running.memory, &running.process.shutdown);
        running.sequencer.turn(memory, shutdown).await.unwrap_err();
        // Others come, and change nothing about it.
        running.submit(running.node.ready_count() as u64);
    }
    assert_eq!(nonce().await, before);
    proxy.set(Fault::None);
    assert_eq!(running.turn().await, Turn::Proposed(1));
    assert_eq!(nonce().await, before + 1);
    assert_eq!(running.node.block(1).unwrap().unwrap().txs.len(), 1);
    running.end().await;
}

/// Goal: a proposal that is in no L1 block by the end of its slot is dropped, and the next one takes its
/// nonce: none reverts.
#[tokio::test]
async fn a_proposal_that_missed_its_slot_is_replaced_under_its_nonce() {
    let (mut running, proxy) = Running::behind_a_proxy().await;
    let account = running.sequencer.sender.account();
    let provider = running.deployment.client.provider().clone();
    let before = provider.get_transaction_count(account).await.unwrap();
    running.submit(0);
    proxy.set(Fault::LoseTransactions);
    let (memory, shutdown) = (&mut running.memory, &running.process.shutdown);
    running.sequencer.turn(memory, shutdown).await.unwrap_err();
    proxy.set(Fault::None);
    // The deployment started in the middle of a slot. The second block shows L1's usual pace.
    let part = SLOT_SECONDS * 3 / 4;
    provider.anvil_increase_time(part).await.unwrap();
    provider.anvil_mine(Some(2), None).await.unwrap();
    let (memory, shutdown) = (&mut running.memory, &running.process.shutdown);
    let error = running.sequencer.turn(memory, shutdown).await.unwrap_err();
    assert!(error.to_string().starts_with("L1-020"), "{error}");
    assert_eq!(running.turn().await, Turn::Proposed(1));
    assert_eq!(provider.get_transaction_count(account).await.unwrap(), before + 1);
    running.end().await;
}

/// Goal: an operator sees it in the log, `/status` and `/metrics` of the process.
#[tokio::test]
async fn the_program_shows_its_nodes_figures_and_the_refused_block() {
    let deployment = with_client_key(vec![signer(0).address()]).await;
    let mut program = deployment.run(env!("CARGO_BIN_EXE_rollmill-sequencer"), &[]);
    program.line_with("proposer");
    for name in ["rollmill_node_pending_block", "rollmill_node_block_refused"] {
        assert_eq!(program.metric(name), 0.0, "{name}");
    }
    assert!(program.metric("rollmill_node_l1_block") >= deployment.start.number as f64);
    assert_eq!(program.metric("rollmill_sequencer_held"), 0.0);
    let status = program.status(|status| status["ready"] == true);
    for name in ["l1", "synced", "chain"] {
        assert_eq!(status["conditions"][name]["ok"], true, "{status}");
    }
    // Labelled series are there before their first event.
    let metrics = program.get("/metrics");
    for series in [
        "rollmill_node_pool_parked{reason=\"price\"} 0",
        "rollmill_node_pool_dropped_total{reason=",
        "rollmill_http_connections_closed_total{reason=\"idle\",server=\"rpc\"} 0",
        "rollmill_condition{name=\"chain\"} 1",
    ] {
        assert!(metrics.contains(series), "{series} is not in {metrics}");
    }

    deployment.propose_nonsense().await;
    let line = program.line_with("paused; ");
    assert!(line.contains("block=1") && line.contains("NODE-033"), "{line}");
    assert_eq!(program.metric("rollmill_node_block_refused"), 1.0);
    assert_eq!(program.metric("rollmill_sequencer_held"), 1.0);
    let status = program.status(|status| status["ready"] == false);
    let reason = status["conditions"]["chain"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("block 1 on L1 is rejected: NODE-033"), "{reason}");
    assert_eq!(status["held"]["block_number"], 1, "{status}");
    assert_eq!(status["tips"]["pending"]["block_number"], 0, "{status}");
}

/// Goal: killed at any step of a block, the sequencer continues, the block is on L1 once, and no
/// proposal reverts.
///
/// Method: a node's folder with one waiting transaction; the program is killed at its failpoint, as
/// SIGKILL would, and started again.
#[tokio::test]
async fn killed_at_each_step_the_block_lands_once() {
    for step in [
        "sequencer.block_built",
        "sequencer.proposal_submitted",
        "sequencer.proposal_included",
        "node.update_committed@2",
    ] {
        let deployment = with_client_key(vec![signer(0).address()]).await;
        let node = node(&deployment);
        let tx = deployment.tx(0, node.genesis_header().hash());
        node.submit(&tx.to_bytes()).unwrap();
        drop(node);
        let provider = deployment.client.provider();
        let account = deployment.network.sender.account();
        let before = provider.get_transaction_count(account).await.unwrap();

        let armed = [("ROLLMILL_FAILPOINT", step)];
        let program = env!("CARGO_BIN_EXE_rollmill-sequencer");
        assert_eq!(deployment.run_with(program, &[], &armed).wait(), None, "{step}");
        let program = deployment.run(program, &[]);
        let status = program.status(|s| s["tips"]["pending"]["block_number"] == 1);
        assert_eq!(status["tips"]["verified"]["block_number"], 1, "{step}: {status}");
        assert_eq!(program.metric("rollmill_node_pool_waiting"), 0.0, "{step}");
        assert_eq!(program.metric("rollmill_node_pool_included"), 1.0, "{step}");
        assert_eq!(deployment.rollup.tips().await.unwrap().pending, 1, "{step}");
        let sent = provider.get_transaction_count(account).await.unwrap() - before;
        assert_eq!(sent, 1, "{step}");
    }
}

/// Goal: with another account's key the sequencer does not start, and names the required account.
#[tokio::test]
async fn another_accounts_key_is_rejected_at_the_start() {
    let deployment = with_client_key(vec![signer(0).address()]).await;
    let other = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    let mut program = deployment.run_with(
        env!("CARGO_BIN_EXE_rollmill-sequencer"),
        &[],
        &[("ROLLMILL_L1_KEY", other)],
    );
    let line = program.line_with("SEQ-011");
    for text in ["--l1-key-env", "--l1-keystore", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"] {
        assert!(line.contains(text), "{text} is not in {line}");
    }
    assert_eq!(program.wait(), Some(1));
}

/// Goal: the setting in an error is the one that is wrong.
#[tokio::test]
async fn a_wrong_coinbase_is_named_as_such() {
    let deployment = Deployment::new(&[]).await;
    let flags = ["--coinbase", "0x12"];
    let output = deployment.output(env!("CARGO_BIN_EXE_rollmill-sequencer"), &flags);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let line = String::from_utf8_lossy(&output.stderr);
    assert!(line.contains("SVC-001: "), "{line}");
    assert!(line.contains("invalid value `0x12` for --coinbase: expected a 20-byte"), "{line}");
}

/// Goal: before a start an operator learns all that is wrong, each with its remedy.
#[tokio::test]
async fn check_tells_one_line_for_each_need_and_starts_nothing() {
    let deployment = with_client_key(vec![signer(0).address()]).await;
    let check = |flags: &[&str]| {
        let flags = [flags, &["check"]].concat();
        let output = deployment.output(env!("CARGO_BIN_EXE_rollmill-sequencer"), &flags);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, lines) = check(&[]);
    let names = ["data_dir", "genesis", "client_key", "l1", "contract"];
    let own = ["node.tx_sources", "coinbase", "account", "committee.peers"];
    for name in names.iter().chain(&own) {
        assert!(lines.contains(&format!("ok      {name}: ")), "{name}: {lines}");
    }
    assert_eq!((code, lines.lines().count()), (Some(0), 9), "{lines}");
    // By default nothing of a block's pay is lost.
    assert!(lines.contains("ok      coinbase: the account"), "{lines}");
    assert!(!deployment.path("node").exists(), "nothing was made");

    let (code, lines) = check(&["--node-tx-sources", "http://127.0.0.1:1"]);
    assert_eq!(code, Some(1), "{lines}");
    assert!(lines.contains("failed  node.tx_sources: NDC-001"), "{lines}");
    // The L1 endpoint responds, but not as a node does.
    let (_, lines) = check(&["--node-tx-sources", &deployment.anvil.url]);
    assert!(lines.contains("failed  node.tx_sources: NDC-002"), "{lines}");
    assert!(lines.contains("a JSON-RPC server, but not a Rollmill node"), "{lines}");

    // Another member that is away, and something that is no validator.
    let away = [("http://127.0.0.1:1", "VAC-003"), (deployment.anvil.url.as_str(), "VAC-004")];
    for (url, code_of) in away {
        let peers = format!("0x{}={url}", "ab".repeat(20));
        let (code, lines) = check(&["--committee-peers", &peers]);
        assert_eq!(code, Some(1), "{lines}");
        assert!(lines.contains(&format!("failed  committee.peers: {code_of}")), "{lines}");
    }

    // A contract that answers with nothing, and one that reverts.
    let other = deployment.path("other.json");
    let sender = rollmill_sequencer_testing::sender(&deployment.client, &other).await;
    let reverts = [0x62, 0x5f, 0x5f, 0xfd, 0x5f, 0x52, 0x60, 0x03, 0x60, 0x1d, 0xf3];
    let reverts = rollmill_l1::deploy(&sender, "reverts", reverts.into()).await.unwrap().address;
    let empty = [0x60, 0x01, 0x5f, 0xf3];
    let empty = rollmill_l1::deploy(&sender, "empty", empty.into()).await.unwrap().address;
    for address in [empty, reverts] {
        let (code, lines) = check(&["--node-rollup", &address.to_string()]);
        let expected =
            format!("failed  contract: L1-022: the contract at {address} is not a Rollmill");
        assert!(code == Some(1) && lines.contains(&expected), "{lines}");
        assert!(lines.contains("--node-rollup"), "{lines}");
    }
    let garbage = deployment.path("garbage");
    std::fs::write(&garbage, "garbage").unwrap();
    let garbage = garbage.display().to_string();
    for flag in ["--node-client-key", "--node-genesis"] {
        let (_, lines) = check(&[flag, &garbage]);
        assert!(lines.contains(&garbage) && lines.contains(&format!("is {flag}")), "{lines}");
    }
    // Any L1 block before the first of the rollup's will do, whether or not the contract was there.
    let before = deployment.client.latest().await.unwrap().number.to_string();
    let (code, lines) = check(&["--node-l1-start", &before]);
    assert_eq!(code, Some(0), "{lines}");
    deployment.propose_nonsense().await;
    let late = deployment.client.latest().await.unwrap().number.to_string();
    let (code, lines) = check(&["--node-l1-start", &late]);
    assert_eq!(code, Some(1), "{lines}");
    let expected =
        format!("failed  contract: NODE-065: at L1 block {late}, which --node-l1-start names");
    assert!(lines.contains(&expected), "{lines}");
    let started =
        deployment.output(env!("CARGO_BIN_EXE_rollmill-sequencer"), &["--node-l1-start", &late]);
    let error = String::from_utf8(started.stderr).unwrap();
    assert!(started.status.code() == Some(1) && error.contains("NODE-065"), "{error}");
}

/// Goal: a node that starts before its L1 waits for it, logs that, and shuts down gracefully.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_l1_waits_and_names_it() {
    let deployment = with_client_key(vec![signer(0).address()]).await;
    let proxy = Proxy::before(&deployment.anvil.url).await;
    proxy.set(Fault::Down);
    let program = env!("CARGO_BIN_EXE_rollmill-sequencer");
    let mut program = deployment.run_at(program, &proxy.url, &[]);
    let line = program.line_with("check failed");
    assert!(line.contains("check=\"l1\"") && line.contains("--node-l1-urls"), "{line}");
    let status = program.status(|_| true);
    assert_eq!((&status["phase"], &status["ready"]), (&"starting".into(), &false.into()));
    assert!(
        status["conditions"]["l1"]["reason"].as_str().unwrap().contains("no L1 endpoint answered"),
        "{status}"
    );
    proxy.set(Fault::None);
    program.line_with("requirement met");
    program.status(|status| status["ready"] == true);
    assert_eq!(program.terminate(), Some(0));

    proxy.set(Fault::Down);
    let mut program = deployment.run_at(env!("CARGO_BIN_EXE_rollmill-sequencer"), &proxy.url, &[]);
    program.line_with("check failed");
    assert_eq!(program.terminate(), Some(0), "while it waits, too");
}
