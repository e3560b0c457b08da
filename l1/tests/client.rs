//! Several endpoints, and the chain they must serve.

use rollmill_l1::L1Client;
use rollmill_l1_testing as support;
use rollmill_l1_testing::proxy::{Fault, Proxy};
use rollmill_l1_testing::{Anvil, CHAIN_ID};

#[tokio::test]
async fn an_endpoint_of_another_chain_is_rejected_even_beside_a_right_one() {
    let (right, wrong) = (Anvil::start(), Anvil::with(&["--chain-id", "5"]));
    let urls = [right.url.clone(), wrong.url.clone()];
    let error = L1Client::connect(&urls, CHAIN_ID).await.unwrap_err();
    assert_eq!(error.code(), "L1-002");
    let text = error.to_string();
    assert!(text.contains(&wrong.url) && text.contains("chain 5"), "{text}");
}

#[tokio::test]
async fn the_next_endpoint_answers_when_one_is_down_or_busy() {
    let anvil = Anvil::start();
    let (first, second) = (Proxy::before(&anvil.url).await, Proxy::before(&anvil.url).await);
    let client =
        L1Client::connect(&[first.url.clone(), second.url.clone()], CHAIN_ID).await.unwrap();
    client.latest().await.unwrap();
    let asked = second.requests();

    first.set(Fault::Down);
    client.latest().await.unwrap();
    assert_eq!(second.requests(), asked + 1);
    // It stays with the endpoint that works, until that one fails.
    first.set(Fault::None);
    client.latest().await.unwrap();
    assert_eq!(second.requests(), asked + 2);
    second.set(Fault::Busy);
    client.latest().await.unwrap();
    assert_eq!(second.requests(), asked + 2);

    first.set(Fault::Down);
    let error = client.latest().await.unwrap_err();
    assert_eq!(error.code(), "L1-001");
    assert!(error.is_transient());
    let text = error.to_string();
    assert!(text.contains(&first.url) && text.contains(&second.url), "{text}");
}

/// Goal: an endpoint at its limit is left for one that works, and its message is reported when there is
/// none; a node's response about the request itself is final, and no other endpoint is asked.
#[tokio::test]
async fn an_answer_that_speaks_of_the_endpoint_sends_the_request_on() {
    let anvil = Anvil::start();
    let (first, second) = (Proxy::before(&anvil.url).await, Proxy::before(&anvil.url).await);
    let client =
        L1Client::connect(&[first.url.clone(), second.url.clone()], CHAIN_ID).await.unwrap();
    first.set(Fault::Limited);
    client.latest().await.unwrap();
    let asked = second.requests();
    client.latest().await.unwrap();
    assert_eq!(second.requests(), asked + 1, "it stays with the one that works");

    second.set(Fault::Limited);
    let error = client.latest().await.unwrap_err();
    assert_eq!(error.code(), "L1-004");
    assert!(error.to_string().contains("daily limit exceeded"), "{error}");

    first.set(Fault::None);
    second.set(Fault::None);
    client.latest().await.unwrap();
    let before = (first.requests(), second.requests());
    use alloy::providers::Provider;
    let wrong = client.provider().raw_request::<_, ()>("eth_noSuchMethod".into(), ()).await;
    assert!(wrong.unwrap_err().as_error_resp().is_some());
    let after = (first.requests(), second.requests());
    assert_eq!(after.0 + after.1, before.0 + before.1 + 1, "asked once");
}

/// Goal: an endpoint that was down at the start is not trusted blindly later.
/// Method: it comes up as another chain while the good endpoint fails.
#[tokio::test]
async fn an_endpoint_that_comes_up_late_is_asked_for_its_chain_first() {
    let (right, wrong) = (Anvil::start(), Anvil::with(&["--chain-id", "5"]));
    let (good, late) = (Proxy::before(&right.url).await, Proxy::before(&wrong.url).await);
    late.set(Fault::Down);
    let client = L1Client::connect(&[late.url.clone(), good.url.clone()], CHAIN_ID).await.unwrap();
    client.latest().await.unwrap();

    late.set(Fault::None);
    good.set(Fault::Down);
    let error = client.latest().await.unwrap_err();
    assert!(error.to_string().contains("chain 5, expected 31337"), "{error}");

    // Once it serves the right chain it is used.
    late.redirect(&right.url);
    client.latest().await.unwrap();
}

#[tokio::test]
async fn unusable_urls_and_silent_endpoints_are_named() {
    for url in ["", "not a url", "ws://127.0.0.1:1"] {
        let error = L1Client::connect(&[url.to_owned()], CHAIN_ID).await.unwrap_err();
        assert_eq!(error.code(), "L1-003", "{error}");
    }
    assert_eq!(L1Client::connect(&[], CHAIN_ID).await.unwrap_err().code(), "L1-003");
    let anvil = Anvil::start();
    let proxy = Proxy::before(&anvil.url).await;
    proxy.set(Fault::Down);
    let error = L1Client::connect(std::slice::from_ref(&proxy.url), CHAIN_ID).await.unwrap_err();
    assert_eq!(error.code(), "L1-001");
    assert!(error.to_string().contains(&proxy.url), "{error}");
    for (url, words) in [
        ("http://127.0.0.1:9", "connection refused"),
        ("http://no.invalid", "host name is unknown"),
    ] {
        let error = L1Client::connect(&[url.to_owned()], CHAIN_ID).await.unwrap_err().to_string();
        assert!(error.contains(url) && error.contains(words), "{error}");
        assert!(!error.contains("error sending request"), "{error}");
    }
}

#[tokio::test]
async fn an_address_without_code_is_no_rollup() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let error = client.rollup(support::signer(0).address()).await.unwrap_err();
    assert_eq!(error.code(), "L1-005");
}

/// Goal: what a URL keeps secret is in no error. Method: plant a secret in each of its parts.
#[tokio::test]
async fn errors_do_not_repeat_what_is_secret_in_a_url() {
    let anvil = Anvil::start();
    let proxy = Proxy::before(&anvil.url).await;
    let host = proxy.url.strip_prefix("http://").unwrap();
    for url in [
        format!("http://user:s3cret@{host}/"),
        format!("http://{host}/v3/s3cret"),
        format!("http://{host}/?key=s3cret"),
    ] {
        proxy.set(Fault::None);
        let client = L1Client::connect(std::slice::from_ref(&url), CHAIN_ID).await.unwrap();
        assert!(!format!("{client:?}").contains("s3cret"));
        for fault in [Fault::Down, Fault::Busy] {
            proxy.set(fault);
            let error = client.latest().await.unwrap_err();
            for text in [error.to_string(), format!("{error:?}")] {
                assert!(!text.contains("s3cret"), "{text}");
                assert!(text.contains(host), "{text}");
            }
        }
        let rejected = L1Client::connect(std::slice::from_ref(&url), CHAIN_ID).await.unwrap_err();
        assert!(!rejected.to_string().contains("s3cret"), "{rejected}");
    }
    for url in ["ws://user:s3cret@localhost:1", "http://user:s3cret@:x/"] {
        let rejected = L1Client::connect(&[url.to_owned()], CHAIN_ID).await.unwrap_err();
        assert_eq!(rejected.code(), "L1-003");
        assert!(!rejected.to_string().contains("s3cret"), "{rejected}");
    }
}

/// Goal: an endpoint whose responses are stale is left for one that is up to date.
#[tokio::test]
async fn an_endpoint_whose_head_stands_still_is_left() {
    let anvil = Anvil::start();
    let (first, second) = (Proxy::before(&anvil.url).await, Proxy::before(&anvil.url).await);
    let client =
        L1Client::connect(&[first.url.clone(), second.url.clone()], CHAIN_ID).await.unwrap();
    let direct = anvil.client().await;
    support::mine(&direct, 10).await;
    first.set(Fault::StaleHead);
    // A few polls at most.
    let mut heads = Vec::new();
    for _ in 0..8 {
        heads.push(client.latest().await.unwrap().number);
    }
    assert_eq!((heads[0], heads[7]), (1, 10), "{heads:?}");
    // It stays there, also when the other one is ahead by a block or two.
    second.set(Fault::None);
    first.set(Fault::None);
    let asked = first.requests();
    for _ in 0..6 {
        client.latest().await.unwrap();
    }
    assert_eq!(first.requests(), asked);
    // The one that was good falls behind.
    second.set(Fault::StaleHead);
    for _ in 0..8 {
        client.latest().await.unwrap();
    }
    assert_eq!(client.latest().await.unwrap().number, 10);
    // None is better: what there is, is taken.
    first.set(Fault::Down);
    for _ in 0..9 {
        assert!(client.latest().await.is_ok());
    }
}

/// Goal: two chains with the same id are distinguished by block 0, at the start and when one starts
/// later.
#[tokio::test]
async fn an_endpoint_of_another_genesis_is_rejected() {
    let (right, wrong) = (Anvil::start(), Anvil::with(&["--timestamp", "1700000000"]));
    let urls = [right.url.clone(), wrong.url.clone()];
    let rejected = L1Client::connect(&urls, CHAIN_ID).await.unwrap_err();
    assert_eq!(rejected.code(), "L1-021");
    assert!(rejected.to_string().contains(&wrong.url), "{rejected}");

    let late = Proxy::before(&wrong.url).await;
    late.set(Fault::Down);
    let good = Proxy::before(&right.url).await;
    let client = L1Client::connect(&[late.url.clone(), good.url.clone()], CHAIN_ID).await.unwrap();
    late.set(Fault::None);
    good.set(Fault::Down);
    let error = client.latest().await.unwrap_err();
    assert!(error.to_string().contains("block 0 is"), "{error}");
    late.redirect(&right.url);
    client.latest().await.unwrap();
}

/// Goal: an endpoint that takes a transaction and loses it does no harm beside another.
#[tokio::test]
async fn a_transaction_goes_to_every_endpoint() {
    for fault in [Fault::SwallowTransactions, Fault::LoseTransactions, Fault::RejectTransactions] {
        let anvil = Anvil::start();
        let (first, second) = (Proxy::before(&anvil.url).await, Proxy::before(&anvil.url).await);
        let urls = [first.url.clone(), second.url.clone()];
        let client = L1Client::connect(&urls, CHAIN_ID).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let sender = support::sender(&client, folder.path(), 0).await;
        first.set(fault);
        let to = alloy::primitives::Address::with_last_byte(0x42);
        let request = rollmill_l1::TxRequest {
            gas_limit: Some(21_000),
            ..rollmill_l1::TxRequest::call("pay", to, Default::default())
        };
        assert!(sender.send(request).await.unwrap().succeeded, "{fault:?}");
    }
}
