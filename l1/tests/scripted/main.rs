//! Each rule of the sender alone, on an L1 that answers as the test tells it to.

mod endpoints;
mod fate;
mod line;
mod price;
mod requests;

use std::sync::{Arc, Mutex};

use rollmill_l1::{Expiry, Right, TxRequest, TxSender, TxStatus};
use rollmill_l1_testing::fake::{Fake, Refusal};
use rollmill_l1_testing::pay::PAYEE;

/// A call that fails.
const REVERTS: Refusal = (3, "execution reverted");

async fn start() -> (Fake, TxSender) {
    let fake = Fake::start().await;
    let sender = fake.sender().await;
    (fake, sender)
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

/// A right that a test can take away, and the sender that asks for it.
fn guarded(sender: TxSender) -> (TxSender, Arc<Mutex<Right>>) {
    let right = Arc::new(Mutex::new(Right::Held));
    let asked = Arc::clone(&right);
    (sender.guarded(move |_| *asked.lock().unwrap()), right)
}

fn is_pending(sender: &TxSender, purpose: &str) -> bool {
    matches!(sender.status(purpose, 0), Some(TxStatus::Pending { .. }))
}
