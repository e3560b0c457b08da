//! A node that lies to the wallet of contracts. What the wallet of the built-in asset is told is in
//! `wallet/tests/lies.rs`.

use rollmill_node_client::wire::{BlockEffects, Tips, method};

use super::*;
use crate::wallet::tests::ledger::lies::{IMPOSSIBLE, Lie, about, made_up};

fn tell(harbour: &Harbour, lie: Option<Lie>) {
    harbour.chain.pool().lie = lie;
}

async fn refreshed(harbour: &Harbour) -> PxeError {
    refresh(&harbour.store, &harbour.node, NOW).await.expect_err("a lie")
}

/// What both accounts can spend of the token.
fn spendable_of_both(harbour: &Harbour) -> [Vec<u64>; 2] {
    [harbour.spendable(0), harbour.spendable(1)]
}

/// Attacks: blocks that are not what their headers say, and one without its logs whose header was made to fit. The
/// recipient of a payment finds it all the same, once a node shows the true blocks.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_out_logs_or_makes_up_a_block_hides_no_note_for_long() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let hash = harbour.sent(0, &harbour.transfer(1, 30)).await;
    harbour.build();
    harbour.build();
    let before = [Vec::<u64>::new(), vec![]];
    for (what, change) in IMPOSSIBLE {
        tell(&harbour, Some(about(method::GET_BLOCK_EFFECTS, change)));
        let error = refreshed(&harbour).await;
        assert_eq!(error.code(), "PXE-005", "{what}: {error}");
        assert_eq!(spendable_of_both(&harbour), before, "{what}");
    }
    let change = |blocks: &mut Vec<BlockEffects>| {
        if let Some(block) = blocks.iter_mut().find(|block| block.block_number == 2) {
            *block = made_up(block);
        }
    };
    tell(&harbour, Some(about(method::GET_BLOCK_EFFECTS, change)));
    let error = refreshed(&harbour).await;
    assert!(matches!(error, PxeError::Chain { block: 3, .. }), "{error}");
    assert_eq!((error.code(), harbour.spendable(1)), ("PXE-092", vec![]));
    tell(&harbour, None);
    harbour.refresh().await;
    assert_eq!(spendable_of_both(&harbour), [vec![70], vec![30]]);
    assert_eq!(harbour.state(0, &hash).await, CallState::Included { block: 2 });
}

type OfTips = fn(&mut Tips);

/// Attack: a final block that is another one than was read, or that is not proven. What is final is never undone, so
/// the wallet would be stuck on a chain that a reorganization removes.
#[tokio::test(flavor = "multi_thread")]
async fn a_final_block_that_was_not_read_or_is_not_proven_is_not_believed() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let changes: [(&str, OfTips); 3] = [
        ("another block", |tips| {
            tips.proven = tips.pending;
            tips.finalized = tips.pending;
            tips.finalized.header_hash += Fr::from(1u64);
        }),
        ("a final block that is not proven", |tips| tips.finalized = tips.pending),
        ("a proven block after the last one", |tips| {
            tips.proven = tips.pending;
            tips.proven.block_number += 1;
            tips.finalized = tips.pending;
        }),
    ];
    for (what, change) in changes {
        tell(&harbour, Some(about(method::GET_TIPS, change)));
        let error = refreshed(&harbour).await;
        assert_eq!(error.code(), "PXE-005", "{what}: {error}");
    }
    tell(&harbour, None);
    harbour.chain.ledger().cut(0);
    harbour.refresh().await;
    assert!(harbour.spendable(0).is_empty(), "its block is gone");
    harbour.build();
    harbour.refresh().await;
    assert_eq!(harbour.spendable(0), [100]);
}

/// Fault: the address of a node of another network. Nothing is undone and nothing is sent to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_network_changes_nothing() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let hash = harbour.sent(0, &harbour.transfer(1, 30)).await;
    let other = Node::new(Ledger::new(Vec::new(), &[], 2, Fr::zero()));
    let url = other.serve(&harbour.shutdown).await;
    let node = NodeClient::new(&url).expect("a URL");
    let error = refresh(&harbour.store, &node, NOW).await.expect_err("another network");
    assert_eq!(error.code(), "PXE-006");
    assert!(other.pool().received.is_empty());
    harbour.build();
    harbour.refresh().await;
    assert_eq!(spendable_of_both(&harbour), [vec![70], vec![30]]);
    assert_eq!(harbour.state(0, &hash).await, CallState::Included { block: 2 });
}
