//! Several endpoints, and one that responds at the second attempt.

use rollmill_l1::L1Client;

use rollmill_l1_testing::fake::{Broadcast, Fake, STRANGE};
use rollmill_l1_testing::pay::payment;
use rollmill_l1_testing::{CHAIN_ID, sender};

async fn both(first: &Fake, second: &Fake) -> L1Client {
    L1Client::connect(&[first.url.clone(), second.url.clone()], CHAIN_ID).await.unwrap()
}

#[tokio::test]
async fn a_transaction_that_one_endpoint_rejects_reaches_the_other() {
    let (first, second) = (Fake::start().await, Fake::start().await);
    first.l1().broadcast = Broadcast::Reject(STRANGE);
    let client = both(&first, &second).await;
    let sender = sender(&client, first.folder.path(), 0).await;
    sender.submit(payment("pay", 5)).await.unwrap();
    assert_eq!((first.l1().sent.len(), second.l1().pool.len()), (1, 1));
}

#[tokio::test]
async fn a_read_that_fails_is_tried_again() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.l1().closes = 3;
    client.latest().await.unwrap();
}

#[tokio::test]
async fn an_endpoint_a_few_blocks_behind_is_kept() {
    let (first, second) = (Fake::start().await, Fake::start().await);
    let client = both(&first, &second).await;
    for (ahead, head) in [(3, 0), (4, 4)] {
        let now = second.l1().head();
        second.l1().mine_empty(ahead - now);
        // The heads are compared once in so many requests.
        for _ in 0..8 {
            client.latest().await.unwrap();
        }
        assert_eq!(client.latest().await.unwrap().number, head, "{ahead} blocks ahead");
    }
}
