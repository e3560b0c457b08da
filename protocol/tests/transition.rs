//! The state transition: what it rejects, that a rejection changes nothing, and that its witnesses are
//! valid.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rollmill_algebra::Fr;
use rollmill_protocol::builder::{BlockBuilder, BlockError, execute};
use rollmill_protocol::gas::{DA_GAS_PER_TX, FeePerGas, Gas, L2_GAS_PER_TX, MAX_TXS_PER_BLOCK};
use rollmill_protocol::message::{deposit_leaf, in_hash};
use rollmill_protocol::state::{
    ApplyError, BalanceChange, Settlement, TxGlobals, TxRejection, WorldState,
};
use rollmill_protocol::tree::verify::membership;
use rollmill_protocol::tree::{IndexedTree, MemoryStore, Overlay, Tree, WitnessError};
use rollmill_protocol::{BlockBody, BlockEnv, EffectsError, EthAddress, Header, Tx};
use rollmill_protocol_testing as support;

use rollmill_protocol_testing::{
    CHAIN_ID, FEE, PRICE, body, body_from_notes, builder, config, env, start, tx, tx_of, user,
    value, version, witness,
};

fn globals() -> TxGlobals {
    TxGlobals {
        chain_id: CHAIN_ID,
        version: version(),
        slot: 1,
        price: PRICE,
        gas_left: config().gas_limit(),
    }
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

#[test]
fn every_witness_of_a_block_holds_and_leads_from_start_to_end() {
    let (header, store) = start();
    let mut builder = builder(&header, store);
    let mut last = header.state.tx_state;
    for i in 0..5 {
        let tx = tx(i, header.hash());
        let before = builder.state().refs;
        let transition = builder.apply(&tx).unwrap();
        witness::check(&transition, &before, &tx);
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
    let before = next.state().refs;
    let transition = next.apply(&tx).unwrap();
    witness::check(&transition, &before, &tx);
    assert_eq!(transition.anchor.index, 1);
}

/// The way of value: a deposit to an account without a balance is claimed, which gives it a slot; a later
/// transaction takes value out to L1; notes pay without naming anybody.
#[test]
fn value_comes_in_moves_and_goes_out() {
    let (header, store) = start();
    let (stranger, recipient) = (value(70, 0), EthAddress([7; 20]));
    let deposit = deposit_leaf(&stranger, 3 * FEE, 1);
    let messages = vec![value(71, 0), deposit, value(71, 2)];
    let mut claim = body(0);
    claim.effects.fee_payer = stranger;
    (claim.effects.claim_amount, claim.effects.claim_index) = (3 * FEE, 1);

    let env = BlockEnv { messages: messages.clone(), ..env(&header) };
    let mut first = BlockBuilder::new(&header, store, &config(), env).unwrap();
    let early = first.apply_body(&claim).unwrap_err().to_string();
    assert!(early.starts_with("PRO-035"), "a message of the block itself: {early}");
    let (block, store) = first.finish().unwrap();
    block.messages.verify(Tree::Messages, 0).unwrap();
    assert_eq!(block.header.in_hash, in_hash(&messages));
    assert_eq!(block.message_leaves().copied().collect::<Vec<_>>(), messages);
    assert_eq!(block.header.state.message_count, 64);
    assert_eq!(block.header.state.message_root, block.messages.root_after);

    let mut second = builder(&block.header, store);
    let claim = tx_of(claim, header.hash());
    let before = second.state().refs;
    let done = second.apply(&claim).unwrap();
    witness::check(&done, &before, &claim);
    let Settlement::Payer { before: 0, after, change } = &done.effects.settlement else {
        panic!("a balance");
    };
    assert!(matches!(change, BalanceChange::Insert(_)));
    assert_eq!(*after, 2 * FEE);
    let mut again = body(1);
    again.effects.fee_payer = stranger;
    (again.effects.claim_amount, again.effects.claim_index) = (3 * FEE, 1);
    let spent = second.apply_body(&again).unwrap_err().to_string();
    assert!(spent.starts_with("PRO-036"), "{spent}");

    let mut out = body(2);
    out.effects.fee_payer = stranger;
    (out.effects.withdraw_amount, out.effects.withdraw_recipient) = (FEE, recipient);
    let before = second.state().refs;
    let out = tx_of(out, header.hash());
    let done = second.apply(&out).unwrap();
    witness::check(&done, &before, &out);
    assert_eq!(second.state().fee_balance(&stranger).unwrap(), 0);

    let refund = tx_of(body_from_notes(3, 9), header.hash());
    let before = second.state().refs;
    let done = second.apply(&refund).unwrap();
    witness::check(&done, &before, &refund);
    assert!(matches!(done.effects.settlement, Settlement::Refund { value: 9, .. }));
    assert_eq!(done.effects.start.public_data_root, done.effects.end.public_data_root);
    let (block, _) = second.finish().unwrap();
    assert_eq!(block.header.in_hash, Fr::from(0u64));
    assert_eq!(block.header.out_root, rollmill_protocol::message::out_root(&block.out_leaves()));
    assert_eq!(block.header.total_fees, 3 * u128::from(FEE));
}

#[test]
fn a_block_rejects_messages_that_no_block_has() {
    let (header, store) = start();
    for (messages, good) in [
        (vec![value(1, 1); 64], true),
        (vec![value(1, 1); 65], false),
        (vec![value(1, 1), Fr::from(0u64)], false),
    ] {
        let env = BlockEnv { messages, ..env(&header) };
        let made = BlockBuilder::new(&header, store.clone(), &config(), env);
        assert_eq!(made.is_ok(), good);
        assert!(good || matches!(made, Err(BlockError::Messages { max: 64, .. })));
    }
}

#[test]
fn a_spent_nullifier_is_rejected() {
    let spent = reject(|tx, globals, state| {
        state.apply_tx(tx, globals).unwrap();
        // Even in another place of another transaction.
        let spent = tx.effects().nullifiers[0];
        *tx = support::tx(1, tx.anchor_header_hash);
        tx.body.effects.nullifiers[2] = spent;
    });
    assert_eq!(spent, TxRejection::NullifierSpent { nullifier: value(2, 0) });
}

#[test]
fn a_nullifier_that_occurs_twice_in_a_transaction_is_rejected() {
    let rejection =
        reject(|tx, _, _| tx.body.effects.nullifiers[2] = tx.body.effects.nullifiers[0]);
    assert_eq!(rejection, TxRejection::NullifierRepeated { nullifier: value(2, 0) });
}

#[test]
fn full_trees_are_rejected() {
    for (tree, free) in [(Tree::Notes, 7), (Tree::Nullifiers, 1), (Tree::PublicData, 0)] {
        let rejection = reject(|tx, _, state| {
            let counts = &mut state.refs.tx_state;
            let count = match tree {
                Tree::Notes => &mut counts.note_count,
                Tree::PublicData => &mut counts.public_data_count,
                _ => &mut counts.nullifier_count,
            };
            *count = tree.capacity() - free;
            if tree == Tree::PublicData {
                // Only a new slot needs a place.
                tx.body.effects.fee_payer = value(77, 0);
                tx.body.effects.notes_out = FEE;
            }
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
        tx.body.effects.gas.max_fee_per_l2_gas = u64::MAX;
        globals.price = FeePerGas { l2: u64::MAX, da: 1 };
    });
    assert_eq!(rejection, TxRejection::FeeOverflow { l2: u64::MAX, da: 1 });
}

#[test]
fn gas_limits_below_the_use_are_rejected() {
    for change in [
        (|tx: &mut Tx| tx.body.effects.gas.l2_gas_limit = L2_GAS_PER_TX - 1) as fn(&mut Tx),
        |tx| tx.body.effects.gas.da_gas_limit = DA_GAS_PER_TX - 1,
        |tx| tx.body.effects.gas.l2_teardown_gas_limit = 1,
        |tx| tx.body.effects.gas.da_teardown_gas_limit = u64::MAX,
    ] {
        assert_eq!(reject(|tx, _, _| change(tx)), TxRejection::GasLimit);
    }
}

#[test]
fn gas_beyond_what_the_block_has_left_is_rejected() {
    let (needed, less) = (Gas::PER_TX, Gas { l2: L2_GAS_PER_TX - 1, da: DA_GAS_PER_TX });
    let rejection = reject(|_, globals, _| globals.gas_left = less);
    assert_eq!(rejection, TxRejection::BlockGas { needed, left: less });
    let less = Gas { l2: L2_GAS_PER_TX, da: DA_GAS_PER_TX - 1 };
    let rejection = reject(|_, globals, _| globals.gas_left = less);
    assert_eq!(rejection, TxRejection::BlockGas { needed, left: less });
}

#[test]
fn a_slot_after_the_last_one_allowed_is_rejected() {
    let rejection = reject(|tx, globals, _| {
        tx.body.effects.expiry_slot = 4;
        globals.slot = 5;
    });
    assert_eq!(rejection, TxRejection::Expired { expiry: 4, slot: 5 });
    let (header, mut state) = state();
    let mut last = tx(0, header.hash());
    last.body.effects.expiry_slot = 4;
    state.apply_tx(&last, &TxGlobals { slot: 4, ..globals() }).unwrap();
}

#[test]
fn value_that_is_not_there_is_rejected() {
    let stranger = value(77, 0);
    let rejection = reject(|tx, _, _| tx.body.effects.fee_payer = stranger);
    let due = u128::from(FEE);
    assert_eq!(rejection, TxRejection::ValueTooLow { funds: 0, due });
    let rejection = reject(|tx, _, _| {
        tx.body = body_from_notes(0, 0);
        tx.body.effects.notes_out -= 1;
    });
    assert_eq!(rejection, TxRejection::ValueTooLow { funds: due - 1, due });
    let rejection = reject(|tx, _, _| {
        tx.body = body_from_notes(0, 0);
        tx.body.effects.notes_in = u64::MAX;
    });
    assert_eq!(rejection.rule(), Some("value_too_low"));
}

#[test]
fn value_that_does_not_fit_is_rejected() {
    let rejection = reject(|tx, _, _| tx.body.effects.notes_out = u64::MAX);
    let left = u128::from(u64::MAX) + 99 * u128::from(FEE);
    assert_eq!(rejection, TxRejection::ValueOverflow { left });
}

#[test]
fn a_deposit_of_another_amount_index_or_payer_is_unknown() {
    let (header, store) = start();
    let deposit = deposit_leaf(&user(0), 5, 0);
    let env = BlockEnv { messages: vec![deposit], ..env(&header) };
    let (block, store) =
        BlockBuilder::new(&header, store, &config(), env).unwrap().finish().unwrap();
    let state = WorldState::at(store, &block.header).unwrap();
    let claim = |change: fn(&mut BlockBody)| {
        let mut body = body(0);
        (body.effects.claim_amount, body.effects.claim_index) = (5, 0);
        change(&mut body);
        let mut state = state.clone();
        state.apply_body(&body, &globals()).map_err(|error| error.to_string())
    };
    claim(|_| {}).unwrap();
    for change in [
        (|body: &mut BlockBody| body.effects.claim_amount = 6) as fn(&mut BlockBody),
        |body| body.effects.claim_index = 1,
        |body| body.effects.claim_index = 64,
        |body| body.effects.claim_index = (1 << 38) - 1,
        |body| body.effects.fee_payer = user(1),
    ] {
        assert!(claim(change).unwrap_err().starts_with("PRO-035"));
    }
    // The nullifier of the claim is one of the transaction's own.
    let twice = claim(|body| {
        let leaf = deposit_leaf(&user(0), 5, 0);
        body.effects.nullifiers[2] = rollmill_protocol::message::claim_nullifier(&leaf);
    });
    assert!(twice.unwrap_err().starts_with("PRO-036"));
}

#[test]
fn another_chain_version_or_anchor_is_rejected() {
    let rejection = reject(|tx, _, _| tx.chain_id = 1);
    assert_eq!(rejection, TxRejection::WrongChain { expected: CHAIN_ID, got: 1 });
    let rejection = reject(|tx, _, _| tx.version = 2);
    assert_eq!(rejection, TxRejection::WrongVersion { expected: version(), got: 2 });
    let anchor = value(78, 0);
    let rejection = reject(|tx, _, _| tx.anchor_header_hash = anchor);
    assert_eq!(rejection, TxRejection::UnknownAnchor { anchor });
    // A header that is known, but not in the archive before the block.
    let rejection = reject(|_, _, state| state.archive_count = 0);
    assert!(matches!(rejection, TxRejection::UnknownAnchor { .. }));
}

/// A change that breaks a rule.
type Change<'a> = &'a dyn Fn(&mut Tx);

#[test]
fn malformed_effects_are_rejected_by_the_rule_they_break() {
    let one = Fr::from(1u64);
    let from_notes = |tx: &mut Tx| tx.body = body_from_notes(0, 0);
    let changes: [(&str, Change<'_>); 20] = [
        ("range", &|tx| tx.body.effects.expiry_slot = 1 << 48),
        ("range", &|tx| tx.body.effects.claim_index = 1 << 38),
        ("first_nullifier_absent", &|tx| tx.body.effects.nullifiers = [Fr::from(0u64); 8]),
        ("first_nullifier_absent", &|tx| tx.body.effects.nullifiers[0] = Fr::from(0u64)),
        ("gap", &|tx| tx.body.effects.note_hashes[5] = one),
        ("gap", &|tx| tx.body.effects.tags[4] = one),
        ("tag_and_log", &|tx| tx.body.effects.tags[2] = one),
        ("log", &|tx| tx.body.logs[0][0] += one),
        ("log", &|tx| tx.body.logs.truncate(1)),
        ("log", &|tx| tx.body.logs.push([one; 5])),
        ("public_calls", &|tx| tx.body.effects.public_calls_hash = one),
        ("claim_shape", &|tx| tx.body.effects.claim_index = 1),
        ("claim_without_payer", &|tx| {
            from_notes(tx);
            tx.body.effects.claim_amount = 1;
        }),
        ("withdraw_shape", &|tx| tx.body.effects.withdraw_amount = 1),
        ("withdraw_shape", &|tx| tx.body.effects.withdraw_recipient = EthAddress([1; 20])),
        ("message_0_taken", &|tx| {
            tx.body.effects.withdraw_amount = 1;
            tx.body.effects.withdraw_recipient = EthAddress([1; 20]);
            tx.body.effects.messages[0] = one;
        }),
        ("refund_shape", &|tx| tx.body.effects.refund_partial = one),
        ("refund_shape", &|tx| tx.body.effects.fee_payer = Fr::from(0u64)),
        ("note_7_taken", &|tx| {
            from_notes(tx);
            tx.body.effects.note_hashes = [one; 8];
        }),
        ("gap", &|tx| tx.body.effects.log_hashes[7] = one),
    ];
    for (rule, change) in changes {
        let rejection = reject(|tx, _, _| change(tx));
        assert_eq!(rejection.rule(), Some(rule), "{rejection}");
        assert!(matches!(rejection, TxRejection::Effects(_)));
        // A decoder rejects the same effects; the logs it compares on its own.
        let mut broken = tx(0, value(1, 1));
        change(&mut broken);
        let read = Tx::from_bytes(&broken.to_bytes());
        assert!(read.is_err(), "{rule}");
    }
    // Messages may stand in any order, and beside no withdrawal.
    let mut good = tx(0, start().0.hash());
    good.body.effects.messages[1] = one;
    assert_eq!(good.effects().check(), Ok(()));
    assert_eq!(EffectsError::PublicCalls.rule(), "public_calls");
}

#[test]
fn a_full_block_takes_no_more() {
    let (header, store) = start();
    let mut builder = builder(&header, store);
    for i in 0..MAX_TXS_PER_BLOCK as u64 {
        builder.apply(&tx(i, header.hash())).unwrap();
    }
    // Before all other rules.
    let mut broken = tx(99, header.hash());
    broken.body.effects.nullifiers[0] = Fr::from(0u64);
    let error = builder.apply(&broken).unwrap_err();
    assert_eq!(error.to_string(), "PRO-032: the block already holds 32 transactions");
    let ApplyError::Rejected(rejection) = error else { panic!("a rejection") };
    assert_eq!(rejection.rule(), Some("block_full"));
    // Prices rise by an eighth of them, and by at least 1, after a block of twice the target.
    let (block, _) = builder.finish().unwrap();
    assert_eq!(config().prices_after(&block.header), FeePerGas { l2: 3, da: 3 });
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
    assert_eq!(rejected, Err(WitnessError::PathLength { expected: 40, got: 39 }));
    let mut forged = good.clone();
    forged.root_after = Fr::from(1u64);
    assert_eq!(forged.verify(IndexedTree::Nullifiers, count), Err(WitnessError::RootAfter));

    let mut notes = second.effects.notes;
    assert!(notes.verify(Tree::Notes, notes.start_index + 8).is_err());
    notes.leaves[3] = Fr::from(1u64);
    assert_eq!(notes.verify(Tree::Notes, notes.start_index), Err(WitnessError::RootAfter));
}

#[test]
fn a_block_does_not_follow_its_parent_in_an_earlier_slot_or_after_the_last() {
    let (header, store) = start();
    let made = |slot: u64| {
        let env = BlockEnv { slot, ..env(&header) };
        BlockBuilder::new(&header, store.clone(), &config(), env)
    };
    assert!(matches!(made(0), Err(BlockError::Slot { parent: 0, got: 0 })));
    let last = (1 << 48) - 1;
    let (block, _) = made(last).unwrap().finish().unwrap();
    assert_eq!(block.header.timestamp, 1_700_000_000 + 12 * last);
    assert!(matches!(made(last + 1), Err(BlockError::SlotRange { .. })));
    let mut stranger = header.clone();
    stranger.timestamp += 1;
    let env = env(&stranger);
    let error = BlockBuilder::new(&stranger, store, &config(), env).unwrap_err();
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
    let (same, _) = execute(&parent, Overlay::new(&store), &config(), &good, &[]).unwrap();
    assert_eq!(same, block);

    // What a proposer may choose freely; the slot is free together with the time that follows from it.
    let free = ["coinbase"];
    let names = rollmill_protocol::header::HeaderLayout::<Fr>::cell_names();
    for (i, name) in names.iter().enumerate() {
        let mut fields = good.header.to_fields();
        fields[i] += Fr::from(1u64);
        let mut data = good.clone();
        data.header = Header::from_fields(&fields).unwrap();
        let result = execute(&parent, Overlay::new(&store), &config(), &data, &[]);
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
            seen.extend(tx.effects().present_nullifiers().copied());
        }
        for key in seen {
            let found = rollmill_protocol::tree::indexed::contains(
                &overlay.store, IndexedTree::Nullifiers, &key).unwrap();
            prop_assert!(found);
        }
    }
}
