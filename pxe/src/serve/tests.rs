//! Every method of the service, over HTTP, against a chain in memory; and what the service must not take.

mod access;
mod contracts;
mod keyed;

use std::sync::mpsc;

use ark_ff::Zero;
use rollmill_circuits::client::ClientWitness;
use rollmill_protocol::Fr;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::genesis::GenesisNote;
use rollmill_pxe_store::Cost;
use rollmill_service::prometheus::Registry;
use rollmill_service::{HttpLimits, HttpServer, Protection, listen};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::*;
use crate::keys::Keys;
use crate::stored;
use crate::wallet::tests::CheckedOnly;
use crate::wallet::tests::ledger::{FEE, FEE_MAX, Ledger, Node};

const UNIT: u64 = 1_000_000_000;
const NOTES: [u64; 2] = [300 * UNIT, 200 * UNIT];
const TOTAL: u64 = NOTES[0] + NOTES[1];
const AMOUNT: u64 = 120 * UNIT;
const TOKEN: &str = "right";

/// A service over a store with two accounts. Alice has two notes; every block counts as proven.
struct Case {
    _folder: tempfile::TempDir,
    chain: Node,
    service: Arc<Service>,
    address: String,
    alice: String,
    /// The other account.
    bob: String,
    shutdown: Shutdown,
    /// The node's, which outlives the service's.
    node_shutdown: Shutdown,
    server: Option<JoinHandle<Result<(), rollmill_service::Error>>>,
}

impl Drop for Case {
    fn drop(&mut self) {
        self.shutdown.start();
        self.node_shutdown.start();
    }
}

impl Case {
    async fn new() -> Self {
        Self::with(Arc::new(CheckedOnly), ServiceLimits::default()).await
    }

    async fn with(prover: Arc<dyn ClientProver>, limits: ServiceLimits) -> Self {
        Self::at(None, prover, limits).await
    }

    /// With the node at another URL than that of the chain.
    async fn at(url: Option<&str>, prover: Arc<dyn ClientProver>, limits: ServiceLimits) -> Self {
        Self::opened(url, prover, limits, Access::default()).await
    }

    /// With pages and applications.
    async fn granting(access: Access) -> Self {
        Self::opened(None, Arc::new(CheckedOnly), ServiceLimits::default(), access).await
    }

    async fn opened(
        url: Option<&str>,
        prover: Arc<dyn ClientProver>,
        limits: ServiceLimits,
        access: Access,
    ) -> Self {
        let alice = Keys::from_seed(&[1; 32]);
        let owner = alice.address().to_field();
        let note = |(i, value): (u64, u64)| GenesisNote { owner, value, randomness: Fr::from(i) };
        let notes = (3..).zip(NOTES).map(note).collect();
        let chain = Node::new(Ledger::new(notes, &[contracts::balance(&alice)], 1, Fr::zero()));
        chain.pool().proven = u64::MAX;
        let (shutdown, node_shutdown) = (Shutdown::new(), Shutdown::new());
        let own = chain.serve(&node_shutdown).await;
        let node = NodeClient::new(url.unwrap_or(&own)).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let (path, cost) = (folder.path().join("wallet.pxe"), Cost { log_n: 1, r: 1, p: 1 });
        let (store, bob) = Store::create_with_account(&path, "word", cost, "bob").unwrap();
        store.import(&alice.master(), "alice", None).unwrap();
        let bob = stored::keys(&store, bob).unwrap().address().to_string();

        let token = Secret::generated(TOKEN);
        let open: OpenProver = Box::new(move |_| Ok(Arc::clone(&prover)));
        let service = Service::new(store, node, token, open, shutdown.clone()).within(limits);
        let service = service.with_function_keys(contracts::made_up());
        let service = service.with_call_prover(contracts::made_up_proofs());
        let origins = access.origins();
        let service = Arc::new(service.with_access(access));
        let listener = listen("127.0.0.1:0", "--serve-listen").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (http, protection) = (HttpLimits::default(), Protection::default());
        let registry = Registry::new();
        let server = HttpServer::open("pxe", "127.0.0.1:0", http, &protection, &registry).unwrap();
        let server = server.with_origins(origins);
        let server = tokio::spawn(server.serve(listener, service.router(), shutdown.clone()));
        let alice = alice.address().to_string();
        let server = Some(server);
        let _folder = folder;
        Self { _folder, chain, service, address, alice, bob, shutdown, node_shutdown, server }
    }

    fn client(&self) -> Client {
        Client { address: self.address.clone() }
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        self.client().call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The stable code of the error of a call.
    async fn code(&self, method: &str, params: Value) -> String {
        let error = self.client().call(method, params).await.unwrap_err();
        error["data"]["code"].as_str().unwrap().to_owned()
    }

    /// Orders a transfer and drops the work on it while it is proven, as the server does when the client goes away.
    /// `stopped` is that of the prover's [`Gate`].
    async fn ordered_and_left(&self, payment: Value, stopped: &mut UnboundedReceiver<()>) {
        let service = Arc::clone(&self.service);
        let gone =
            tokio::spawn(
                async move { api::dispatch(&service, "pxe_transfer", payment).await.is_ok() },
            );
        stopped.recv().await.unwrap();
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
    }

    fn of_alice(&self) -> Value {
        json!({ "account": self.alice })
    }

    fn payment(&self) -> Value {
        json!({ "account": self.alice, "to": self.bob, "amount": AMOUNT.to_string() })
    }

    async fn proven_of(&self, account: &str) -> u64 {
        let balance = self.call("pxe_balance", json!({ "account": account })).await;
        number(&balance["proven"])
    }

    fn received(&self) -> Vec<String> {
        self.chain.pool().received.iter().map(to_hex).collect()
    }

    /// Builds a block of everything that waits.
    fn build(&self) {
        let rejected = self.chain.build();
        assert!(rejected.is_empty(), "{rejected:?}");
    }
}

fn number(amount: &Value) -> u64 {
    amount.as_str().unwrap().parse().unwrap()
}

/// Sends requests written by hand.
#[derive(Clone)]
struct Client {
    address: String,
}

impl Client {
    /// The stream of a request that was sent, with the host, and further header lines.
    async fn send(&self, host: &str, headers: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may respond and close before it has read a body that is too large.
        let _ = stream.write_all(body).await;
        stream
    }

    /// Status and body of the response to a request.
    async fn raw(&self, host: &str, headers: &str, body: &[u8]) -> (u16, Value) {
        let mut stream = self.send(host, headers, body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status.unwrap_or_default(), serde_json::from_str(body).unwrap_or_default())
    }

    /// Status and code of the response to a body with the right token.
    async fn body(&self, body: &[u8]) -> (u16, String) {
        let (status, answer) = self.raw("localhost", &authorized(), body).await;
        (status, answer["error"]["data"]["code"].as_str().unwrap_or_default().to_owned())
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        let (_, mut answer) = self.raw("localhost", &authorized(), &request(method, params)).await;
        assert_eq!(answer["id"], json!(7), "{method}: {answer}");
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].take()),
        }
    }
}

fn authorized() -> String {
    format!("Content-Type: application/json\r\nAuthorization: Bearer {TOKEN}\r\n")
}

fn request(method: &str, params: Value) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string().into()
}

/// A prover that stops in each proof until it is released.
#[derive(Debug)]
struct Gate {
    entered: UnboundedSender<()>,
    released: Mutex<mpsc::Receiver<()>>,
}

impl Gate {
    fn closed() -> (Arc<Self>, UnboundedReceiver<()>, mpsc::Sender<()>) {
        let (entered, stopped) = unbounded_channel();
        let (release, released) = mpsc::channel();
        (Arc::new(Self { entered, released: Mutex::new(released) }), stopped, release)
    }
}

impl ClientProver for Gate {
    fn prove(&self, witness: &ClientWitness, seed: [u8; 32]) -> Result<Vec<u8>, PxeError> {
        let _ = self.entered.send(());
        // An error when the test has ended.
        let _ = self.released.lock().recv();
        CheckedOnly.prove(witness, seed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_has_is_read_and_a_transfer_is_simulated_sent_and_followed() {
    let case = Case::new().await;
    let status = case.call("pxe_status", Value::Null).await;
    assert_eq!((&status["accounts"], &status["tips"]["pending"]), (&json!(2), &json!(0)));
    let accounts = case.call("pxe_accounts", json!({})).await;
    let alice = accounts.as_array().unwrap().iter().find(|info| info["address"] == case.alice);
    assert_eq!(alice.unwrap()["label"], "alice");
    assert_eq!(case.call("pxe_sync", case.of_alice()).await, json!({ "block": 0 }));
    let balance = case.call("pxe_balance", case.of_alice()).await;
    assert_eq!((number(&balance["proven"]), number(&balance["public"])), (TOTAL, 0));
    let notes = case.call("pxe_notes", case.of_alice()).await;
    let values: Vec<u64> = notes.as_array().unwrap().iter().map(|n| number(&n["value"])).collect();
    assert_eq!(values, NOTES);
    assert_eq!(
        (&notes[0]["state"], &notes[0]["certainty"]),
        (&json!("spendable"), &json!("proven"))
    );

    let quote = case.call("pxe_simulateTransfer", case.payment()).await;
    assert_eq!((number(&quote["fee"]), number(&quote["fee_max"])), (FEE, FEE_MAX));
    // The smallest note that suffices.
    assert_eq!(number(&quote["change"]), NOTES[1] - AMOUNT - FEE_MAX);
    assert!(case.received().is_empty());
    let sent = case.call("pxe_transfer", case.payment()).await;
    assert_eq!((&sent["receipt"], &sent["doubt"]), (&json!("accepted"), &Value::Null));
    let hash = sent["hash"].as_str().unwrap();
    assert_eq!(case.received(), [hash]);
    let listed = case.call("pxe_sent", case.of_alice()).await;
    assert_eq!(listed, json!([{ "hash": hash, "block": null }]));
    let balance = case.call("pxe_balance", case.of_alice()).await;
    assert_eq!((number(&balance["proven"]), number(&balance["locked"])), (NOTES[0], NOTES[1]));
    let notes = case.call("pxe_notes", case.of_alice()).await;
    assert_eq!(notes[1]["state"], "held");

    let of = json!({ "hash": hash });
    let pending = json!({ "state": "pending", "block": null, "reason": null });
    assert_eq!(case.call("pxe_transaction", of.clone()).await, pending);
    let wait = json!({ "hash": hash, "stage": "included", "seconds": 0 });
    let early = case.call("pxe_wait", wait.clone()).await;
    assert_eq!((&early["reached"], &early["state"]), (&json!(false), &json!("pending")));
    case.chain.pool().proven = 0;
    case.build();
    let included = json!({ "state": "included", "block": 1, "reason": null });
    assert_eq!(case.call("pxe_transaction", of.clone()).await, included);
    assert_eq!(case.call("pxe_wait", wait.clone()).await["reached"], true);
    let final_wait = json!({ "hash": hash, "stage": "finalized", "seconds": 0 });
    assert_eq!(case.call("pxe_wait", final_wait.clone()).await["reached"], false);
    case.chain.pool().proven = u64::MAX;
    assert_eq!(case.call("pxe_wait", final_wait).await["reached"], true);
    assert_eq!(case.proven_of(&case.alice).await, TOTAL - AMOUNT - FEE);
    assert_eq!(case.proven_of(&case.bob).await, AMOUNT);
    assert_eq!(case.call("pxe_sent", case.of_alice()).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_is_claimed_and_value_is_withdrawn() {
    let case = Case::new().await;
    assert_eq!(case.code("pxe_claim", case.of_alice()).await, "PXE-028");
    let owner = Keys::from_seed(&[1; 32]).address().to_field();
    let deposit = case.chain.ledger().deposit(owner, 50 * UNIT);
    (0..2).for_each(|_| case.build());
    let other = json!({ "index": deposit.index, "amount": "1" });
    let wrong = json!({ "account": case.alice, "deposit": other });
    assert_eq!(case.code("pxe_claim", wrong).await, "PXE-027");
    let sent = case.call("pxe_claim", case.of_alice()).await;
    assert_eq!(sent["receipt"], "accepted");
    assert_eq!(case.code("pxe_claim", case.of_alice()).await, "PXE-028", "claimed already");
    case.build();
    let balance = case.call("pxe_balance", case.of_alice()).await;
    let notes = TOTAL + 50 * UNIT - FEE_MAX;
    assert_eq!((number(&balance["proven"]), number(&balance["public"])), (notes, FEE_MAX - FEE));

    let to = format!("0x{}", "d1".repeat(20));
    let withdraw = json!({ "account": case.alice, "to": to, "amount": (7 * UNIT).to_string() });
    let sent = case.call("pxe_withdraw", withdraw).await;
    assert_eq!(case.received().last().map(String::as_str), sent["hash"].as_str());
    case.build();
    assert_eq!(case.proven_of(&case.alice).await, notes - 7 * UNIT - FEE);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_program_with_the_token_is_served_and_no_page_of_a_browser() {
    let case = Case::new().await;
    let (client, body) = (case.client(), request("pxe_status", json!({})));
    let json = "Content-Type: application/json\r\n";
    let right = authorized();
    for (host, headers, status, code) in [
        ("localhost", json.to_owned(), 401, "PXE-036"),
        ("localhost", format!("{json}Authorization: Bearer wrong\r\n"), 401, "PXE-036"),
        ("localhost", format!("{json}Authorization: Bearer\r\n"), 401, "PXE-036"),
        ("localhost", format!("{json}Authorization: Basic {TOKEN}\r\n"), 401, "PXE-036"),
        ("evil.example", right.clone(), 403, "SVC-012"),
        ("localhost", format!("{right}Origin: https://evil.example\r\n"), 403, "SVC-013"),
        ("localhost", format!("{right}Origin: http://localhost:3000\r\n"), 403, "SVC-013"),
        ("localhost", format!("Authorization: Bearer {TOKEN}\r\n"), 415, "SVC-014"),
        ("localhost", right.replace("application/json", "text/plain"), 415, "SVC-014"),
    ] {
        let (got, answer) = client.raw(host, &headers, &body).await;
        let found = answer["code"].as_str().or(answer["error"]["data"]["code"].as_str());
        assert_eq!((got, found), (status, Some(code)), "{host} {headers}");
        assert!(!answer.to_string().contains("wrong"), "{answer}");
    }
    let (status, answer) = client.raw("127.0.0.1", &right, &body).await;
    assert_eq!((status, &answer["result"]["accounts"]), (200, &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_request_has_an_error_with_a_code() {
    let case = Case::new().await;
    let client = case.client();
    let large = vec![b' '; REQUEST_BYTES_MAX + 1];
    let bodies: [(&[u8], u16, &str); 12] = [
        (&large, 413, "PXE-037"),
        (b"", 200, "PXE-039"),
        (b"{", 200, "PXE-039"),
        (b"\xff", 200, "PXE-039"),
        (b"7", 200, "PXE-040"),
        (b"[]", 200, "PXE-040"),
        (br#"[{"jsonrpc":"2.0","id":1,"method":"pxe_status"}]"#, 200, "PXE-040"),
        (br#"{"jsonrpc":"2.0","id":1}"#, 200, "PXE-040"),
        (br#"{"jsonrpc":"1.0","id":1,"method":"pxe_status"}"#, 200, "PXE-040"),
        (br#"{"jsonrpc":"2.0","id":{},"method":"pxe_status"}"#, 200, "PXE-040"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"pxe_stop"}"#, 200, "PXE-041"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"pxe_status","params":[]}"#, 200, "PXE-042"),
    ];
    for (body, status, code) in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
        assert_eq!(client.body(body).await, (status, code.to_owned()), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_parameter_is_named_and_nothing_is_sent() {
    let case = Case::new().await;
    let with = |name: &str, value: Value| {
        let mut payment = case.payment();
        payment[name] = value;
        payment
    };
    let deposit = json!({ "index": 1, "amount": "1", "keep": true });
    let misplaced = json!({ "account": case.alice, "deposit": deposit });
    let long_wait = json!({ "hash": to_hex(&Fr::zero()), "stage": "proven", "seconds": 61 });
    for (method, params, part) in [
        ("pxe_balance", json!({}), "account is missing"),
        ("pxe_balance", json!({ "account": "rollmill1" }), "account: not the address"),
        ("pxe_transfer", with("amount", json!(5)), "amount: "),
        ("pxe_transfer", with("amount", json!("0")), "amount: more than 0"),
        ("pxe_transfer", with("to", Value::Null), "to is missing"),
        ("pxe_transfer", with("fee_payer", json!("bob")), "fee_payer: "),
        ("pxe_transfer", with("expiry_epochs", json!(0)), "expiry_epochs: "),
        ("pxe_transfer", with("spend_all", json!(true)), "no parameter spend_all"),
        ("pxe_withdraw", with("to", json!(format!("0x{}", "0".repeat(40)))), "to: "),
        ("pxe_claim", misplaced, "deposit: unknown field"),
        ("pxe_transaction", json!({ "hash": "0x1" }), "hash: "),
        ("pxe_wait", long_wait, "seconds: at most 60"),
    ] {
        let error = case.client().call(method, params).await.unwrap_err();
        assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32602), &json!("PXE-042")));
        assert!(error["message"].as_str().unwrap().contains(part), "{error}");
    }
    let stranger = Keys::from_seed(&[9; 32]).address().to_string();
    assert_eq!(case.code("pxe_notes", json!({ "account": stranger })).await, "PXE-043");
    let too_much = with("amount", json!((TOTAL + 1).to_string()));
    assert_eq!(case.code("pxe_transfer", too_much.clone()).await, "PXE-004");
    assert_eq!(case.code("pxe_simulateTransfer", too_much).await, "PXE-004");
    assert_eq!(case.code("pxe_transfer", with("fee_payer", json!("self"))).await, "PXE-014");
    assert!(case.received().is_empty());
}

/// Goal: two transfers of one account never choose the same note.
#[tokio::test(flavor = "multi_thread")]
async fn two_transfers_of_one_account_at_once_are_both_included() {
    let case = Case::new().await;
    let (client, payment) = (case.client(), case.payment());
    let (first, second) = tokio::join!(
        client.call("pxe_transfer", payment.clone()),
        client.call("pxe_transfer", payment.clone()),
    );
    assert_ne!(first.unwrap()["hash"], second.unwrap()["hash"]);
    assert_eq!(case.received().len(), 2);
    case.build();
    assert_eq!(case.proven_of(&case.bob).await, 2 * AMOUNT);
    assert_eq!(case.proven_of(&case.alice).await, TOTAL - 2 * (AMOUNT + FEE));
}

/// Fault: the client goes away while its transfer is proven, which drops the work on its request. The transfer is
/// finished; the same request again reports it instead of paying twice, and a third one pays.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_whose_client_went_away_is_reported_before_another_one() {
    let (gate, mut stopped, release) = Gate::closed();
    let case = Case::with(gate, ServiceLimits::default()).await;
    case.ordered_and_left(case.payment(), &mut stopped).await;
    assert!(case.received().is_empty());
    release.send(()).unwrap();
    let error = case.client().call("pxe_transfer", case.payment()).await.unwrap_err();
    let received = case.received();
    assert_eq!((&error["data"]["code"], received.len()), (&json!("PXE-018"), 1));
    assert!(error["message"].as_str().unwrap().contains(&received[0]), "{error}");
    release.send(()).unwrap();
    case.call("pxe_transfer", case.payment()).await;
    assert_eq!(case.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_a_transfer_that_is_being_sent() {
    let (gate, mut stopped, release) = Gate::closed();
    let mut case = Case::with(gate, ServiceLimits::default()).await;
    let (client, payment) = (case.client(), case.payment());
    let sending = tokio::spawn(async move { client.call("pxe_transfer", payment).await });
    stopped.recv().await.unwrap();
    case.shutdown.start();
    release.send(()).unwrap();
    let sent = sending.await.unwrap().unwrap();
    case.server.take().unwrap().await.unwrap().unwrap();
    assert_eq!(case.received(), [sent["hash"].as_str().unwrap()]);
}

/// Method: a wait of a minute, in a service that stops, ends long before.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_ends_the_waits_of_its_clients() {
    let case = Case::new().await;
    case.shutdown.start();
    let wait = json!({ "hash": to_hex(&Fr::zero()), "stage": "proven", "seconds": 60 });
    let waited = api::dispatch(&case.service, "pxe_wait", wait);
    let waited = tokio::time::timeout(Duration::from_secs(30), waited).await.expect("an early end");
    let unknown = json!({ "reached": false, "state": "unknown", "block": null, "reason": null });
    assert_eq!(waited.unwrap(), unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_too_long_is_sent_away_and_the_transfer_is_finished() {
    let (gate, mut stopped, release) = Gate::closed();
    let limits = ServiceLimits { answer: Duration::ZERO, ..ServiceLimits::default() };
    let case = Case::with(gate, limits).await;
    assert_eq!(case.code("pxe_transfer", case.payment()).await, "PXE-045");
    stopped.recv().await.unwrap();
    assert!(case.received().is_empty());
    release.send(()).unwrap();
    // Whoever comes next waits until the transfer is finished, and may be sent away as well.
    let _ = case.client().call("pxe_sync", case.of_alice()).await;
    assert_eq!(case.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_too_much_to_do_says_so_and_waits_have_a_bound_of_their_own() {
    let wait = json!({ "hash": to_hex(&Fr::zero()), "stage": "proven", "seconds": 0 });
    for (calls, waits) in [(0, 1), (1, 0)] {
        let limits = ServiceLimits { calls, waits, ..ServiceLimits::default() };
        let case = Case::with(Arc::new(CheckedOnly), limits).await;
        let of_calls = case.client().body(&request("pxe_status", json!({}))).await;
        let of_waits = case.client().body(&request("pxe_wait", wait.clone())).await;
        let (busy, taken) = ((503, "PXE-044".to_owned()), (200, String::new()));
        let expected = if calls == 0 { (busy, taken) } else { (taken, busy) };
        assert_eq!((of_calls, of_waits), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_too_much_to_do_leaves_the_service_to_the_others() {
    let (gate, mut stopped, release) = Gate::closed();
    let limits = ServiceLimits { of_account: 1, ..ServiceLimits::default() };
    let case = Case::with(gate, limits).await;
    let (client, payment) = (case.client(), case.payment());
    let sending = tokio::spawn(async move { client.call("pxe_transfer", payment).await });
    stopped.recv().await.unwrap();
    assert_eq!(case.code("pxe_balance", case.of_alice()).await, "PXE-044");
    assert_eq!(case.proven_of(&case.bob).await, 0);
    release.send(()).unwrap();
    assert_eq!(sending.await.unwrap().unwrap()["receipt"], "accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_the_node_does_not_confirm_is_a_result_with_a_doubt() {
    let case = Case::new().await;
    case.chain.pool().silent = true;
    let sent = case.call("pxe_transfer", case.payment()).await;
    assert_eq!((&sent["receipt"], &sent["doubt"]["code"]), (&json!("unknown"), &json!("NDC-002")));
    assert_eq!(case.received(), [sent["hash"].as_str().unwrap()]);
    case.chain.pool().silent = false;
    // The client knows of it, so another transfer needs no PXE-018 first.
    case.call("pxe_transfer", case.payment()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_the_node_rejects_has_its_code_and_its_notes_are_free() {
    let case = Case::new().await;
    case.chain.pool().rejects_with = Some("NODE-021");
    let error = case.client().call("pxe_transfer", case.payment()).await.unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("NODE-021"), "{error}");
    assert_eq!(case.proven_of(&case.alice).await, TOTAL);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_the_status_says_why_and_an_account_has_the_nodes_error() {
    let (url, prover) = ("http://127.0.0.1:9", Arc::new(CheckedOnly));
    let case = Case::at(Some(url), prover, ServiceLimits::default()).await;
    let status = case.call("pxe_status", json!({})).await;
    assert_eq!((&status["tips"], &status["node_url"]), (&Value::Null, &json!(url)));
    assert_eq!(status["node_error"]["code"], "NDC-001");
    assert_eq!(case.code("pxe_balance", case.of_alice()).await, "NDC-001");
}
