//! Each rule of the sender alone, on a scripted L1.

mod blobs;
mod endpoints;
mod fate;
mod line;
mod price;
mod requests;

use std::sync::Arc;

use parking_lot::Mutex;
use rollmill_l1::{Expiry, Right, TxRequest, TxSender, TxStatus};
use rollmill_l1_testing::fake::{Broadcast, Fake, RpcFailure};
use rollmill_l1_testing::pay::{PAYEE, included, payment};

/// A call that fails.
const REVERTS: RpcFailure = (3, "execution reverted");

async fn start() -> (Fake, TxSender) {
    let fake = Fake::start().await;
    let sender = fake.sender().await;
    (fake, sender)
}

/// The end of a transaction whose nonce another one has used.
const LOST: Option<TxStatus> = Some(TxStatus::Lost { nonce: 0 });

/// A payment that a node accepted and that is in no pool.
async fn swallowed() -> (Fake, TxSender) {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::Swallow;
    sender.submit(payment("pay", 5)).await.unwrap();
    (fake, sender)
}

/// A payment that the sender knows to be lost.
async fn lost() -> (Fake, TxSender) {
    let (fake, sender) = swallowed().await;
    fake.l1().mine_foreign();
    sender.tick().await.unwrap();
    assert_eq!(sender.status("pay", 0), LOST);
    (fake, sender)
}

/// Submits requests that reach no pool, so that the next poll sends them.
async fn submit_unsent(fake: &Fake, sender: &TxSender, requests: [TxRequest; 2]) {
    fake.l1().broadcast = Broadcast::Lose;
    for request in requests {
        sender.submit(request).await.unwrap_err();
    }
    fake.l1().broadcast = Broadcast::Take;
}

/// Mines the pool: the next poll must find the purpose's first attempt in it, under this nonce.
async fn mine_included(fake: &Fake, sender: &TxSender, purpose: &str, nonce: u64) {
    fake.l1().mine();
    sender.tick().await.unwrap();
    assert_eq!(included(sender.status(purpose, 0)).nonce, nonce);
}

/// A call that is simulated before it is sent.
fn call(purpose: &str) -> TxRequest {
    TxRequest::call(purpose, PAYEE, Default::default())
}

/// The request, worth nothing after this block.
fn until(last: u64, request: TxRequest) -> TxRequest {
    TxRequest { expires: Some(Expiry::Block(last)), ..request }
}

fn fenced(fence: u64, request: TxRequest) -> TxRequest {
    TxRequest { fence: Some(fence), ..request }
}

/// A right that a test can revoke, and the sender that checks it.
fn guarded(sender: TxSender) -> (TxSender, Arc<Mutex<Right>>) {
    let right = Arc::new(Mutex::new(Right::Held));
    let asked = Arc::clone(&right);
    (sender.guarded(move |_| *asked.lock()), right)
}

fn is_pending(sender: &TxSender, purpose: &str) -> bool {
    matches!(sender.status(purpose, 0), Some(TxStatus::Pending { .. }))
}
