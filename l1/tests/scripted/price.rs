//! Gas, its price, and the money for it.

use alloy::consensus::Transaction as _;
use alloy::primitives::U256;
use rollmill_l1::{GAS_LIMIT_MAX, L1Error, SenderConfig, TxRequest, TxUpdate};

use crate::{call, mine_included, start};
use rollmill_l1_testing::fake::{Broadcast, Fake, GWEI, STRANGE};
use rollmill_l1_testing::pay::payment;

const UNDERPRICED: Broadcast = Broadcast::Reject((-32000, "transaction underpriced"));

fn limit(max_fee_limit_wei: u128) -> SenderConfig {
    SenderConfig { max_fee_limit_wei, ..Default::default() }
}

/// Fault: an endpoint leaves the base fee out of the head. A price of nothing would never be taken.
#[tokio::test]
async fn a_head_without_a_base_fee_prices_nothing() {
    let (fake, sender) = start().await;
    fake.l1().shows_base_fee = false;
    assert_eq!(sender.submit(payment("pay", 5)).await.unwrap_err().code(), "L1-016");
    assert!(fake.l1().sent.is_empty());
}

#[tokio::test]
async fn a_simulated_call_has_gas_to_spare() {
    let (fake, sender) = start().await;
    sender.submit(call("call")).await.unwrap();
    assert_eq!(fake.l1().sent[0].gas_limit(), 67_100, "a word");
    fake.l1().gas = Ok(1_000_000);
    sender.submit(call("larger")).await.unwrap();
    assert_eq!(fake.l1().sent[1].gas_limit(), 1_200_000, "a fifth");
    sender.submit(TxRequest { gas_spare: 300_000, ..call("more") }).await.unwrap();
    assert_eq!(fake.l1().sent[2].gas_limit(), 1_500_000, "what the caller asks for");
}

/// Goal: a pending call that has come to need more than its limit is replaced before it runs out of gas, once.
#[tokio::test]
async fn a_call_that_needs_more_by_now_gets_a_higher_limit() {
    let (fake, sender) = start().await;
    sender.submit(call("call")).await.unwrap();
    fake.l1().gas = Ok(67_100);
    sender.tick().await.unwrap();
    assert_eq!(fake.l1().sent.len(), 1, "it fits");
    fake.l1().gas = Ok(67_101);
    for _ in 0..2 {
        sender.tick().await.unwrap();
        let sent = fake.l1().sent.clone();
        assert_eq!(sent.len(), 2);
        assert_eq!((sent[1].nonce(), sent[1].gas_limit()), (sent[0].nonce(), 67_101 + 17_100));
    }
    let prices = fake.l1().prices();
    assert!(prices[1] * 10 >= prices[0] * 11, "{prices:?}");
    mine_included(&fake, &sender, "call", 0).await;
}

/// Goal: a higher limit has as much to spare as the first one, also after a restart, since the call can come to need it
/// in any later block.
#[tokio::test]
async fn a_higher_limit_has_the_spare_gas_too() {
    let (fake, sender) = start().await;
    sender.submit(TxRequest { gas_spare: 300_000, ..call("more") }).await.unwrap();
    assert_eq!(fake.l1().sent[0].gas_limit(), 50_000 + 17_100 + 300_000);
    fake.l1().gas = Ok(400_000);
    sender.tick().await.unwrap();
    assert_eq!(fake.l1().sent[1].gas_limit(), 400_000 + 80_000 + 300_000);
    drop(sender);
    let sender = fake.sender().await;
    fake.l1().gas = Ok(1_000_000);
    sender.tick().await.unwrap();
    assert_eq!(fake.l1().sent[2].gas_limit(), 1_000_000 + 200_000 + 300_000);
    mine_included(&fake, &sender, "more", 0).await;
}

/// Goal: without the fees for a replacement the first form stays what it is, and is sent again when a pool lost it.
#[tokio::test]
async fn a_higher_limit_waits_for_fees_below_theirs() {
    let fake = Fake::start().await;
    let market = fake.l1().market();
    let sender = fake.sender_with(limit(market)).await;
    sender.submit(call("call")).await.unwrap();
    fake.l1().gas = Ok(90_000);
    let updates = sender.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::FeeLimited { .. }]), "{updates:?}");
    assert_eq!(fake.l1().sent.len(), 1);
    fake.l1().pool.clear();
    sender.tick().await.unwrap();
    let sent = fake.l1().sent.clone();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0], sent[1]);
}

#[tokio::test]
async fn spare_gas_ends_at_the_limit_of_l1() {
    let (fake, sender) = start().await;
    fake.l1().gas = Ok(GAS_LIMIT_MAX - 1);
    sender.submit(call("call")).await.unwrap();
    assert_eq!(fake.l1().sent[0].gas_limit(), GAS_LIMIT_MAX);
}

#[tokio::test]
async fn a_replacement_stays_below_the_limit() {
    let fake = Fake::start().await;
    let sender = fake.sender_with(limit(10 * GWEI)).await;
    sender.submit(payment("pay", 5)).await.unwrap();
    let mut updates = Vec::new();
    for _ in 0..6 {
        fake.l1().mine_empty(3);
        updates = sender.tick().await.unwrap();
    }
    let prices = fake.l1().prices();
    assert!(prices.len() > 2 && prices.iter().all(|price| *price <= 10 * GWEI), "{prices:?}");
    assert!(matches!(&updates[..], [TxUpdate::FeeLimited { .. }]), "{updates:?}");
}

#[tokio::test]
async fn a_pending_transaction_at_the_fee_limit_is_not_sent_again() {
    let fake = Fake::start().await;
    let market = fake.l1().market();
    let sender = fake.sender_with(limit(market)).await;
    sender.submit(payment("pay", 5)).await.unwrap();
    fake.l1().mine_empty(3);
    let updates = sender.tick().await.unwrap();
    assert!(matches!(&updates[..], [TxUpdate::FeeLimited { .. }]), "{updates:?}");
    assert_eq!(fake.l1().sent.len(), 1);
}

#[tokio::test]
async fn an_underpriced_payload_gets_a_higher_fee_at_the_next_poll() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = UNDERPRICED;
    sender.submit(payment("pay", 5)).await.unwrap();
    fake.l1().broadcast = Broadcast::Take;
    sender.tick().await.unwrap();
    let prices = fake.l1().prices();
    assert!(prices.len() == 2 && prices[1] * 10 >= prices[0] * 11, "{prices:?}");
}

#[tokio::test]
async fn a_replacement_of_an_underpriced_payload_has_a_higher_fee() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = UNDERPRICED;
    sender.submit(payment("pay", 5)).await.unwrap();
    fake.l1().broadcast = Broadcast::Take;
    sender.submit(payment("pay", 7)).await.unwrap();
    let prices = fake.l1().prices();
    assert!(prices.len() == 2 && prices[1] * 10 >= prices[0] * 11, "{prices:?}");
}

#[tokio::test]
async fn a_rejection_below_the_base_fee_counts_as_underpriced_whatever_it_says() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::Reject(STRANGE);
    fake.l1().before("eth_sendRawTransaction", |l1| l1.base_fee = 100 * GWEI);
    sender.submit(payment("pay", 5)).await.unwrap();
    fake.l1().broadcast = Broadcast::Take;
    sender.tick().await.unwrap();
    let market = fake.l1().market();
    assert_eq!(fake.l1().prices()[1], market);
}

#[tokio::test]
async fn rejections_do_not_raise_the_price() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::Reject(STRANGE);
    sender.submit(payment("pay", 5)).await.unwrap_err();
    for _ in 0..5 {
        fake.l1().mine_empty(3);
        sender.tick().await.unwrap_err();
    }
    let market = fake.l1().market();
    assert_eq!(fake.l1().prices(), [market; 6]);
}

#[tokio::test]
async fn payloads_that_were_swallowed_do_not_raise_the_price() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::Swallow;
    sender.submit(payment("pay", 5)).await.unwrap();
    sender.submit(payment("pay", 7)).await.unwrap();
    let market = fake.l1().market();
    assert_eq!(fake.l1().prices(), [market, market]);
}

#[tokio::test]
async fn a_simulation_that_fails_for_lack_of_funds_reports_that() {
    let (fake, sender) = start().await;
    fake.l1().balance = U256::ZERO;
    fake.l1().gas = Err(STRANGE);
    let error = sender.submit(call("call")).await.unwrap_err();
    assert!(matches!(error, L1Error::Funds { .. }), "{error}");
}

#[tokio::test]
async fn funds_must_suffice_for_all_that_is_pending() {
    let (fake, sender) = start().await;
    let market = fake.l1().market();
    fake.l1().balance = U256::from(21_000 * market * 3 / 2);
    sender.submit(payment("first", 5)).await.unwrap();
    fake.l1().broadcast = Broadcast::Reject(STRANGE);
    let error = sender.submit(payment("second", 5)).await.unwrap_err();
    assert!(matches!(error, L1Error::Funds { .. }), "{error}");
}
