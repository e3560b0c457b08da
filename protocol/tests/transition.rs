//! The state transition: what it rejects, that a rejection changes nothing, and that its witnesses are
//! valid.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rollmill_algebra::Fr;
use rollmill_protocol::builder::{BlockBuilder, BlockError, execute};
use rollmill_protocol::gas::{DA_GAS_PER_TX, FeePerGas, L2_GAS_PER_TX, MAX_TXS_PER_BLOCK};
use rollmill_protocol::note::fee_balance_slot;
use rollmill_protocol::state::{ApplyError, TxGlobals, TxRejection, TxTransition, WorldState};
use rollmill_protocol::tree::verify::membership;
use rollmill_protocol::tree::{IndexedTree, MemoryStore, Overlay, Tree, WitnessError};
use rollmill_protocol::{Header, Tx};
use rollmill_protocol_testing as support;

use rollmill_protocol_testing::{
    CHAIN_ID, FEE, PRICE, USERS, VERSION, builder, env, start, tx, user, value,
};

fn globals() -> TxGlobals {
    TxGlobals { chain_id: CHAIN_ID, version: VERSION, price: PRICE }
}

fn state() -> (Header, WorldState<MemoryStore>) {
    let (header, store) = start();
    let state = WorldState::at(store, &header).unwrap();
    (header, state)
}

/// Applies `change` to a good transaction and to the state, and requires the rejection. Nothing may
/// have been written, and a check without applying must return the same.
fn reject(
    change: impl FnOnce(&mut Tx, &mut TxGlobals, &mut WorldState<MemoryStore>),
) -> TxRejection {
    let (header, mut base) = state();
    let (mut tx, mut globals) = (tx(0, header.hash()), globals());
    change(&mut tx, &mut globals, &mut base);
    let mut state = WorldState {
        store: Overlay::new(&base.store),
        refs: base.refs,
        archive_root: base.archive_root,
        archive_count: base.archive_count,
        txs_chain: base.txs_chain,
    };
    let ApplyError::Rejected(asked) = state.check_tx(&tx, &globals).unwrap_err() else {
        panic!("a rejection was expected");
    };
    let ApplyError::Rejected(rejection) = state.apply_tx(&tx, &globals).unwrap_err() else {
        panic!("a rejection was expected");
    };
    assert_eq!(asked, rejection);
    assert_eq!(state.refs, base.refs);
    assert_eq!(state.txs_chain, base.txs_chain);
    assert!(state.store.changes().nodes.is_empty());
    rejection
}

fn verify(transition: &TxTransition, header: &Header, tx: &Tx) {
    let effects = &transition.effects;
    let anchor = &transition.anchor;
    let leaf = tx.anchor_header_hash;
    membership(Tree::Archive, &anchor.archive_root, &leaf, anchor.index, &anchor.path).unwrap();
    assert_eq!(effects.tx_hash, tx.hash());

    effects.notes.verify(Tree::Notes, effects.start.note_count).unwrap();
    assert_eq!(effects.notes.leaves, tx.effects.note_hashes);
    assert_eq!(effects.notes.root_before, effects.start.note_root);
    assert_eq!(effects.notes.root_after, effects.end.note_root);
    assert_eq!(effects.end.note_count, effects.start.note_count + 8);

    let (mut root, mut count) = (effects.start.nullifier_root, effects.start.nullifier_count);
    for (insertion, nullifier) in effects.nullifiers.iter().zip(&tx.effects.nullifiers) {
        let Some(insertion) = insertion else {
            assert_eq!(*nullifier, Fr::from(0u64));
            continue;
        };
        insertion.verify(IndexedTree::Nullifiers, count).unwrap();
        assert_eq!((insertion.key, insertion.root_before), (*nullifier, root));
        (root, count) = (insertion.root_after, count + 1);
    }
    assert_eq!((root, count), (effects.end.nullifier_root, effects.end.nullifier_count));

    let slot = fee_balance_slot(&tx.effects.fee_payer);
    effects.fee_payment.verify(IndexedTree::PublicData, &slot).unwrap();
    assert_eq!(effects.fee_payment.root_before, effects.start.public_data_root);
    assert_eq!(effects.fee_payment.root_after, effects.end.public_data_root);
    assert_eq!(effects.fee_payment.leaf.value - effects.fee_payment.value_after, FEE.into());
    assert!(header.block_number >= anchor.index);
}

#[test]
fn every_witness_of_a_block_holds_and_leads_from_start_to_end() {
    let (header, store) = start();
    let mut builder = builder(&header, store);
    let mut last = header.state.tx_state;
    for i in 0..5 {
        let tx = tx(i, header.hash());
        let transition = builder.apply(&tx).unwrap();
        verify(&transition, &header, &tx);
        assert_eq!(transition.effects.start, last);
        last = transition.effects.end;
    }
    let (block, store) = builder.finish().unwrap();
    assert_eq!(block.header.state.tx_state, last);
    assert_eq!(block.header.total_fees, 5 * u128::from(FEE));

    let append = &block.archive.append;
    append.verify(Tree::Archive, 1).unwrap();
    assert_eq!(append.leaves, [block.header_hash]);
    assert_eq!(append.root_before, block.header.last_archive_root);
    membership(Tree::Archive, &append.root_before, &header.hash(), 0, &block.archive.parent_path)
        .unwrap();

    // The next block may anchor in this one, and its state is the one the header names.
    let mut next = support::builder(&block.header, store);
    let tx = tx(9, block.header_hash);
    let transition = next.apply(&tx).unwrap();
    verify(&transition, &block.header, &tx);
    assert_eq!(transition.anchor.index, 1);
}

#[test]
fn a_spent_nullifier_is_rejected() {
    let spent = reject(|tx, globals, state| {
        state.apply_tx(tx, globals).unwrap();
        // Even in another place of another transaction.
        let spent = tx.effects.nullifiers[0];
        *tx = support::tx(1, tx.anchor_header_hash);
        tx.effects.nullifiers[2] = spent;
    });
    assert_eq!(spent, TxRejection::NullifierSpent { nullifier: value(2, 0) });
}

#[test]
fn a_nullifier_that_occurs_twice_in_a_transaction_is_rejected() {
    let rejection = reject(|tx, _, _| tx.effects.nullifiers[2] = tx.effects.nullifiers[0]);
    assert_eq!(rejection, TxRejection::NullifierRepeated { nullifier: value(2, 0) });
}

#[test]
fn full_trees_are_rejected() {
    for (tree, free) in [(Tree::Notes, 7), (Tree::Nullifiers, 1)] {
        let rejection = reject(|_, _, state| {
            let counts = &mut state.refs.tx_state;
            let count = match tree {
                Tree::Notes => &mut counts.note_count,
                _ => &mut counts.nullifier_count,
            };
            *count = tree.capacity() - free;
        });
        assert_eq!(rejection, TxRejection::TreeFull { tree });
    }
}

#[test]
fn a_price_above_what_is_allowed_is_rejected() {
    let rejection = reject(|_, globals, _| globals.price.l2 = 11);
    assert_eq!(rejection, TxRejection::PriceAboveMax { kind: "L2", price: 11, max: 10 });
    let rejection = reject(|_, globals, _| globals.price.da = 11);
    assert_eq!(rejection, TxRejection::PriceAboveMax { kind: "DA", price: 11, max: 10 });
}

#[test]
fn a_fee_that_overflows_is_rejected() {
    let rejection = reject(|tx, globals, _| {
        tx.effects.gas.max_fee_per_l2_gas = u64::MAX;
        globals.price = FeePerGas { l2: u64::MAX, da: 1 };
    });
    assert_eq!(rejection, TxRejection::FeeOverflow { l2: u64::MAX, da: 1 });
}

#[test]
fn gas_limits_below_the_use_are_rejected() {
    for change in [
        (|tx: &mut Tx| tx.effects.gas.l2_gas_limit = L2_GAS_PER_TX - 1) as fn(&mut Tx),
        |tx| tx.effects.gas.da_gas_limit = DA_GAS_PER_TX - 1,
        |tx| tx.effects.gas.l2_teardown_gas_limit = 1,
        |tx| tx.effects.gas.da_teardown_gas_limit = u64::MAX,
    ] {
        assert_eq!(reject(|tx, _, _| change(tx)), TxRejection::GasLimit);
    }
}

#[test]
fn a_fee_payer_without_balance_or_with_too_little_is_rejected() {
    let stranger = value(77, 0);
    let rejection = reject(|tx, _, _| tx.effects.fee_payer = stranger);
    assert_eq!(rejection, TxRejection::FeePayerUnknown { fee_payer: stranger });
    let rejection = reject(|tx, globals, state| {
        for i in 0..100 {
            let tx = support::tx(1000 + USERS * i, tx.anchor_header_hash);
            assert_eq!(tx.effects.fee_payer, user(0));
            state.apply_tx(&tx, globals).unwrap();
        }
    });
    assert_eq!(rejection, TxRejection::BalanceTooLow { balance: 0, fee: FEE });
}

#[test]
fn another_chain_version_or_anchor_is_rejected() {
    let rejection = reject(|tx, _, _| tx.chain_id = 1);
    assert_eq!(rejection, TxRejection::WrongChain { expected: CHAIN_ID, got: 1 });
    let rejection = reject(|tx, _, _| tx.version = 2);
    assert_eq!(rejection, TxRejection::WrongVersion { expected: VERSION, got: 2 });
    let anchor = value(78, 0);
    let rejection = reject(|tx, _, _| tx.anchor_header_hash = anchor);
    assert_eq!(rejection, TxRejection::UnknownAnchor { anchor });
    // A header that is known, but not in the archive before the block.
    let rejection = reject(|_, _, state| state.archive_count = 0);
    assert!(matches!(rejection, TxRejection::UnknownAnchor { .. }));
}

#[test]
fn malformed_effects_are_rejected() {
    let changes: [fn(&mut Tx); 7] = [
        |tx| tx.effects.nullifiers = [Fr::from(0u64); 8],
        |tx| tx.effects.nullifiers[0] = Fr::from(0u64),
        |tx| tx.effects.note_hashes[5] = Fr::from(1u64),
        |tx| tx.effects.tags[2] = Fr::from(1u64),
        |tx| tx.effects.messages[1] = Fr::from(1u64),
        |tx| tx.logs[0][0] ^= 1,
        |tx| tx.logs.truncate(1),
    ];
    for change in changes {
        let rejection = reject(|tx, _, _| change(tx));
        assert!(matches!(rejection, TxRejection::Malformed(_)), "{rejection}");
    }
}

#[test]
fn a_full_block_takes_no_more() {
    let (header, store) = start();
    let mut builder = builder(&header, store);
    for i in 0..MAX_TXS_PER_BLOCK as u64 {
        builder.apply(&tx(i, header.hash())).unwrap();
    }
    let error = builder.apply(&tx(99, header.hash())).unwrap_err();
    assert_eq!(error.to_string(), "PRO-032: the block already holds 32 transactions");
}

#[test]
fn a_low_leaf_that_does_not_bracket_or_a_wrong_place_is_rejected_by_the_witness_check() {
    let (header, mut state) = state();
    let first = state.apply_tx(&tx(0, header.hash()), &globals()).unwrap();
    let second = state.apply_tx(&tx(1, header.hash()), &globals()).unwrap();
    let nullifiers = second.effects.nullifiers;
    let (count, good) = (5, nullifiers[1].clone().unwrap());
    // Three nullifiers and the first leaf are there before the last insertion.
    let count = count - 1;
    good.verify(IndexedTree::Nullifiers, count).unwrap();

    // A leaf of the same tree that is not next to the key: found by trying the others' keys.
    let stale = first.effects.nullifiers[0].clone().unwrap();
    let mut other = good.clone();
    other.key = stale.key;
    let rejected = other.verify(IndexedTree::Nullifiers, count).unwrap_err();
    assert!(matches!(rejected, WitnessError::NotBracketed | WitnessError::NotEmpty));
    let mut equal = good.clone();
    equal.key = equal.low_leaf.key;
    assert_eq!(equal.verify(IndexedTree::Nullifiers, count), Err(WitnessError::NotBracketed));

    let mut moved = good.clone();
    moved.new_index += 1;
    let rejected = moved.verify(IndexedTree::Nullifiers, count);
    assert_eq!(rejected, Err(WitnessError::Index { index: count + 1 }));
    let mut lied = good.clone();
    lied.low_leaf.next_key = Fr::from(0u64);
    let rejected = lied.verify(IndexedTree::Nullifiers, count);
    assert!(rejected.is_err() || lied == good);
    let mut short = good.clone();
    short.low_path.pop();
    let rejected = short.verify(IndexedTree::Nullifiers, count);
    assert_eq!(rejected, Err(WitnessError::PathLength { expected: 32, got: 31 }));
    let mut forged = good.clone();
    forged.root_after = Fr::from(1u64);
    assert_eq!(forged.verify(IndexedTree::Nullifiers, count), Err(WitnessError::RootAfter));

    let mut notes = second.effects.notes;
    assert!(notes.verify(Tree::Notes, notes.start_index + 8).is_err());
    notes.leaves[3] = Fr::from(1u64);
    assert_eq!(notes.verify(Tree::Notes, notes.start_index), Err(WitnessError::RootAfter));
}

#[test]
fn a_block_does_not_follow_its_parent_in_an_earlier_slot_or_time() {
    let (header, store) = start();
    let same_slot = rollmill_protocol::BlockEnv { slot: 0, ..env(&header) };
    let error = BlockBuilder::new(&header, store.clone(), same_slot).unwrap_err();
    assert!(matches!(error, BlockError::Slot { parent: 0, got: 0 }));
    let same_time = rollmill_protocol::BlockEnv { timestamp: header.timestamp, ..env(&header) };
    let error = BlockBuilder::new(&header, store.clone(), same_time).unwrap_err();
    assert!(matches!(error, BlockError::Timestamp { .. }));
    let mut stranger = header;
    stranger.timestamp += 1;
    let error = BlockBuilder::new(&stranger, store, env(&stranger)).unwrap_err();
    assert!(matches!(error, BlockError::Storage(_)));
}

/// Goal: a follower rejects a block whose header is not the result of its transactions. Method: change
/// each field of a good header in turn.
#[test]
fn a_header_that_is_off_by_one_in_any_field_is_rejected_on_execution() {
    let (parent, store) = start();
    let mut builder = builder(&parent, store.clone());
    builder.apply(&tx(0, parent.hash())).unwrap();
    let (block, _) = builder.finish().unwrap();
    let good = block.data();
    let (same, _) = execute(&parent, Overlay::new(&store), &good).unwrap();
    assert_eq!(same, block);

    // What a proposer may choose freely is checked by L1 or by the slot rule, not here.
    let free = ["slot", "timestamp", "coinbase"];
    let names = rollmill_protocol::header::HeaderLayout::<Fr>::cell_names();
    for (i, name) in names.iter().enumerate() {
        let mut fields = good.header.to_fields();
        fields[i] += Fr::from(1u64);
        let mut data = good.clone();
        data.header = Header::from_fields(&fields).unwrap();
        let result = execute(&parent, Overlay::new(&store), &data);
        assert_eq!(result.is_ok(), free.contains(&name.as_str()), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Goal: an overlay and a plain store result in the same state, and inserted keys are found.
    #[test]
    fn overlays_and_plain_stores_agree(order in Just((0u64..6).collect::<Vec<_>>()).prop_shuffle(), split in 0usize..6) {
        let (header, store) = start();
        let mut plain = WorldState::at(store.clone(), &header).unwrap();
        let mut base = store;
        let mut overlay = WorldState::at(Overlay::new(base.clone()), &header).unwrap();
        let mut seen = BTreeSet::new();
        for (n, i) in order.into_iter().enumerate() {
            if n == split {
                let (_, changes) = overlay.store.into_parts();
                base.commit(&changes);
                overlay = WorldState {
                    store: Overlay::new(base.clone()),
                    refs: overlay.refs,
                    archive_root: overlay.archive_root,
                    archive_count: overlay.archive_count,
                    txs_chain: overlay.txs_chain,
                };
            }
            let tx = tx(i, header.hash());
            let left = plain.apply_tx(&tx, &globals()).unwrap();
            let right = overlay.apply_tx(&tx, &globals()).unwrap();
            prop_assert_eq!(left, right);
            seen.extend(tx.effects.present_nullifiers().copied());
        }
        for key in seen {
            let found = rollmill_protocol::tree::indexed::contains(
                &overlay.store, IndexedTree::Nullifiers, &key).unwrap();
            prop_assert!(found);
        }
    }
}
