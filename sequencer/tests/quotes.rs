//! A proposer's interface for quotes over HTTP, and in the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::with_client_key;
use rollmill_l1::Azt;
use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::quote::{Quote, SignedQuote};
use rollmill_l1_testing::{CHAIN_ID, signer};
use rollmill_net_testing::Authority;
use rollmill_sequencer::metrics::Metrics;
use rollmill_sequencer::quotes::{
    Admission, ListenerConfig, Market, QuoteBook, QuoteServer, SlotReader, router,
};
use rollmill_sequencer_client::{ClientError, QuoteClient, Reason, Stored};
use rollmill_service::prometheus::{Registry, TextEncoder};
use rollmill_service::{HttpLimits, HttpServer, Secret, Shutdown, Tls, TlsFiles, listen, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rollmill-sequencer");
const MARKET: Market =
    Market { chain_id: 1, rollup: Address::repeat_byte(0xa0), slots_per_epoch: 8 };
/// In epoch 5.
const SLOT: u64 = 43;

fn key(i: u64) -> PrivateKeySigner {
    format!("{:064x}", i + 1).parse().unwrap()
}

fn signed(i: u64, epoch: u64, fee: &str) -> SignedQuote {
    let (prover, fee) = (key(i).address(), fee.parse().unwrap());
    let quote = Quote { prover, epoch, fee, valid_until_slot: SLOT + 10 };
    quote.sign(&key(i), MARKET.chain_id, MARKET.rollup).unwrap()
}

/// A proposer that takes quotes until it is dropped.
struct Proposer {
    address: String,
    slot: Arc<AtomicU64>,
    registry: Registry,
    shutdown: Shutdown,
}

impl Proposer {
    async fn start(token: Option<&str>, provers: &[u64]) -> Self {
        Self::protected(token, provers, ListenerConfig::default()).await
    }

    async fn protected(token: Option<&str>, provers: &[u64], listener: ListenerConfig) -> Self {
        let registry = Registry::new();
        let provers = provers.iter().map(|i| key(*i).address()).collect();
        let metrics = Metrics::new(&registry).unwrap();
        let book = Arc::new(QuoteBook::new(MARKET, Some(provers), metrics));
        let slot = Arc::new(AtomicU64::new(SLOT));
        let read = Arc::clone(&slot);
        let slots: SlotReader = Arc::new(move || Ok(read.load(Ordering::SeqCst)));
        let token = token.map(Secret::generated);
        let quotes = QuoteServer::new(book, slots, token, Admission::default());
        let (limits, protection) = (HttpLimits::default(), listener.protection());
        let server =
            HttpServer::open("quotes", "127.0.0.1:0", limits, &protection, &registry).unwrap();
        let listener = listen("127.0.0.1:0", "x").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap().to_string(), Shutdown::new());
        tokio::spawn(server.serve(listener, router(Arc::new(quotes)), shutdown.clone()));
        Self { address, slot, registry, shutdown }
    }

    fn client(&self, token: Option<&str>) -> QuoteClient {
        QuoteClient::new(&format!("http://{}", self.address), token).unwrap()
    }

    /// The response to a request written by hand.
    async fn raw(&self, head: &str, body: &[u8]) -> String {
        self.raw_with(head, &self.address, "Content-Type: application/octet-stream", body).await
    }

    /// The response to a request for `host`, with another header.
    async fn raw_with(&self, head: &str, host: &str, header: &str, body: &[u8]) -> String {
        let mut stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let length = body.len();
        let head = format!(
            "{head} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             {header}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn figures(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap()
    }
}

impl Drop for Proposer {
    fn drop(&mut self) {
        self.shutdown.start();
    }
}

#[tokio::test]
async fn quotes_are_taken_once_and_listed_from_the_cheapest_on() {
    let proposer = Proposer::start(Some("secret"), &[0, 1]).await;
    let client = proposer.client(Some("secret\n"));
    assert_eq!(client.list(5).await.unwrap(), []);
    let (dear, cheap) = (signed(0, 5, "2.5"), signed(1, 5, "0.000000000000000001"));
    assert_eq!(client.post(&dear).await.unwrap(), Stored::New);
    assert_eq!(client.post(&dear).await.unwrap(), Stored::Known);
    assert_eq!(client.post(&cheap).await.unwrap(), Stored::New);
    let list = client.list(5).await.unwrap();
    let shown: Vec<_> = list.iter().map(|it| (it.prover.as_str(), it.fee.as_str())).collect();
    let [zero, one] = [0, 1].map(|i| key(i).address().to_string());
    assert_eq!(shown, [(&one[..], "0.000000000000000001"), (&zero[..], "2.5")]);
    // Whoever reads the list can check it.
    let digits: String = cheap.signature.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(list[0].signature, format!("0x{digits}"));
    assert_eq!((list[0].epoch, list[0].valid_until_slot), (5, SLOT + 10));
    assert_eq!(client.list(6).await.unwrap(), []);
    proposer.slot.store(SLOT + 11, Ordering::SeqCst);
    assert_eq!(client.list(5).await.unwrap(), [], "none is valid any more");
    assert!(proposer.figures().contains("rollmill_sequencer_quotes_accepted_total 2"));
}

#[tokio::test]
async fn what_is_rejected_has_its_code_and_its_kind_and_is_counted() {
    let proposer = Proposer::start(Some("secret"), &[0]).await;
    let client = proposer.client(Some("secret"));
    let elsewhere = |chain_id, rollup| signed(0, 5, "1").quote.sign(&key(0), chain_id, rollup);
    let rejected = [
        (signed(1, 5, "1"), "SEQ-029", Reason::Prover),
        (elsewhere(2, MARKET.rollup).unwrap(), "SEQ-030", Reason::Prover),
        (elsewhere(1, Address::ZERO).unwrap(), "SEQ-030", Reason::Prover),
        (signed(0, 4, "1"), "SEQ-026", Reason::Terms),
    ];
    for (quote, code, reason) in rejected {
        let error = client.post(&quote).await.unwrap_err();
        assert!(error.to_string().starts_with(code), "{error}");
        assert_eq!((error.reason(), error.is_transient()), (reason, false));
    }
    client.post(&signed(0, 5, "1")).await.unwrap();
    let error = client.post(&signed(0, 5, "2")).await.unwrap_err();
    assert!(error.to_string().starts_with("SEQ-031"), "{error}");
    assert_eq!(error.reason(), Reason::Superseded);
    proposer.slot.store(SLOT + 11, Ordering::SeqCst);
    let error = client.post(&signed(0, 6, "1")).await.unwrap_err();
    assert!(error.to_string().starts_with("SEQ-027"), "{error}");
    for wrong in [None, Some("other")] {
        let client = proposer.client(wrong);
        for error in
            [client.post(&signed(0, 5, "1")).await.unwrap_err(), client.list(5).await.unwrap_err()]
        {
            assert!(error.to_string().starts_with("SEQ-020"), "{error}");
            assert_eq!(error.reason(), Reason::Token);
        }
    }
    let figures = proposer.figures();
    for (code, count) in [("SEQ-020", 4), ("SEQ-026", 1), ("SEQ-030", 2), ("SEQ-031", 1)] {
        let line = format!("rollmill_sequencer_quotes_rejected_total{{code=\"{code}\"}} {count}");
        assert!(figures.contains(&line), "{line} is not in {figures}");
    }
}

#[tokio::test]
async fn nothing_but_a_quote_is_read() {
    let proposer = Proposer::start(None, &[0]).await;
    let right = signed(0, 5, "1").to_bytes();
    let longer = [&right[..], &[0]].concat();
    for (head, body, status, code) in [
        ("POST /quotes", &longer[..], 413, "SEQ-021"),
        ("POST /quotes", &right[..SignedQuote::BYTES - 1], 400, "SEQ-023"),
        ("POST /quotes", &[], 400, "SEQ-023"),
        ("GET /quotes", &[], 405, "SEQ-025"),
        ("POST /quotes/5", &[], 405, "SEQ-025"),
        ("GET /quotes/five", &[], 404, "SEQ-024"),
        ("GET /quotes/-1", &[], 404, "SEQ-024"),
        ("GET /quotes/18446744073709551616", &[], 404, "SEQ-024"),
        ("GET /", &[], 404, "SEQ-024"),
    ] {
        let answer = proposer.raw(head, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{head}: {answer}");
    }
    let answer = proposer.raw("POST /quotes", &right).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let answer = proposer.raw("GET /quotes/18446744073709551615", &[]).await;
    assert!(answer.ends_with("[]"), "{answer}");
}

/// Goal: every code of a rejection is a series from the start, so that the first rejection is an increase.
#[tokio::test]
async fn the_figures_of_rejections_are_there_from_the_start() {
    let figures = Proposer::start(None, &[0]).await.figures();
    for code in ["SEQ-020", "SEQ-030", "SEQ-034", "NODE-004"] {
        let line = format!("rollmill_sequencer_quotes_rejected_total{{code=\"{code}\"}} 0");
        assert!(figures.contains(&line), "{line} is not in {figures}");
    }
}

/// Goal: quotes and tokens cross a network encrypted, to a proposer that the prover knows and from provers that the
/// proposer knows.
#[tokio::test]
async fn quotes_are_taken_over_tls_from_those_with_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "other"));
    let (server, client) = (ours.sign("server", &["127.0.0.1"]), ours.sign("client", &["prover"]));
    let listener = ListenerConfig {
        listen_tls_cert: Some(server.cert),
        listen_tls_key: Some(server.key),
        listen_client_ca: Some(ours.file()),
        ..ListenerConfig::default()
    };
    let proposer = Proposer::protected(Some("secret"), &[0], listener).await;
    let url = format!("https://{}", proposer.address);
    let client_of = |ca: &Authority, identity| {
        let tls = Tls::open(TlsFiles { ca: Some(ca.file()), identity }).unwrap();
        QuoteClient::with_tls(&url, Some("secret"), &tls).unwrap()
    };
    let identity = Some((client.cert, client.key));
    let known = client_of(&ours, identity.clone());
    assert_eq!(known.post(&signed(0, 5, "1")).await.unwrap(), Stored::New);
    assert_eq!(known.list(5).await.unwrap().len(), 1);
    let nameless = client_of(&ours, None).post(&signed(0, 6, "1")).await.unwrap_err();
    assert_eq!(nameless.code(), "SQC-003", "{nameless}");
    assert!(nameless.to_string().contains("client certificate"), "{nameless}");
    let distrusting = client_of(&other, identity).post(&signed(0, 6, "1")).await.unwrap_err();
    assert!(distrusting.to_string().contains("set --tls-ca"), "{distrusting}");
    // Plain HTTP gets an answer that says what to do, and its quote is not taken.
    let plain = QuoteClient::new(&url.replace("https", "http"), Some("secret")).unwrap();
    let error = plain.post(&signed(0, 6, "1")).await.unwrap_err();
    assert_eq!(error.code(), "SVC-015", "{error}");
    assert_eq!(known.list(6).await.unwrap(), []);
    let expiry = "rollmill_tls_certificate_expiry_timestamp_seconds{server=\"quotes\"}";
    assert!(proposer.figures().contains(expiry));
}

/// Goal: no page in a browser can read or send quotes.
#[tokio::test]
async fn requests_that_a_page_could_send_are_rejected() {
    let listener = ListenerConfig {
        listen_hosts: vec!["proposer.example".to_owned()],
        ..ListenerConfig::default()
    };
    let proposer = Proposer::protected(None, &[0], listener).await;
    let quote = signed(0, 5, "1").to_bytes();
    let (bytes, none): (_, &[u8]) = ("Content-Type: application/octet-stream", &[]);
    for (head, host, header, body, status, code) in [
        ("GET /quotes/5", "evil.example", "A: b", none, 403, "SVC-012"),
        ("POST /quotes", "evil.example", bytes, &quote[..], 403, "SVC-012"),
        ("GET /quotes/5", "localhost", "Origin: https://evil.example", none, 403, "SVC-013"),
        ("POST /quotes", "localhost", "Content-Type: text/plain", &quote[..], 415, "SVC-014"),
        ("POST /quotes", "localhost", "A: b", &quote[..], 415, "SVC-014"),
    ] {
        let answer = proposer.raw_with(head, host, header, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
        assert!(answer.contains(code), "{head}: {answer}");
    }
    assert!(proposer.figures().contains("rollmill_sequencer_quotes_accepted_total 0"));
    let answer = proposer.raw_with("POST /quotes", "proposer.example", bytes, &quote).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

/// Goal: whatever provers send, a proposer works on a few requests at a time, and tells the others to come again.
#[tokio::test(flavor = "multi_thread")]
async fn further_requests_are_turned_away_while_the_places_are_taken() {
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let book = Arc::new(QuoteBook::new(MARKET, None, metrics));
    let (started, starts) = std::sync::mpsc::channel();
    let (go, goes) = std::sync::mpsc::channel::<()>();
    let gate = parking_lot::Mutex::new(goes);
    let slot: SlotReader = Arc::new(move || {
        started.send(()).unwrap();
        gate.lock().recv().unwrap();
        Ok(SLOT)
    });
    let admission = Admission { places: 1, turn: std::time::Duration::ZERO };
    let server = QuoteServer::new(Arc::clone(&book), slot, None, admission);
    let listener = listen("127.0.0.1:0", "x").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = Shutdown::new();
    tokio::spawn(serve(listener, router(Arc::new(server)), shutdown.clone()));
    let client = QuoteClient::new(&url, None).unwrap();
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.post(&signed(0, 5, "1")).await }
    });
    let starts = tokio::task::spawn_blocking(move || {
        starts.recv().unwrap();
        starts
    });
    let starts = starts.await.unwrap();
    for error in
        [client.post(&signed(1, 5, "1")).await.unwrap_err(), client.list(5).await.unwrap_err()]
    {
        assert!(error.to_string().starts_with("SEQ-034"), "{error}");
        assert_eq!((error.reason(), error.is_transient()), (Reason::Busy, true));
    }
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), Stored::New);
    go.send(()).unwrap();
    assert_eq!(client.list(5).await.unwrap().len(), 1, "the place is free again");
    drop(starts);
    shutdown.start();
}

/// Goal: whatever listens there, a client says what it found, and never repeats it without end.
#[tokio::test]
async fn something_else_at_the_address_is_named() {
    let gone = listen("127.0.0.1:0", "x").await.unwrap().local_addr().unwrap();
    let client = QuoteClient::new(&format!("http://{gone}"), None).unwrap();
    let error = client.post(&signed(0, 5, "1")).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert_eq!((error.reason(), error.is_transient()), (Reason::Unreachable, true));

    // The admin address of a program, or any other server.
    let listener = listen("127.0.0.1:0", "x").await.unwrap();
    let address = listener.local_addr().unwrap();
    let long = axum::routing::get(|| async { "x".repeat(100_000) });
    let other = axum::Router::new()
        .route("/quotes", axum::routing::post(|| async { "thanks" }))
        .route("/quotes/5", axum::routing::get(|| async { "hello" }))
        .route("/quotes/6", long);
    let shutdown = Shutdown::new();
    tokio::spawn(serve(listener, other, shutdown.clone()));
    let client = QuoteClient::new(&format!("http://{address}/"), None).unwrap();
    for error in [
        client.list(5).await.unwrap_err(),
        client.list(6).await.unwrap_err(),
        client.list(7).await.unwrap_err(),
    ] {
        assert!(matches!(error, ClientError::NotAProposer { .. }), "{error}");
    }
    shutdown.start();
}

/// Goal: the program takes quotes for its own deployment, in the slot of its L1, and shows them.
#[tokio::test]
async fn the_program_takes_quotes_and_shows_the_cheapest() {
    let deployment = with_client_key(vec![signer(0).address()]).await;
    let prover = key(9);
    let flags =
        ["--quotes-listen", "127.0.0.1:0", "--quotes-provers", &prover.address().to_string()];
    let mut program = deployment.run(PROGRAM, &flags);
    let line = program.line_with("listening for quotes of provers");
    let (_, address) = line.split_once("address=").unwrap();
    let address = address.split_whitespace().next().unwrap().trim_matches('"').to_owned();
    assert!(program.get("/metrics").contains("rollmill_sequencer_quote_fee_azt NaN"));
    program.line_with("proposer account");

    let slot = deployment.rollup.current_slot().await.unwrap();
    let quote = Quote {
        prover: prover.address(),
        epoch: slot / rollmill_sequencer_testing::SLOTS_PER_EPOCH,
        fee: Azt::new(1_250_000_000_000_000_000),
        valid_until_slot: slot + 5,
    };
    let rollup = deployment.rollup.address();
    let client = QuoteClient::new(&format!("http://{address}"), None).unwrap();
    client.post(&quote.sign(&prover, CHAIN_ID, rollup).unwrap()).await.unwrap();
    let foreign = Quote { epoch: quote.epoch + 1, ..quote };
    let error = client.post(&foreign.sign(&prover, 1, rollup).unwrap()).await.unwrap_err();
    assert!(error.to_string().starts_with("SEQ-030"), "{error}");
    assert_eq!(client.list(quote.epoch).await.unwrap()[0].fee, "1.25");
    let line = program.line_with("cheapest quote");
    for part in ["fee_azt=1.25", &format!("prover={}", prover.address())] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert_eq!(program.metric("rollmill_sequencer_quote_fee_azt"), 1.25);
    assert_eq!(program.metric("rollmill_sequencer_quotes"), 1.0);
    assert_eq!(program.terminate(), Some(0));
}

/// Goal: settings for quotes that nobody could send are errors at the start.
#[tokio::test]
async fn settings_that_contradict_each_other_are_named() {
    let run = |flags: &[&str]| {
        let output = std::process::Command::new(PROGRAM).args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let account = format!("0x{}", "1".repeat(40));
    for (flags, parts) in [
        (&["--quotes-provers", &account[..]][..], ["quotes.provers", "quotes.listen"]),
        (&["--quotes-listen-token", "env:HOME"], ["quotes.listen_token", "quotes.listen"]),
        (&["--quotes-listen-hosts", "a.example"], ["quotes.listen_hosts", "quotes.listen"]),
        (
            &["--quotes-listen", "127.0.0.1:0", "--quotes-listen-tls-cert", "x.pem"],
            ["quotes.listen_tls_cert", "quotes.listen_tls_key"],
        ),
        (
            &[
                "--quotes-listen",
                "127.0.0.1:0",
                "--committee-attest-only",
                "--committee-listen",
                "127.0.0.1:0",
            ],
            ["committee.attest_only", "quotes.listen"],
        ),
        (&["--quotes-listen", "127.0.0.1"], ["--quotes-listen", "HOST:PORT"]),
        (
            &["--quotes-listen", "127.0.0.1:0", "--quotes-provers", "0x12"],
            ["--quotes-provers", "20-byte"],
        ),
    ] {
        let text = run(flags);
        for part in parts {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
