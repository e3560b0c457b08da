//! What a node believes of blocks and proofs: which client proofs it takes, and which blocks are
//! verified.

use rollmill_protocol::{Fr, Tx};

use super::pool::{block, genesis_hash, submit};
use super::support::{tx, value};
use super::{MemoryL1, Proposer, TestNode, sync};
use crate::{L1Event, PoolError};

#[test]
fn a_transaction_fetched_from_elsewhere_is_kept_only_with_its_block_and_proof() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::new();
    l1.mine(vec![block(&mut proposer, &[0])]);
    sync(&test.node, &l1);
    let included = tx(0, genesis_hash());
    let mut forged = included.clone();
    forged.client_proof = vec![1];
    let mut elsewhere = included.clone();
    elsewhere.chain_id += 1;
    // Anchored in its own block, or in nothing.
    let late = Tx { anchor_header_hash: proposer.header.hash(), ..included.clone() };
    let nowhere = Tx { anchor_header_hash: value(1, 1), ..included.clone() };
    for rejected in [forged, tx(1, genesis_hash()), elsewhere, late, nowhere] {
        assert!(matches!(test.node.keep_included(rejected), Err(PoolError::Proof { .. })));
    }
    assert_eq!(test.node.tips().verified.block_number, 0);
    test.node.keep_included(included.clone()).unwrap();
    test.node.keep_included(included.clone()).unwrap();
    assert_eq!(*test.node.transaction(&included.hash()).unwrap().unwrap(), included);
    assert_eq!(test.node.ready_count(), 0);
}

/// Goal: a block on L1 is verified when each of its client proofs is here, or L1 has its proof.
#[test]
fn blocks_are_unverified_until_their_client_proofs_are_here_or_they_are_proven() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    let test = TestNode::new();
    let verified = |test: &TestNode| {
        let tips = test.node.tips();
        (tips.verified.block_number, tips.unverified())
    };
    assert_eq!(verified(&test), (0, None));
    submit(&test, &tx(0, genesis_hash())).unwrap();
    for ids in [&[0][..], &[1, 2], &[], &[3]] {
        l1.mine(vec![block(&mut proposer, ids)]);
    }
    sync(&test.node, &l1);
    assert_eq!(verified(&test), (1, Some(2)));
    let missing: Vec<Fr> = [1, 2].map(|i| tx(i, genesis_hash()).hash()).to_vec();
    assert_eq!(test.node.missing_proofs()[&2], missing);
    let test = test.restart();
    assert_eq!(verified(&test), (1, Some(2)));
    test.node.keep_included(tx(1, genesis_hash())).unwrap();
    assert_eq!(verified(&test), (1, Some(2)));
    let mut tips = test.node.watch_tips();
    test.node.keep_included(tx(2, genesis_hash())).unwrap();
    assert!(tips.has_changed().unwrap());
    assert_eq!(tips.borrow_and_update().verified.block_number, 3);
    assert_eq!(verified(&test), (3, Some(4)));

    let before = l1.clone();
    l1.mine(vec![L1Event::EpochProven { last_block: 4 }]);
    sync(&test.node, &l1);
    assert_eq!(verified(&test), (4, None));
    assert_eq!(test.node.missing_proofs().len(), 0);
    // L1 takes the proof back.
    let mut other = before.fork(before.head().number);
    other.mine_empty(1);
    sync(&test.node, &other);
    assert_eq!(verified(&test), (3, Some(4)));
    // And the block.
    let mut other = before.fork(3);
    other.mine_empty(1);
    sync(&test.node, &other);
    assert_eq!(verified(&test), (3, None));
}

/// Counts what is verified, and accepts proofs whose first byte is 7.
#[derive(Debug, Default)]
struct Counting(std::sync::atomic::AtomicUsize);

impl crate::ClientProofVerifier for Counting {
    fn verify(
        &self,
        kind: rollmill_protocol::ProofKind,
        inputs: &rollmill_protocol::ClientInputs,
        proof: &[u8],
    ) -> Result<(), crate::ProofRejected> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        super::FirstByteIsSeven.verify(kind, inputs, proof)
    }
}

#[test]
fn a_rejected_proof_is_remembered_and_not_verified_again() {
    let dir = tempfile::tempdir().unwrap();
    let counting = std::sync::Arc::new(Counting::default());
    let node = crate::Node::open(super::settings(dir.path()), counting.clone()).unwrap();
    let mut forged = tx(0, genesis_hash());
    forged.client_proof = vec![1];
    for _ in 0..10 {
        let error = node.submit(&forged.to_bytes()).unwrap_err();
        assert!(matches!(error, PoolError::Proof { .. }));
    }
    let counted = || counting.0.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(counted(), 1);
    // Another proof of the same transaction is another matter.
    node.submit(&tx(0, genesis_hash()).to_bytes()).unwrap();
    assert_eq!(counted(), 2);
}
