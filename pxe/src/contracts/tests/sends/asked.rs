//! What a wallet of contracts asks a node, compared for two transfers that have nothing in common but the token.

use rollmill_node_client::wire::method;
use rollmill_protocol::field::to_hex;

use super::*;

/// What left the wallet, from the order to the block.
struct Left {
    requests: Vec<(String, Vec<Value>)>,
    /// Words that are in no request.
    secrets: Vec<Fr>,
}

/// A transfer of a token from one account to the other, on a chain that is the same each time but for who has what.
async fn pay(from: usize, to: usize, amount: u64) -> Left {
    let harbour = Harbour::new().await;
    let holder = json(&harbour.contracts[from]);
    harbour.sent(0, &harbour.order("mint", json!({ "to": holder, "amount": 100 }))).await;
    harbour.build();
    harbour.refresh().await;
    assert_eq!(harbour.spendable(from), [100]);
    harbour.chain.pool().requests.clear();
    harbour.sent(from, &harbour.transfer(to, amount)).await;
    harbour.refresh().await;
    harbour.build();
    harbour.refresh().await;
    assert_eq!(
        (harbour.spendable(from), harbour.spendable(to)),
        (vec![100 - amount], vec![amount])
    );
    let requests = std::mem::take(&mut harbour.chain.pool().requests);
    let mut secrets = vec![harbour.token, harbour.contracts[to]];
    for keys in &keys() {
        let keys = Keys::from_master(keys);
        secrets.extend([keys.nsk, keys.address().npk, keys.address().to_field()]);
    }
    Left { requests, secrets }
}

/// Goal: a node learns by its requests that a transaction was sent and who pays its fee, and neither sender, recipient,
/// amount nor token beyond that. Method: two transfers in opposite directions with other amounts.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_asked_the_same_whoever_pays_whom_a_token() {
    let (one, two) = (pay(0, 1, 30).await, pay(1, 0, 77).await);
    let names = |left: &Left| -> Vec<String> {
        left.requests.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&one), names(&two), "the same methods in the same order");
    assert!(names(&one).contains(&method::SEND_TRANSACTION.to_owned()));
    // What differs: the transaction, its hash, and the slot of the balance that pays.
    let named = [method::SEND_TRANSACTION, method::GET_TRANSACTION_STATUS, method::GET_PUBLIC_DATA];
    for ((name, first), (_, second)) in one.requests.iter().zip(&two.requests) {
        let bytes = |parameters: &[Value]| serde_json::to_vec(parameters).expect("JSON");
        assert_eq!(bytes(first).len(), bytes(second).len(), "{name}");
        assert_eq!(first != second, named.contains(&name.as_str()), "{name}");
    }
    for left in [one, two] {
        let asked = serde_json::to_string(&left.requests).expect("JSON");
        for secret in &left.secrets {
            // Without the prefix, as it would be within a transaction.
            let secret = to_hex(secret);
            assert!(!asked.contains(secret.trim_start_matches("0x")), "{secret} is in a request");
        }
    }
}
