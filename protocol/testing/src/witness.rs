//! The check of everything that a transition claims, from roots, paths and the transaction alone.

use rollmill_protocol::message::{claim_nullifier, deposit_leaf};
use rollmill_protocol::note::fee_balance_slot;
use rollmill_protocol::state::{BalanceChange, EffectsTransition, Settlement, TxTransition};
use rollmill_protocol::tree::verify::membership;
use rollmill_protocol::tree::{IndexedTree, Tree};
use rollmill_protocol::tx::REFUND_SLOT;
use rollmill_protocol::{Fr, StateRefs, Tx, TxEffects};

/// Checks a transition as TxBase does.
///
/// # Panics
/// When anything of it does not hold.
pub fn check(transition: &TxTransition, before: &StateRefs, tx: &Tx) {
    let TxTransition { anchor, effects: done } = transition;
    let leaf = tx.anchor_header_hash;
    membership(Tree::Archive, &anchor.archive_root, &leaf, anchor.index, &anchor.path).unwrap();
    check_effects(done, before, tx.effects());
}

/// As [`check`], without the anchor.
///
/// # Panics
/// As [`check`].
pub fn check_effects(done: &EffectsTransition, before: &StateRefs, effects: &TxEffects) {
    assert_eq!(done.tx_hash, effects.tx_hash());
    assert_eq!((done.start, done.message_root), (before.tx_state, before.message_root));
    assert_eq!(done.out_leaves, effects.out_leaves());
    assert_eq!(Some(done.used), effects.gas.used());
    check_notes(done, effects);
    check_nullifiers(done, effects);
    check_value(done, effects);
}

fn check_notes(done: &EffectsTransition, effects: &TxEffects) {
    let mut leaves = effects.note_hashes;
    if let Settlement::Refund { leaf, .. } = &done.settlement {
        assert_eq!(leaves[REFUND_SLOT], Fr::from(0u64));
        leaves[REFUND_SLOT] = *leaf;
    }
    done.notes.verify(Tree::Notes, done.start.note_count).unwrap();
    assert_eq!(done.notes.leaves, leaves);
    assert_eq!(done.notes.root_before, done.start.note_root);
    assert_eq!(done.notes.root_after, done.end.note_root);
    assert_eq!(done.end.note_count, done.start.note_count + 8);
}

fn check_nullifiers(done: &EffectsTransition, effects: &TxEffects) {
    let (mut root, mut count) = (done.start.nullifier_root, done.start.nullifier_count);
    let mut inserted = Vec::new();
    for (insertion, nullifier) in done.nullifiers.iter().zip(&effects.nullifiers) {
        assert_eq!(insertion.is_some(), *nullifier != Fr::from(0u64));
        inserted.extend(insertion.as_ref().map(|insertion| (insertion, *nullifier)));
    }
    assert_eq!(done.claim.is_some(), effects.claim_amount != 0);
    if let Some(claim) = &done.claim {
        let (index, amount) = (effects.claim_index, effects.claim_amount);
        assert_eq!(claim.leaf, deposit_leaf(&effects.fee_payer, amount, index));
        membership(Tree::Messages, &done.message_root, &claim.leaf, index, &claim.path).unwrap();
        inserted.push((&claim.insertion, claim_nullifier(&claim.leaf)));
    }
    for (insertion, nullifier) in inserted {
        insertion.verify(IndexedTree::Nullifiers, count).unwrap();
        assert_eq!((insertion.key, insertion.root_before), (nullifier, root));
        (root, count) = (insertion.root_after, count + 1);
    }
    assert_eq!((root, count), (done.end.nullifier_root, done.end.nullifier_count));
}

/// Checks conservation over integers, and that what is left goes where it belongs.
fn check_value(done: &EffectsTransition, effects: &TxEffects) {
    const TREE: IndexedTree = IndexedTree::PublicData;
    let (start, end) = (&done.start, &done.end);
    let mut expected = (start.public_data_root, start.public_data_count);
    let (before, after, refund) = match &done.settlement {
        Settlement::Payer { before, after, change } => {
            let slot = fee_balance_slot(&effects.fee_payer);
            let (root, values) = match change {
                BalanceChange::Update(update) => {
                    update.verify(TREE, &slot).unwrap();
                    (update.root_before, (update.leaf.value, update.value_after))
                }
                BalanceChange::Insert(insertion) => {
                    insertion.verify(TREE, start.public_data_count).unwrap();
                    assert_eq!(insertion.key, slot);
                    expected.1 += 1;
                    (insertion.root_before, (Fr::from(0u64), insertion.value))
                }
            };
            assert_eq!((root, values), (expected.0, (Fr::from(*before), Fr::from(*after))));
            expected.0 = change.root_after();
            (*before, *after, 0)
        }
        Settlement::Refund { value, .. } => {
            assert_eq!(effects.fee_payer, Fr::from(0u64));
            (0, 0, *value)
        }
    };
    assert_eq!((end.public_data_root, end.public_data_count), expected);
    let sum = |terms: &[u64]| terms.iter().map(|term| i128::from(*term)).sum::<i128>();
    assert_eq!(
        sum(&[before, effects.claim_amount, effects.notes_out]),
        sum(&[done.fee, effects.withdraw_amount, effects.notes_in, refund, after]),
        "value is conserved"
    );
}
