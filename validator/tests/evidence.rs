//! What a member keeps against a proposer that signs two blocks of a slot.

use rollmill_protocol::Fr;
use rollmill_protocol_testing as chain;

use crate::attest::{Member, Proposer, ROLLUP, SLOT, key, metrics, resigned};

/// Goal: who signs two blocks of a slot leaves evidence with whoever is asked for both, also where neither is attested.
/// Method: two blocks of one slot that break a rule, one of them twice; and honest ones of two slots.
#[tokio::test(flavor = "multi_thread")]
async fn a_proposer_that_signs_two_blocks_of_a_slot_leaves_evidence() {
    let (member, proposer) = (Member::new(), Proposer::new());
    let wrong = |coinbase: u8| {
        let mut proposal = proposer.proposal(SLOT, coinbase, vec![]);
        proposal.chain += Fr::from(1u64);
        resigned(proposal)
    };
    member.accept(&proposer.proposal(SLOT + 1, 0xc0, vec![])).await;
    for coinbase in [0xc0, 0xc0] {
        member.reject(&wrong(coinbase), "VAL-019").await;
    }
    assert!(member.evidence().is_empty(), "one block, however often it is offered");
    for coinbase in [0xc1, 0xc2, 0xc1] {
        member.reject(&wrong(coinbase), "VAL-019").await;
    }
    let evidence = member.evidence();
    let [found] = evidence.as_slice() else { panic!("{evidence:?}") };
    assert_eq!((found.attester, found.slot), (key(SLOT % 4).address(), SLOT));
    assert_eq!(
        (found.chain_id, found.rollup),
        (chain::CHAIN_ID, rollmill_l1::abi::address(ROLLUP))
    );
    let text = metrics(&member.registry);
    assert!(text.contains("rollmill_validator_equivocations_total 1\n"), "{text}");
    // Its stake is for L1 to take; what is right is attested all the same.
    member.accept(&proposer.proposal(SLOT, 0xc0, proposer.txs(0..1))).await;
}
