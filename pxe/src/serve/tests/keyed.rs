//! Requests with an idempotency key: repeated by the same client, by another one, and after it went away.

use super::*;

const KEY: &str = "a-key-of-the-tests";

impl Case {
    /// The payment with an idempotency key.
    fn keyed(&self, key: &str) -> Value {
        let mut payment = self.payment();
        payment["idempotency_key"] = json!(key);
        payment
    }
}

/// The hash of a result, and whether it repeats an earlier one.
fn outcome(sent: &Value) -> (&str, bool) {
    (sent["hash"].as_str().unwrap(), sent["repeated"].as_bool().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_the_key_of_another_one_returns_its_transaction() {
    let case = Case::new().await;
    let first = case.call("pxe_transfer", case.keyed(KEY)).await;
    let again = case.call("pxe_transfer", case.keyed(KEY)).await;
    assert_eq!(outcome(&first), (outcome(&again).0, false));
    assert_eq!((outcome(&again).1, &again["receipt"]), (true, &json!("accepted")));
    assert_eq!(again["doubt"], Value::Null);
    assert_eq!(case.received(), [outcome(&first).0]);

    // Also once its block is proven and the wallet has forgotten the transaction.
    case.build();
    assert_eq!(case.call("pxe_sent", case.of_alice()).await, json!([]));
    let again = case.call("pxe_transfer", case.keyed(KEY)).await;
    assert_eq!(outcome(&again), (outcome(&first).0, true));
    assert_eq!(case.proven_of(&case.bob).await, AMOUNT);

    let second = case.call("pxe_transfer", case.keyed("another-key")).await;
    assert_ne!(outcome(&second).0, outcome(&first).0);
    assert_eq!(case.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_with_a_key_is_made_once() {
    let case = Case::new().await;
    let to = format!("0x{}", "d1".repeat(20));
    let amount = (7 * UNIT).to_string();
    let account = &case.alice;
    let order = json!({ "account": account, "to": to, "amount": amount, "idempotency_key": KEY });
    let first = case.call("pxe_withdraw", order.clone()).await;
    let again = case.call("pxe_withdraw", order).await;
    assert_eq!((outcome(&first).1, outcome(&again)), (false, (outcome(&first).0, true)));
    assert_eq!(case.received(), [outcome(&first).0]);
    // A transfer is another order.
    assert_eq!(case.code("pxe_transfer", case.keyed(KEY)).await, "PXE-064");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_order_or_of_another_form_is_an_error_and_nothing_is_sent() {
    let case = Case::new().await;
    case.call("pxe_transfer", case.keyed(KEY)).await;
    let with = |name: &str, value: Value| {
        let mut payment = case.keyed(KEY);
        payment[name] = value;
        payment
    };
    for other in [
        with("amount", json!((AMOUNT + 1).to_string())),
        with("to", json!(case.alice)),
        with("fee_payer", json!("self")),
        with("spend_pending", json!(true)),
        with("expiry_epochs", json!(7)),
    ] {
        assert_eq!(case.code("pxe_transfer", other).await, "PXE-064");
    }
    // What says what an absent parameter means is the same order.
    let same = case.call("pxe_transfer", with("spend_pending", json!(false))).await;
    assert!(outcome(&same).1);
    for wrong in [json!("short"), json!("k".repeat(65)), json!("no spaces please"), json!(12345678)]
    {
        let error = case.client().call("pxe_transfer", with("idempotency_key", wrong)).await;
        let error = error.unwrap_err();
        assert_eq!(error["data"]["code"], "PXE-042");
        assert!(error["message"].as_str().unwrap().contains("idempotency_key: "), "{error}");
    }
    assert_eq!(case.received().len(), 1);
}

/// Race: two clients send one request with one key at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_requests_with_one_key_at_once_one_is_sent() {
    let case = Case::new().await;
    let client = case.client();
    let (first, second) = tokio::join!(
        client.call("pxe_transfer", case.keyed(KEY)),
        client.call("pxe_transfer", case.keyed(KEY)),
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(outcome(&first).0, outcome(&second).0);
    assert_ne!(outcome(&first).1, outcome(&second).1);
    assert_eq!(case.received(), [outcome(&first).0]);
}

/// Fault: a client with a key goes away while its transfer is proven. The next request of another client is its own
/// concern, with a key and without; whoever has the key gets the transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_with_a_key_whose_client_went_away_is_reported_to_its_key_alone() {
    let (gate, mut stopped, release) = Gate::closed();
    let case = Case::with(gate, ServiceLimits::default()).await;
    case.ordered_and_left(case.keyed(KEY), &mut stopped).await;
    // For the transfer that lost its client, and for the one of the other client.
    release.send(()).unwrap();
    release.send(()).unwrap();
    let other = case.call("pxe_transfer", case.payment()).await;
    assert!(!outcome(&other).1);
    let again = case.call("pxe_transfer", case.keyed(KEY)).await;
    assert!(outcome(&again).1);
    assert_eq!(case.received(), [outcome(&again).0, outcome(&other).0]);
}

/// Goal: PXE-018 of a client without a key is not given to one that has a key.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_key_does_not_take_the_report_for_one_without() {
    let (gate, mut stopped, release) = Gate::closed();
    let case = Case::with(gate, ServiceLimits::default()).await;
    case.ordered_and_left(case.payment(), &mut stopped).await;
    release.send(()).unwrap();
    release.send(()).unwrap();
    let keyed = case.call("pxe_transfer", case.keyed(KEY)).await;
    assert!(!outcome(&keyed).1);
    assert_eq!(case.code("pxe_transfer", case.payment()).await, "PXE-018");
    assert_eq!(case.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_says_what_is_not_known_and_what_was_dropped() {
    let case = Case::new().await;
    case.chain.pool().silent = true;
    let first = case.call("pxe_transfer", case.keyed(KEY)).await;
    assert_eq!((&first["receipt"], outcome(&first).1), (&json!("unknown"), false));
    // The node forgets it, and does not confirm that it takes it again.
    case.chain.pool().waiting.clear();
    let again = case.call("pxe_transfer", case.keyed(KEY)).await;
    assert_eq!(outcome(&again), (outcome(&first).0, true));
    assert_eq!(
        (&again["receipt"], &again["doubt"]["code"]),
        (&json!("unknown"), &json!("PXE-066"))
    );
    case.chain.pool().silent = false;
    let again = case.call("pxe_transfer", case.keyed(KEY)).await;
    assert_eq!((&again["receipt"], &again["doubt"]), (&json!("accepted"), &Value::Null));

    case.chain.pool().waiting.clear();
    case.chain.pool().rejects_with = Some("NODE-021");
    let error = case.client().call("pxe_transfer", case.keyed(KEY)).await.unwrap_err();
    assert_eq!(error["data"]["code"], "PXE-065");
    assert!(error["message"].as_str().unwrap().contains("NODE-021"), "{error}");
    case.chain.pool().rejects_with = None;
    assert_eq!(case.code("pxe_transfer", case.keyed(KEY)).await, "PXE-065", "it is not paid again");
    assert_eq!(case.proven_of(&case.alice).await, TOTAL);
    case.call("pxe_transfer", case.keyed("another-key")).await;
}

/// Fault: the node is gone. What an earlier request made is in the store.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_a_key_still_has_its_transaction() {
    let case = Case::new().await;
    let first = case.call("pxe_transfer", case.keyed(KEY)).await;
    case.node_shutdown.start();
    let again = case.call("pxe_transfer", case.keyed(KEY)).await;
    assert_eq!(outcome(&again), (outcome(&first).0, true));
    assert_eq!(again["receipt"], "accepted");
}

/// Fault: the node takes connections and does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_in_its_time_if_the_node_does_not_answer() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let limits = ServiceLimits { report: Duration::ZERO, ..ServiceLimits::default() };
    let case = Case::at(Some(&url), Arc::new(CheckedOnly), limits).await;
    let wait = json!({ "hash": to_hex(&Fr::zero()), "stage": "included", "seconds": 0 });
    assert_eq!(case.code("pxe_wait", wait).await, "PXE-068");
}
