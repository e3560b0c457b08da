//! The program `rollmill-sequencer` as a process: what it shows, what it rejects at its start, and what is left when it
//! is killed.

mod common;

use common::with_client_key;
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1_testing::proxy::{Fault, Proxy};
use rollmill_l1_testing::signer;
use rollmill_sequencer_testing::{Deployment, sender};

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
    assert!(!deployment.path("node").exists(), "nothing was made");

    let (code, lines) = check(&["--node-tx-sources", "http://127.0.0.1:1"]);
    assert_eq!(code, Some(1), "{lines}");
    assert!(lines.contains("failed  node.tx_sources: NDC-001"), "{lines}");
    // The L1 endpoint responds, but not as a node does.
    let (_, lines) = check(&["--node-tx-sources", &deployment.anvil.url]);
    assert!(lines.contains("failed  node.tx_sources: NDC-002"), "{lines}");
    assert!(lines.contains("a JSON-RPC server, but not a Rollmill node"), "{lines}");

    // Another member that is away, and something that is no validator.
    for (url, code_of) in
        [("http://127.0.0.1:1", "VAC-003"), (deployment.anvil.url.as_str(), "VAC-004")]
    {
        let peers = format!("0x{}={url}", "ab".repeat(20));
        let (code, lines) = check(&["--committee-peers", &peers]);
        assert_eq!(code, Some(1), "{lines}");
        assert!(lines.contains(&format!("failed  committee.peers: {code_of}")), "{lines}");
    }

    // A contract that answers with nothing, and one that reverts.
    let sender = sender(&deployment.client, &deployment.path("other.json")).await;
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
