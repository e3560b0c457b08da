//! The server and the client against each other, and the server against nonsense.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rollmill_node_client::wire::{BATCH_MAX, BlockRef, REQUEST_BYTES_MAX, TAGS_MAX, TxStatus};
use rollmill_node_client::{ClientError, NodeClient};
use rollmill_protocol::note::fee_balance_slot;
use rollmill_protocol::{ClientInputs, Fr, Genesis, Header, ProofKind, Tx, TxRejection};
use rollmill_service::{HttpLimits, HttpMetrics, Shutdown, serve_within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{self, FEE, tx, value};
use super::{MemoryL1, Proposer, TestNode, sync};
use crate::rpc::{CallError, CallLimits, Rpc};
use crate::{
    AdmissionLimits, ClientProofVerifier, L1Event, Node, NodeError, PoolError, ProofRejected,
};

struct Server {
    test: TestNode,
    client: NodeClient,
    address: String,
    shutdown: Shutdown,
}

impl Server {
    async fn start(test: TestNode) -> Self {
        Self::within(test, AdmissionLimits::default(), HttpLimits::default()).await
    }

    async fn within(test: TestNode, admission: AdmissionLimits, http: HttpLimits) -> Self {
        let rpc = Rpc::new(Arc::clone(&test.node), admission);
        Self::serve(test, rpc, http).await
    }

    async fn serve(test: TestNode, rpc: Rpc, http: HttpLimits) -> Self {
        let listener = rollmill_service::listen("127.0.0.1:0", "listen").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shutdown = Shutdown::new();
        let metrics = HttpMetrics::new("rpc");
        tokio::spawn(serve_within(listener, rpc.router(), http, metrics, shutdown.clone()));
        let client = NodeClient::new(&format!("http://{address}")).unwrap();
        Self { test, client, address, shutdown }
    }

    /// Sends a body unchanged. Returns status line and body.
    async fn raw(&self, body: &[u8]) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may respond and close before it has read a body that is too large.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.start();
    }
}

/// Two blocks with two and one transactions, the first proven.
fn two_blocks() -> TestNode {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    l1.mine(vec![proposer.event(&[0, 1])]);
    l1.mine(vec![proposer.event(&[2]), L1Event::EpochProven { last_block: 1 }]);
    let test = TestNode::new();
    sync(&test.node, &l1);
    test
}

#[tokio::test]
async fn headers_tips_versions_and_genesis_come_through() {
    let server = Server::start(two_blocks()).await;
    let (client, node) = (&server.client, &server.test.node);
    let tips = client.tips().await.unwrap();
    assert_eq!(tips, node.tips());
    assert_eq!((tips.pending.block_number, tips.proven.block_number), (2, 1));
    assert_eq!((tips.verified.block_number, tips.finalized.block_number), (1, 0));
    let mut headers: Vec<Header> = Vec::new();
    for (block, proven) in [
        (BlockRef::Finalized, true),
        (BlockRef::Proven, true),
        (BlockRef::Pending, false),
        (BlockRef::Hash(tips.pending.header_hash), false),
    ] {
        let info = client.header(block).await.unwrap().unwrap();
        assert_eq!(info.proven, proven);
        headers.push(info.decode().unwrap());
    }
    assert_eq!(headers[0], *node.genesis_header());
    assert_eq!(headers[2], headers[3]);
    assert_eq!(client.header(BlockRef::Number(3)).await.unwrap(), None);
    assert_eq!(client.header(BlockRef::Hash(value(1, 1))).await.unwrap(), None);
    assert_eq!(client.genesis().await.unwrap(), support::genesis());
    let versions = client.versions().await.unwrap();
    let genesis = support::genesis();
    assert_eq!((versions.ids.chain_id, versions.ids.vk_root), (genesis.chain_id, genesis.vk_root));
    assert_eq!(versions.ids.rollup_version, genesis.version());
    assert_eq!(versions.slots_per_epoch, genesis.config.slots_per_epoch);
    assert_eq!(versions.genesis_header_hash, headers[0].hash());
}

#[tokio::test]
async fn a_transaction_is_sent_once_and_found_again() {
    let server = Server::start(two_blocks()).await;
    let client = &server.client;
    let anchor = server.test.node.tips().pending.header_hash;
    let sent = tx(7, anchor);
    let hash = client.send_transaction(&sent).await.unwrap();
    assert_eq!(client.send_transaction(&sent).await.unwrap(), hash);
    let waits = TxStatus::Pending { parked: None };
    assert_eq!(client.transaction_status(&hash).await.unwrap(), waits);
    assert_eq!(client.transaction(&hash).await.unwrap(), Some(sent.clone()));
    assert_eq!(client.transaction(&value(1, 1)).await.unwrap(), None);
    let status = client.nullifier_status(&sent.effects().nullifiers[0]).await.unwrap();
    assert_eq!((status.block_number, status.in_pool), (None, true));
    let status = client.nullifier_status(&value(2, 0)).await.unwrap();
    assert_eq!((status.block_number, status.in_pool), (Some(1), false));

    let registry = rollmill_service::prometheus::Registry::new();
    server.test.node.register_metrics(&registry).unwrap();
    let shown = |name: &str| {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric()[0].get_gauge().get_value() as u64
    };
    assert_eq!(shown("rollmill_node_pending_block"), 2);
    assert_eq!(shown("rollmill_node_proven_block"), 1);
    assert_eq!(shown("rollmill_node_pool_waiting"), 1);

    let spent = client.send_transaction(&tx(0, anchor)).await.unwrap_err();
    assert_eq!(spent.node_code(), Some("NODE-021"));
    assert!(spent.to_string().contains("was published before"), "{spent}");
    let mut forged = tx(8, anchor);
    forged.client_proof = vec![0; 10];
    let error = client.send_transaction(&forged).await.unwrap_err();
    assert_eq!(error.node_code(), Some("NODE-022"));
    assert!(!error.is_transient());
}

#[tokio::test]
async fn logs_effects_paths_and_public_data_are_those_of_the_chain() {
    let server = Server::start(two_blocks()).await;
    let (client, node) = (&server.client, &server.test.node);
    let tags = [value(4, 2), value(4, 999), value(4, 5)];
    let logs = client.logs_by_tags(&tags).await.unwrap();
    assert_eq!(logs.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1]);
    let found = &logs[2][0];
    let anchor = node.block(1).unwrap().unwrap().record.header_hash;
    let origin = tx(2, anchor);
    assert_eq!((found.block_number, found.log_index), (2, 1));
    assert_eq!(found.log, origin.body.logs[1]);
    assert_eq!(found.tx_hash, origin.hash());
    assert_eq!(found.first_nullifier, origin.effects().nullifiers[0]);
    assert_eq!(found.note_hashes, origin.effects().note_hashes[..2]);

    let path = client
        .note_path(found.note_start_index + 1, &node.tips().pending.header_hash)
        .await
        .unwrap();
    assert_eq!(path.leaf, origin.effects().note_hashes[1]);
    let note_root = node.block(2).unwrap().unwrap().record.header.state.tx_state.note_root;
    assert_eq!(path.note_root, note_root);
    path.verify(&note_root).unwrap();
    assert!(path.verify(&anchor).is_err());
    // The same leaf is not there under the header before.
    let error = client.note_path(found.note_start_index + 1, &anchor).await.unwrap_err();
    assert_eq!(error.node_code(), Some("NODE-013"));
    let error = client.note_path(0, &value(1, 1)).await.unwrap_err();
    assert_eq!(error.node_code(), Some("NODE-010"));

    let blocks = client.block_effects(1, 10).await.unwrap();
    let decoded: Vec<_> = blocks.iter().map(|block| block.decode().unwrap()).collect();
    assert_eq!(decoded.iter().map(|block| block.txs.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(decoded[1].txs[0], origin.body);
    assert_eq!(decoded[1].header.hash(), node.tips().pending.header_hash);
    assert_eq!(client.block_effects(1, 1).await.unwrap().len(), 1);
    assert_eq!(client.block_effects(9, 1).await.unwrap().len(), 0);
    assert_eq!(client.block_effects(0, 0).await.unwrap().len(), 0);

    let slot = fee_balance_slot(&support::user(2));
    let balance = client.public_data(&slot).await.unwrap().unwrap();
    assert_eq!((balance.value, balance.block_number), (Fr::from(99 * FEE), 2));
    assert_eq!(client.public_data(&value(1, 1)).await.unwrap(), None);
}

/// Goal: a wallet finds the deposits to its address and can prove that they are there, and finds those on the way.
#[tokio::test]
async fn deposits_and_their_paths_come_through() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let (one, other) = (support::user(0), support::user(1));
    l1.mine(vec![proposer.deposit(one, 5), proposer.deposit(other, 6), proposer.deposit(one, 7)]);
    l1.mine(vec![proposer.event(&[]), proposer.event(&[])]);
    l1.mine(vec![proposer.deposit(one, 8), proposer.message(value(8, 8))]);
    let server = Server::start(TestNode::synced(&l1)).await;
    let client = &server.client;
    let found = client.deposits(&one, 0).await.unwrap();
    let found: Vec<_> = found.iter().map(|d| (d.index, d.amount, d.block_number())).collect();
    // Messages are taken by block 2 at first, and by block 4 once block 2 was proposed.
    assert_eq!(found, [(64, 5, 2), (66, 7, 2), (192, 8, 4)]);
    assert_eq!(client.deposits(&one, 67).await.unwrap().len(), 1);
    assert_eq!(client.deposits(&value(1, 1), 0).await.unwrap(), []);

    let tip = &proposer.header;
    let path = client.message_path(66, &tip.hash()).await.unwrap();
    assert_eq!(path.leaf, client.deposits(&one, 0).await.unwrap()[1].leaf(&one));
    path.verify(&tip.state.message_root).unwrap();
    assert!(path.verify(&value(1, 1)).is_err());
    let error = client.message_path(192, &tip.hash()).await.unwrap_err();
    assert_eq!(error.node_code(), Some("NODE-013"));
    let before = server.test.node.block(1).unwrap().unwrap().record.header_hash;
    let error = client.message_path(66, &before).await.unwrap_err();
    assert_eq!(error.node_code(), Some("NODE-013"));
}

/// The stable codes of the responses to a batch, `-` for a result, with the ids.
fn codes(answer: &str) -> Vec<(serde_json::Value, String)> {
    let answers: Vec<serde_json::Value> = serde_json::from_str(answer).unwrap();
    let code = |answer: &serde_json::Value| match answer.get("result") {
        Some(_) => "-".to_owned(),
        None => answer["error"]["data"]["code"].as_str().unwrap().to_owned(),
    };
    answers.iter().map(|answer| (answer["id"].clone(), code(answer))).collect()
}

/// A batch of `count` requests for the tips, with the ids from 0.
fn tips_batch(count: usize) -> String {
    let one = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"node_getTips"}}"#);
    format!("[{}]", (0..count).map(one).collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn a_batch_is_answered_in_order_each_request_on_its_own() {
    let server = Server::start(two_blocks()).await;
    let batch = r#"[
        {"jsonrpc":"2.0","id":"a","method":"node_getTips","params":[]},
        7,
        {"jsonrpc":"2.0","id":2,"method":"node_getEverything"},
        {"jsonrpc":"2.0","id":3,"method":"node_getHeader","params":[1]},
        {"jsonrpc":"2.0","id":4,"method":"node_getHeader","params":[1, 2]},
        [{"jsonrpc":"2.0","id":5,"method":"node_getTips"}],
        {"jsonrpc":"2.0","id":6,"method":"node_sendTransaction","params":["0x0102"]},
        {"jsonrpc":"2.0","method":"node_getTips"}
    ]"#;
    let (status, answer) = server.raw(batch.as_bytes()).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let expected = serde_json::json!([
        ["a", "-"],
        [null, "NODE-042"],
        [2, "NODE-043"],
        [3, "-"],
        [4, "NODE-012"],
        [null, "NODE-042"],
        [6, "NODE-020"],
        [null, "-"]
    ]);
    assert_eq!(serde_json::to_value(codes(&answer)).unwrap(), expected, "{answer}");
}

#[tokio::test]
async fn a_batch_is_bounded_in_requests_time_and_answer() {
    let server = Server::start(two_blocks()).await;
    let (_, answer) = server.raw(tips_batch(BATCH_MAX).as_bytes()).await;
    let all: Vec<_> = (0..BATCH_MAX).map(|id| (id.into(), "-".to_owned())).collect();
    assert_eq!(codes(&answer), all);
    let (_, answer) = server.raw(tips_batch(BATCH_MAX + 1).as_bytes()).await;
    assert!(answer.contains("NODE-047: a batch of 33 requests, at most 32"), "{answer}");

    for (limits, expected) in [
        (
            CallLimits { batch_answer_bytes: 2, ..CallLimits::default() },
            ["-", "NODE-048", "NODE-048"],
        ),
        (CallLimits { batch_time: Duration::ZERO, ..CallLimits::default() }, ["NODE-046"; 3]),
        (CallLimits { calls: 0, turn: Duration::ZERO, ..CallLimits::default() }, ["NODE-046"; 3]),
    ] {
        let test = two_blocks();
        let rpc = Rpc::new(Arc::clone(&test.node), AdmissionLimits::default()).within(limits);
        let server = Server::serve(test, rpc, HttpLimits::default()).await;
        let (status, answer) = server.raw(tips_batch(3).as_bytes()).await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        let found: Vec<_> = codes(&answer).into_iter().map(|(_, code)| code).collect();
        assert_eq!(found, expected, "{limits:?}");
    }
}

/// Goal: for any input, the response is an error with a code, and the next request is served.
#[tokio::test]
async fn nonsense_is_answered_with_a_code() {
    let server = Server::start(two_blocks()).await;
    let request = |method: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":4,"method":"{method}","params":{params}}}"#)
    };
    let hash = "0x00";
    let cases = [
        (String::new(), "NODE-041"),
        ("{".to_owned(), "NODE-041"),
        ("[]".to_owned(), "NODE-042"),
        (format!("[{}1]", "1,".repeat(10_000)), "NODE-047"),
        ("7".to_owned(), "NODE-042"),
        (r#"{"jsonrpc":"1.0","id":1,"method":"node_getTips"}"#.to_owned(), "NODE-042"),
        (r#"{"jsonrpc":"2.0","id":1}"#.to_owned(), "NODE-042"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1}}"#.to_owned(), "NODE-042"),
        (request("node_getEverything", "[]"), "NODE-043"),
        (request("node_getTips", "[1]"), "NODE-012"),
        (request("node_getHeader", "[]"), "NODE-012"),
        (request("node_getHeader", "[-1]"), "NODE-012"),
        (request("node_getHeader", r#"["latest"]"#), "NODE-012"),
        (request("node_getHeader", "[null]"), "NODE-012"),
        (request("node_sendTransaction", "[7]"), "NODE-012"),
        (request("node_sendTransaction", r#"["0xzz"]"#), "NODE-012"),
        (request("node_sendTransaction", r#"["0x0102"]"#), "NODE-020"),
        (request("node_getTransaction", &format!(r#"["{hash}"]"#)), "NODE-012"),
        (request("node_getTransactionStatus", "[[]]"), "NODE-012"),
        (request("node_getLogsByTags", r#"[["0x00"]]"#), "NODE-012"),
        (request("node_getLogsByTags", r#""a""#), "NODE-042"),
        (request("node_getBlockEffects", "[0]"), "NODE-012"),
        (request("node_getBlockEffects", "[0, 1.5]"), "NODE-012"),
        (request("node_getNotePath", r#"[18446744073709551615, "0x1"]"#), "NODE-012"),
        (request("node_getDeposits", "[1]"), "NODE-012"),
        (request("node_getMessagePath", "[-1, 2]"), "NODE-012"),
        (request("node_getPublicData", "[{}]"), "NODE-012"),
        (request("node_getNullifierStatus", "[]"), "NODE-012"),
    ];
    for (body, code) in cases {
        let (status, answer) = server.raw(body.as_bytes()).await;
        assert_eq!(status, "HTTP/1.1 200 OK", "{body}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["data"]["code"], code, "{body}: {answer}");
    }
    let (_, answer) = server.raw(&[0xff; 300]).await;
    assert!(answer.contains("NODE-041"), "{answer}");
    let (status, answer) = server.raw(&vec![b' '; REQUEST_BYTES_MAX + 1]).await;
    assert_eq!(status, "HTTP/1.1 413 Payload Too Large");
    assert!(answer.contains("NODE-040"), "{answer}");
    let deep = "[".repeat(100_000);
    let (_, answer) = server.raw(deep.as_bytes()).await;
    assert!(answer.contains("NODE-041"), "{answer}");

    let many = vec![value(1, 1); TAGS_MAX + 1];
    let error = server.client.logs_by_tags(&many).await.unwrap_err();
    assert_eq!(error.node_code(), Some("NODE-012"));
    assert_eq!(server.client.block_effects(0, u64::MAX).await.unwrap().len(), 3);
    let (_, answer) = server.raw(request("node_getTips", "[]").as_bytes()).await;
    assert!(answer.contains("\"id\":4") && answer.contains("\"result\""), "{answer}");
}

#[tokio::test]
async fn a_node_that_is_away_is_worth_another_try_and_a_stranger_is_not() {
    let listener = rollmill_service::listen("127.0.0.1:0", "listen").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = Shutdown::new();
    let stranger = axum::Router::new();
    tokio::spawn(rollmill_service::serve(listener, stranger, shutdown.clone()));
    let error = NodeClient::new(&url).unwrap().tips().await.unwrap_err();
    assert!(matches!(error, ClientError::NotANode { .. }), "{error}");

    let listener = rollmill_service::listen("127.0.0.1:0", "listen").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = NodeClient::new(&url).unwrap().tips().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("cannot be reached: connection refused"), "{error}");
    let error = NodeClient::new("http://no-such-host.invalid").unwrap().tips().await.unwrap_err();
    assert!(error.to_string().contains("the host name is unknown"), "{error}");
    shutdown.start();
}

/// The genesis file that a client gets results in the header that the node reports.
#[tokio::test]
async fn a_client_can_rebuild_genesis_itself() {
    let server = Server::start(TestNode::new()).await;
    let genesis: Genesis = server.client.genesis().await.unwrap();
    let built = genesis.build(rollmill_protocol::tree::MemoryStore::new()).unwrap();
    let versions = server.client.versions().await.unwrap();
    assert_eq!(built.header.hash(), versions.genesis_header_hash);
    assert_eq!(server.test.dir.path(), server.test.node.settings().data_dir);
}

/// Accepts proofs whose first byte is 7, once the gate is open. Reports when it starts on one.
#[derive(Debug)]
struct Gated {
    gate: parking_lot::Mutex<std::sync::mpsc::Receiver<()>>,
    seen: tokio::sync::mpsc::UnboundedSender<()>,
}

impl ClientProofVerifier for Gated {
    fn verify(
        &self,
        kind: ProofKind,
        inputs: &ClientInputs,
        proof: &[u8],
    ) -> Result<(), ProofRejected> {
        self.seen.send(()).unwrap();
        // An error is an open gate.
        let _ = self.gate.lock().recv();
        super::FirstByteIsSeven.verify(kind, inputs, proof)
    }
}

/// Goal: with as many transactions as may wait for verification, further ones are turned away at
/// once, other requests are served, and those that wait are taken when it is their turn.
#[tokio::test]
async fn too_many_transactions_are_answered_with_busy_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (open, gate) = std::sync::mpsc::channel();
    let (seen, mut started) = tokio::sync::mpsc::unbounded_channel();
    let verifier = Gated { gate: parking_lot::Mutex::new(gate), seen };
    let node = Node::open(super::settings(dir.path()), Arc::new(verifier)).unwrap();
    let anchor = node.genesis_header().hash();
    let limits = AdmissionLimits { workers: 1, queue: 2, queue_per_peer: 2 };
    let server = Server::within(TestNode { node, dir }, limits, HttpLimits::default()).await;
    let send = |i: u64| {
        let client = server.client.clone();
        tokio::spawn(async move { client.send_transaction(&tx(i, anchor)).await })
    };
    let first = send(0);
    started.recv().await.unwrap();
    // One is verified, two wait, and any other gets a busy error.
    let mut waiting: Vec<_> = (1..=6).map(send).collect();
    let mut busy = 0;
    while busy < 4 {
        let (result, index, rest) = first_done(waiting).await;
        let error = result.unwrap_err();
        assert_eq!(error.node_code(), Some("NODE-028"), "{index}: {error}");
        assert!(error.is_transient());
        (busy, waiting) = (busy + 1, rest);
    }
    assert_eq!(server.client.tips().await.unwrap().pending.block_number, 0);
    drop(open);
    first.await.unwrap().unwrap();
    for sent in waiting {
        sent.await.unwrap().unwrap();
    }
    assert_eq!(server.test.node.ready_count(), 3);
}

type Sending = tokio::task::JoinHandle<Result<Fr, ClientError>>;

/// The first of these to end, its place, and the others.
async fn first_done(mut all: Vec<Sending>) -> (Result<Fr, ClientError>, usize, Vec<Sending>) {
    let (index, result) = std::future::poll_fn(|context| {
        for (index, task) in all.iter_mut().enumerate() {
            if let std::task::Poll::Ready(result) = std::pin::Pin::new(task).poll(context) {
                return std::task::Poll::Ready((index, result));
            }
        }
        std::task::Poll::Pending
    })
    .await;
    drop(all.swap_remove(index));
    (result.unwrap(), index, all)
}

/// Goal: incomplete requests and silent connections keep no one else from the JSON-RPC.
#[tokio::test]
async fn honest_requests_are_served_among_half_sent_ones() {
    let limits = HttpLimits { connections: 32, connections_per_peer: 32, ..HttpLimits::default() };
    let server = Server::within(two_blocks(), AdmissionLimits::default(), limits).await;
    let mut open = Vec::new();
    for i in 0..256 {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        let half = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
        // Some send half a body, others nothing.
        let sent = if i % 2 == 0 { half } else { "" };
        // The server may have closed it for the next one already.
        let _ = stream.write_all(sent.as_bytes()).await;
        open.push(stream);
    }
    let tips = server.client.tips().await.unwrap();
    assert_eq!(tips.pending.block_number, 2);
    let anchor = tips.pending.header_hash;
    server.client.send_transaction(&tx(7, anchor)).await.unwrap();
}

/// Goal: a node asks its peers for the client proofs of blocks that others built, and takes none
/// that is not good.
#[tokio::test]
async fn missing_client_proofs_are_fetched_from_peers() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let anchor = proposer.header.hash();
    let source = TestNode::new();
    for i in 0..3 {
        source.node.submit(&tx(i, anchor).to_bytes()).unwrap();
    }
    l1.mine(vec![proposer.event(&[0, 1]), proposer.event(&[])]);
    let mut forged = tx(2, anchor);
    forged.body.effects.note_hashes[0] = value(7, 7);
    l1.mine(vec![L1Event::BlockProposed(proposer.propose(&[forged]))]);
    sync(&source.node, &l1);
    let server = Server::start(source).await;

    let test = TestNode::new();
    sync(&test.node, &l1);
    assert_eq!(test.node.tips().unverified(), Some(1));
    let unreachable = NodeClient::new("http://127.0.0.1:1").unwrap();
    let peers = vec![unreachable, server.client.clone()];
    let shutdown = Shutdown::new();
    let pause = std::time::Duration::from_millis(1);
    let mut tips = test.node.watch_tips();
    let node = Arc::clone(&test.node);
    let fetching = tokio::spawn(crate::fetch_missing(node, peers, pause, shutdown.clone()));
    tips.wait_for(|tips| tips.verified.block_number == 2).await.unwrap();
    assert_eq!(test.node.tips().unverified(), Some(3), "nobody has a proof of that");
    shutdown.start();
    fetching.await.unwrap();
}

/// Goal: a wallet abandons a transaction exactly when the pool rejects it as it is. Method: one error of each
/// variant in the form of the wire; the match does not compile without a new variant.
#[test]
fn a_client_knows_which_errors_of_the_pool_reject_the_transaction_itself() {
    let malformed = Tx::from_bytes(&[]).unwrap_err();
    let nullifier = value(1, 1);
    for error in [
        PoolError::Malformed(malformed),
        PoolError::Rejected(TxRejection::GasLimit),
        PoolError::Proof { reason: "wrong".to_owned() },
        PoolError::Conflict { nullifier, other: nullifier },
        PoolError::Full { max: 1, offer: 1 },
        PoolError::PayerOvercommitted { balance: 0, needed: 1 },
        PoolError::PayerFull { max: 1 },
        PoolError::Busy,
        PoolError::TooLarge { max: 1, got: 2 },
        PoolError::Node(NodeError::corrupt("a record")),
    ] {
        let rejects = match &error {
            PoolError::Malformed(_)
            | PoolError::Rejected(_)
            | PoolError::Proof { .. }
            | PoolError::PayerOvercommitted { .. }
            | PoolError::TooLarge { .. } => true,
            PoolError::Conflict { .. }
            | PoolError::Full { .. }
            | PoolError::PayerFull { .. }
            | PoolError::Busy
            | PoolError::Node(_) => false,
        };
        let answer = CallError::from(error).to_wire();
        assert_eq!(answer.rejects_transaction(), rejects, "{}", answer.message);
    }
}

/// Goal: the client reads and sends over TLS, and reports what is wrong otherwise.
#[tokio::test]
async fn client_and_node_speak_tls() {
    use rollmill_net_testing::Authority;
    use rollmill_service::prometheus::Registry;
    use rollmill_service::{HttpServer, Tls, TlsFiles};

    let test = TestNode::new();
    let rpc = Rpc::new(Arc::clone(&test.node), AdmissionLimits::default());
    let (ours, other) =
        (Authority::new(test.dir.path(), "ours"), Authority::new(test.dir.path(), "other"));
    let signed = ours.sign("node", &["localhost"]);
    let settings = crate::config::ListenerConfig {
        listen_tls_cert: Some(signed.cert),
        listen_tls_key: Some(signed.key),
        ..Default::default()
    };
    let limits = HttpLimits::default();
    let (protection, registry) = (settings.protection(), Registry::new());
    let server = HttpServer::open("rpc", "127.0.0.1:0", limits, &protection, &registry).unwrap();
    let listener = rollmill_service::listen("127.0.0.1:0", "listen").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let shutdown = Shutdown::new();
    let served = tokio::spawn(server.serve(listener, rpc.router(), shutdown.clone()));

    let client = |ca: &Authority| {
        let files = TlsFiles { ca: Some(ca.file()), identity: None };
        NodeClient::with_tls(&url, &Tls::open(files).unwrap()).unwrap()
    };
    let tips = client(&ours).tips().await.unwrap();
    assert_eq!(tips.pending, test.node.tips().pending);
    let error = client(&other).tips().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("not trusted here; set --tls-ca"), "{error}");
    let plain = NodeClient::new(&url.replace("https://", "http://")).unwrap();
    let error = plain.tips().await.unwrap_err().to_string();
    assert!(error.starts_with("NDC-002") && error.contains("this address serves TLS"), "{error}");
    shutdown.start();
    served.await.unwrap().unwrap();
}
