//! What the store keeps of the note tree for notes that are spent.

use std::collections::BTreeSet;

use super::*;

fn marks(harbour: &Harbour) -> BTreeSet<u64> {
    let scope = Scope::default();
    harbour.store.view(&scope).expect("a view").marks().expect("read")
}

/// Goal: the path of a note stays until its nullifier is final, and not longer; the other notes can be spent.
#[tokio::test(flavor = "multi_thread")]
async fn paths_of_spent_notes_go_once_their_nullifiers_are_final() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let of_minting = marks(&harbour);
    assert_eq!(of_minting.len(), 1);
    harbour.sent(0, &harbour.transfer(1, 30)).await;
    harbour.build();
    harbour.chain.pool().proven = 1;
    harbour.refresh().await;
    let of_both = marks(&harbour);
    assert!(of_both.len() == 2 && of_both.is_superset(&of_minting), "{of_both:?}");
    harbour.chain.pool().proven = 2;
    harbour.refresh().await;
    let left: BTreeSet<u64> = of_both.difference(&of_minting).copied().collect();
    assert_eq!(marks(&harbour), left);
    harbour.sent(0, &harbour.transfer(1, 20)).await;
    harbour.build();
    harbour.refresh().await;
    assert_eq!((harbour.spendable(0), harbour.spendable(1)), (vec![50], vec![20, 30]));
    assert_eq!(marks(&harbour).len(), 2, "the second note of the first transfer is there");
}
