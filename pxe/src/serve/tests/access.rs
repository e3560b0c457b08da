//! Pages of allowed origins, and applications that see and use what they were granted.

use super::*;

const PAGE: &str = "https://wallet.example";
const SHOP: &str = "https://shop.example";
const APP_TOKEN: &str = "an-application-token-of-the-tests";

fn alice() -> String {
    Keys::from_seed(&[1; 32]).address().to_string()
}

/// A grant of alice's account, with further members.
fn grant(changed: Value) -> Access {
    let mut grant = json!({
        "name": "shop", "token": APP_TOKEN, "accounts": [alice()], "asset": true, "rights": "spend",
    });
    for (name, value) in changed.as_object().unwrap() {
        grant[name] = value.clone();
    }
    Access::parse(&[PAGE.to_owned()], &json!([grant]).to_string()).unwrap()
}

/// Status, head and body of the response to a request of a page.
async fn exchange(case: &Case, verb: &str, headers: &str, body: &[u8]) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(&case.address).await.unwrap();
    let head = format!(
        "{verb} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let body = serde_json::from_str(body).unwrap_or_default();
    (status.unwrap_or_default(), head.to_ascii_lowercase(), body)
}

fn bearer(token: &str, origin: Option<&str>) -> String {
    let origin = origin.map_or_else(String::new, |origin| format!("Origin: {origin}\r\n"));
    format!("Content-Type: application/json\r\nAuthorization: Bearer {token}\r\n{origin}")
}

/// Result or stable code of a call with the application's token.
async fn by_app(case: &Case, method: &str, params: Value) -> Result<Value, String> {
    let headers = bearer(APP_TOKEN, None);
    let (_, _, mut answer) = exchange(case, "POST", &headers, &request(method, params)).await;
    match answer["error"]["data"]["code"].as_str() {
        Some(code) => Err(code.to_owned()),
        None => Ok(answer["result"].take()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_told_what_a_page_of_an_allowed_origin_may_send() {
    let case = Case::granting(grant(json!({ "origins": [SHOP] }))).await;
    let asks = "Access-Control-Request-Method: POST\r\n\
                Access-Control-Request-Headers: authorization,content-type\r\n";
    for origin in [PAGE, SHOP] {
        let headers = format!("{asks}Origin: {origin}\r\n");
        let (status, head, _) = exchange(&case, "OPTIONS", &headers, b"").await;
        assert_eq!(status, 204, "{head}");
        assert!(head.contains(&format!("access-control-allow-origin: {origin}\r\n")), "{head}");
        assert!(head.contains("access-control-allow-methods: post"), "{head}");
        assert!(
            head.contains("access-control-allow-headers: authorization, content-type"),
            "{head}"
        );
        assert!(head.contains("vary: origin"), "{head}");
        assert!(!head.contains("allow-credentials") && !head.contains("private-network"), "{head}");
        let private = format!("{headers}Access-Control-Request-Private-Network: true\r\n");
        let (_, head, _) = exchange(&case, "OPTIONS", &private, b"").await;
        assert!(head.contains("access-control-allow-private-network: true"), "{head}");
    }
    for origin in
        ["https://evil.example", "null", "http://localhost:3000", "https://wallet.example:8443"]
    {
        let headers =
            format!("{asks}Origin: {origin}\r\nAccess-Control-Request-Private-Network: true\r\n");
        let (status, head, answer) = exchange(&case, "OPTIONS", &headers, b"").await;
        assert_eq!((status, &answer["code"]), (403, &json!("SVC-013")), "{origin}");
        assert!(!head.contains("access-control-allow"), "{head}");
    }
    let (_, head, _) = exchange(&case, "OPTIONS", asks, b"").await;
    assert!(!head.contains("access-control-allow"), "no page asks: {head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_needs_a_token_that_is_for_it() {
    let case = Case::granting(grant(json!({ "origins": [SHOP] }))).await;
    let body = request("pxe_capabilities", json!({}));
    for (token, origin, status, code) in [
        (TOKEN, Some(PAGE), 200, None),
        (TOKEN, None, 200, None),
        ("wrong", Some(PAGE), 401, Some("PXE-036")),
        ("wrong", Some(SHOP), 401, Some("PXE-036")),
        (TOKEN, Some(SHOP), 403, Some("PXE-087")),
        (APP_TOKEN, Some(SHOP), 200, None),
        (APP_TOKEN, Some(PAGE), 403, Some("PXE-087")),
        (APP_TOKEN, None, 403, Some("PXE-087")),
    ] {
        let headers = bearer(token, origin);
        let (got, head, answer) = exchange(&case, "POST", &headers, &body).await;
        let found = answer["error"]["data"]["code"].as_str();
        assert_eq!((got, found), (status, code), "{token} {origin:?} {answer}");
        let readable = head.contains("access-control-allow-origin");
        assert_eq!(readable, origin.is_some(), "a page reads why it is rejected: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_sees_what_it_was_granted_and_no_other_account() {
    let case = Case::granting(grant(json!({ "rights": "read" }))).await;
    let accounts = by_app(&case, "pxe_accounts", json!({})).await.unwrap();
    assert_eq!(accounts.as_array().unwrap().len(), 1);
    assert_eq!(accounts[0]["address"], json!(case.alice));
    assert_eq!(by_app(&case, "pxe_status", json!({})).await.unwrap()["accounts"], 1);
    let found = by_app(&case, "pxe_capabilities", json!({})).await.unwrap();
    let expected = json!({
        "app": "shop", "accounts": [case.alice], "contracts": [], "asset": true, "rights": "read",
    });
    assert_eq!(found, expected);
    let owners = case.call("pxe_capabilities", json!({})).await;
    assert_eq!((&owners["app"], &owners["rights"]), (&Value::Null, &json!("spend")));
    let balance = by_app(&case, "pxe_balance", case.of_alice()).await.unwrap();
    assert_eq!(number(&balance["proven"]), TOTAL);
    let of_bob = json!({ "account": case.bob });
    let keyed = |mut payment: Value| {
        payment["idempotency_key"] = json!("key-of-the-shop");
        payment
    };
    for (method, params) in [
        ("pxe_balance", of_bob.clone()),
        ("pxe_sync", of_bob.clone()),
        ("pxe_notes", of_bob),
        ("pxe_balance", json!({})),
        ("pxe_balance", Value::Null),
        ("pxe_history", case.of_alice()),
        ("pxe_claim", case.of_alice()),
        ("pxe_registerContract", json!({ "artifact": "{}" })),
        ("pxe_transfer", keyed(case.payment())),
        ("pxe_unknown", json!({})),
    ] {
        let code = by_app(&case, method, params.clone()).await;
        assert_eq!(code, Err("PXE-086".to_owned()), "{method} {params}");
    }
    assert!(case.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_may_spend_pays_with_a_key_and_from_its_account_only() {
    let case = Case::granting(grant(json!({}))).await;
    let code = by_app(&case, "pxe_transfer", case.payment()).await;
    assert_eq!(code, Err("PXE-086".to_owned()), "without a key");
    let mut payment = case.payment();
    payment["idempotency_key"] = json!("key-of-the-shop");
    let mut other = payment.clone();
    other["account"] = json!(case.bob);
    assert_eq!(by_app(&case, "pxe_transfer", other).await, Err("PXE-086".to_owned()));
    assert!(case.received().is_empty());
    let sent = by_app(&case, "pxe_transfer", payment).await.unwrap();
    assert_eq!(case.received(), [sent["hash"].as_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_without_the_asset_cannot_read_it_and_calls_only_its_contracts() {
    let address = to_hex(&Fr::from(7_u64));
    let granted = json!({ "asset": false, "contracts": [address] });
    let case = Case::granting(grant(granted)).await;
    for method in ["pxe_balance", "pxe_notes", "pxe_sent"] {
        let code = by_app(&case, method, case.of_alice()).await;
        assert_eq!(code, Err("PXE-086".to_owned()), "{method}");
    }
    assert!(by_app(&case, "pxe_sync", case.of_alice()).await.is_ok());
    let of = |contract: &Value| json!({ "account": alice(), "contract": contract });
    let notes = by_app(&case, "pxe_contractNotes", of(&json!(address))).await;
    assert_eq!(notes, Ok(json!([])));
    let other = by_app(&case, "pxe_contractNotes", of(&json!(to_hex(&Fr::from(8_u64))))).await;
    assert_eq!(other, Err("PXE-086".to_owned()));
    let call =
        json!({ "account": alice(), "contract": to_hex(&Fr::from(8_u64)), "function": "burn" });
    assert_eq!(by_app(&case, "pxe_simulateCall", call).await, Err("PXE-086".to_owned()));
}

/// Goal: no program learns of another one's payment by its key, or keeps it from paying.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_an_application_belongs_to_no_other_program() {
    let case = Case::granting(grant(json!({}))).await;
    let of_app = |amount: u64| {
        let mut payment = case.payment();
        payment["idempotency_key"] = json!("invoice-of-november");
        payment["amount"] = json!(amount.to_string());
        payment
    };
    let owners = case.call("pxe_transfer", of_app(AMOUNT)).await;
    case.build();
    // Neither the transaction nor the key of the owner is the application's.
    let sent = by_app(&case, "pxe_transfer", of_app(AMOUNT - 1)).await.unwrap();
    assert_eq!(sent["repeated"], false);
    assert_ne!(sent["hash"], owners["hash"]);
    let again = by_app(&case, "pxe_transfer", of_app(AMOUNT - 1)).await.unwrap();
    assert_eq!((&again["hash"], &again["repeated"]), (&sent["hash"], &json!(true)));
    let other = by_app(&case, "pxe_transfer", of_app(AMOUNT)).await;
    assert_eq!(other, Err("PXE-064".to_owned()), "its own key is its own order's");
    let again = case.call("pxe_transfer", of_app(AMOUNT)).await;
    assert_eq!((&again["hash"], &again["repeated"]), (&owners["hash"], &json!(true)));
    assert_eq!(case.received().len(), 2);
}

/// Goal: of another account's transaction an application learns what the node knows. Method: one that the wallet has
/// given up, which the node does not know.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_wallet_has_given_up_is_told_to_applications_of_its_account_only() {
    for (accounts, state) in [(json!([alice()]), "dropped"), (json!([]), "unknown")] {
        let case = Case::granting(grant(json!({ "accounts": accounts }))).await;
        let (account, token) = contracts::registered(&case).await;
        let call = json!({
            "account": case.alice,
            "contract": token,
            "function": "mint",
            "args": { "to": account, "amount": 5 },
        });
        let sent = case.call("pxe_call", call).await;
        case.chain.pool().waiting.clear();
        case.chain.pool().rejects_with = Some("NODE-021");
        case.call("pxe_sync", case.of_alice()).await;
        let of = json!({ "hash": sent["hash"] });
        assert_eq!(case.call("pxe_transaction", of.clone()).await["state"], "dropped");
        let told = by_app(&case, "pxe_transaction", of).await.unwrap();
        assert_eq!(told["state"], state, "{told}");
        let wait = json!({ "hash": sent["hash"], "stage": "included", "seconds": 0 });
        let waited = by_app(&case, "pxe_wait", wait).await.unwrap();
        assert_eq!((&waited["state"], &waited["reached"]), (&json!(state), &json!(false)));
    }
}
