//! The prover node as a process.

use std::process::Command;
use std::sync::Arc;

use axum::http::Uri;
use axum::{Json, Router};
use parking_lot::Mutex;
use rollmill_circuits::circuit::{cell_bits, log_n};
use rollmill_circuits::keyset::{CircuitKey, KeySet};
use rollmill_circuits::registry::KEY_SET_NAME;
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::shape::fixed;
use rollmill_plonk::srs::{development_tau_g2, srs_id};
use rollmill_protocol::{Circuit, Fr, field};
use rollmill_sequencer_testing::Deployment;
use serde_json::json;

/// Keys of the right shapes that no test proves with.
fn keys() -> KeySet {
    let tau_g2 = development_tau_g2();
    let key = |circuit: Circuit| {
        let shape = [log_n(circuit), circuit.n_public() as u32, cell_bits(circuit)];
        let mut bytes: Vec<u8> = shape.iter().flat_map(|n| n.to_be_bytes()).collect();
        bytes.extend(field::to_bytes(&srs_id(&tau_g2)));
        for _ in 0..fixed::COUNT {
            // The generator of the curve, (1, 2).
            for coordinate in [1u64, 2] {
                bytes.extend(field::to_bytes(&Fr::from(coordinate)));
            }
        }
        let vk = VerifyingKey::from_bytes(&bytes).unwrap();
        CircuitKey { circuit, vk, rows_used: 1, layout_digest: [0; 32] }
    };
    KeySet::new(Circuit::ALL.into_iter().map(key).collect(), tau_g2).unwrap()
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_rollmill-prover-node");

/// A deployment whose directory has the keys and the client circuit's key. The second value is the
/// directory.
async fn with_keys() -> (Deployment, String) {
    let keys = keys();
    let deployment = Deployment::new(&Circuit::ALL.map(|of| keys.opened(of).leaf)).await;
    std::fs::write(deployment.path(KEY_SET_NAME), keys.to_bytes()).unwrap();
    let folder = deployment.folder.path().display().to_string();
    let mut export = Command::new(PROGRAM);
    export.args(["--keys-dir", &folder, "keys"]).arg(deployment.path("client.key"));
    assert!(export.status().unwrap().success());
    (deployment, folder)
}

/// Goal: blocks that were not proven in time are pruned without an operator, after others had time to
/// prune.
#[tokio::test]
async fn the_program_prunes_what_missed_its_deadline() {
    let (deployment, folder) = with_keys().await;
    deployment.propose_nonsense().await;
    let mut program = deployment.run(PROGRAM, &["--keys-dir", &folder]);
    program.line_with("prover account");
    let status = program.status(|status| !status["proof_deadline"].is_null());
    assert_eq!(status["proof_deadline"]["is_missed"], false, "{status}");

    // Time in which another process may prune first, too.
    deployment.miss_deadline(1_000).await;
    program.line_with("pending chain pruned");
    assert_eq!(deployment.rollup.tips().await.unwrap().pending, 0);
    assert_eq!(program.metric("rollmill_node_prunes_sent_total"), 1.0);
}

/// Goal: an operator sees the node's figures beside the prover's own, and a block that L1 holds and the
/// node rejects.
#[tokio::test]
async fn the_program_shows_its_nodes_figures_and_a_refused_block() {
    let (deployment, folder) = with_keys().await;
    let mut program = deployment.run(PROGRAM, &["--keys-dir", &folder, "--dry-run"]);
    program.line_with("prover account");
    for name in ["rollmill_node_proven_block", "rollmill_node_block_refused"] {
        assert_eq!(program.metric(name), 0.0, "{name}");
    }
    assert_eq!(program.metric("rollmill_prover_node_epochs_proven_total"), 0.0);

    let metrics = program.get("/metrics");
    for series in [
        "rollmill_prover_node_ranges{state=",
        "rollmill_prover_node_submissions_total{outcome=\"included\"} 0",
        "rollmill_prover_node_job_proving_seconds_count{circuit=\"tx_base\"} 0",
        "rollmill_condition{name=\"token\"}",
        "rollmill_condition{name=\"agents\"}",
    ] {
        assert!(metrics.contains(series), "{series} is not in {metrics}");
    }
    // No broker runs: an operator sees that even while there is nothing to prove.
    let status = program.status(|status| status["conditions"]["broker"]["ok"] == false);
    assert_eq!(status["ready"], false, "{status}");

    deployment.propose_nonsense().await;
    program.line_with("block on L1 rejected");
    // The tips follow the commit that the line is part of.
    let status = program.status(|status| !status["tips"]["refused"].is_null());
    assert_eq!(status["tips"]["refused"]["block_number"], 1, "{status}");
    assert_eq!(program.metric("rollmill_node_block_refused"), 1.0);
}

/// A broker that grants every lease and knows no job. Returns its address, and the paths of the requests to it.
async fn broker() -> (String, Arc<Mutex<Vec<String>>>) {
    let paths = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&paths);
    let answer = move |uri: Uri| {
        seen.lock().push(uri.path().to_owned());
        let answer = match uri.path() {
            "/v1/status" => json!({ "queue": [], "agents": [], "dead_letters": 0 }),
            "/v1/jobs/cancel" => json!({ "count": 0 }),
            _ => json!({ "held": true, "fence": 1, "holder": null, "expires_in_ms": 30_000 }),
        };
        std::future::ready(Json(answer))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, paths)
}

/// Fault: a dry run holds the submitter's lease, and the prover node that should submit waits for it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_leaves_the_submitters_lease_to_others() {
    let (deployment, folder) = with_keys().await;
    for is_dry in [true, false] {
        let (url, paths) = broker().await;
        let mut flags = vec!["--keys-dir", &folder, "--broker", &url];
        flags.extend(is_dry.then_some("--dry-run"));
        let mut program = deployment.run(PROGRAM, &flags);
        program.line_with("prover account");
        let status = program.status(|status| status["conditions"]["broker"]["ok"] == true);
        assert_eq!(status["conditions"]["submitter"].is_null(), is_dry, "{status}");
        assert_eq!(program.terminate(), Some(0));
        let asks = paths.lock().iter().any(|path| path.starts_with("/v1/named-leases/"));
        assert_eq!(asks, !is_dry, "{:?}", paths.lock());
    }
}

/// Goal: what would only show once there is work shows before.
#[tokio::test]
async fn check_asks_the_broker_the_sources_and_the_keys() {
    let keys = keys();
    let deployment = Deployment::new(&Circuit::ALL.map(|of| keys.opened(of).leaf)).await;
    std::fs::write(deployment.path(KEY_SET_NAME), keys.to_bytes()).unwrap();
    let folder = deployment.folder.path().display().to_string();
    let check = |flags: &[&str]| {
        let flags = [flags, &["check"]].concat();
        let output = deployment.output(PROGRAM, &flags);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stdout).unwrap()
    };
    let lines = check(&["--keys-dir", &folder, "--broker", "http://127.0.0.1:1"]);
    for part in [
        "ok      keys: ",
        "failed  broker: BRC-011",
        "Start the broker, or correct --broker",
        "failed  tx_sources: NDC-001",
        "failed  client_key: NODE-060",
        "rollmill-prover-node keys FILE",
        "ok      prover_id: the account's own",
    ] {
        assert!(lines.contains(part), "{part} is not in {lines}");
    }
    let l1 = deployment.anvil.url.clone();
    let id = format!("0x{}", "9".repeat(40));
    let flags = ["--tx-sources", &l1, "--broker", &l1, "--prover-id", &id];
    let lines = check(&[&flags[..], &["--keys-dir", "/nonexistent/keys"]].concat());
    for part in [
        "failed  keys: CIR-032",
        "rollmill-agent keys --keys-dir",
        "failed  tx_sources: NDC-00",
        "failed  broker: BRC-016",
        &format!("ok      prover_id: {id}"),
    ] {
        assert!(lines.contains(part), "{part} is not in {lines}");
    }
}

/// Goal: the program quotes for its own deployment, in the slot of its L1, to a proposer that may start later.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_sends_its_quotes_to_a_proposer() {
    use rollmill_sequencer::quotes::{
        Admission, Market, QuoteBook, QuoteServer, SlotReader, router,
    };
    use rollmill_sequencer_testing::SLOTS_PER_EPOCH;
    use rollmill_service::prometheus::Registry;
    use rollmill_service::{Secret, Shutdown, listen, serve};

    let (deployment, folder) = with_keys().await;
    let slot = deployment.rollup.current_slot().await.unwrap();
    let listener = listen("127.0.0.1:0", "x").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let market = Market {
        chain_id: rollmill_l1_testing::CHAIN_ID,
        rollup: deployment.rollup.address(),
        slots_per_epoch: SLOTS_PER_EPOCH,
    };
    let metrics = rollmill_sequencer::metrics::Metrics::new(&Registry::new()).unwrap();
    let book = Arc::new(QuoteBook::new(market, None, metrics));
    let slots: SlotReader = Arc::new(move || Ok(slot));
    let token = Some(Secret::generated("secret"));
    let server = QuoteServer::new(Arc::clone(&book), slots, token, Admission::default());
    let shutdown = Shutdown::new();
    tokio::spawn(serve(listener, router(Arc::new(server)), shutdown.clone()));

    let token = deployment.path("quotes.token");
    std::fs::write(&token, "secret\n").unwrap();
    let proposer = format!("{url}=file:{}", token.display());
    let flags = ["--keys-dir", &folder, "--quotes-proposers", &proposer, "--quotes-fee", "0.75"];
    let mut program = deployment.run(PROGRAM, &flags);
    let line = program.line_with("quote posted");
    assert!(line.contains("fee_azt=0.75"), "{line}");
    program.line_with("quote posted");
    let account = rollmill_l1_testing::signer(0).address();
    for epoch in [slot / SLOTS_PER_EPOCH, slot / SLOTS_PER_EPOCH + 1] {
        let quote = book.cheapest(epoch, slot).unwrap();
        assert_eq!((quote.prover, quote.fee.to_string()), (account, "0.75".to_owned()));
    }
    assert_eq!(program.metric("rollmill_prover_node_quotes_posted_total"), 2.0);
    assert_eq!(program.terminate(), Some(0));
    shutdown.start();
}

/// Goal: quotes that cannot be meant are errors at the start.
#[test]
fn settings_of_quotes_that_contradict_each_other_are_named() {
    let url = "http://127.0.0.1:1";
    for (flags, parts) in [
        (&["--quotes-proposers", url][..], ["quotes.proposers", "quotes.fee"]),
        (&["--quotes-fee", "1"], ["quotes.proposers", "quotes.fee"]),
        (
            &["--quotes-proposers", "http://127.0.0.1:1=literal", "--quotes-fee", "1"],
            ["--quotes-proposers", "expected file:PATH or env:NAME"],
        ),
        (
            &["--quotes-proposers", url, "--quotes-fee", "1", "--dry-run"],
            ["quotes.proposers", "dry_run"],
        ),
        (&["--quotes-fee", "-1"], ["--quotes-fee", "amount of AZT"]),
        (&["--quotes-valid-slots", "1"], ["--quotes-valid-slots", "from 2 to 1024"]),
    ] {
        let output = Command::new(PROGRAM).args(flags).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
