//! The value that a transaction moves: fee, claim, withdrawal, refund, and the payer's balance.
//!
//! One equation says that no value is made or lost:
//! `balance before + claim + notes out = fee + withdrawal + notes in + refund + balance after`, with every term below
//! 2^64, so that it is one of integers.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::domain;
use rollmill_protocol::gas::{DA_GAS_PER_TX, L2_GAS_PER_TX};
use rollmill_protocol::tree::Tree;
use rollmill_protocol::tx::{REFUND_SLOT, TxEffectsLayout};

use super::shape::Absent;
use crate::gadgets::indexed::{EntryWitness, OpenEntry};
use crate::gadgets::merkle::{TreeVars, node_hash, place, root, siblings};
use crate::gadgets::uint::{assert_at_most, assert_equal_if, not, range_u64};
use crate::weaken::gone;

/// What a transaction uses and pays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge {
    /// Below 2^64.
    pub(super) fee: Var,
    pub(super) l2_gas: Var,
    pub(super) da_gas: Var,
}

/// Constrains the transaction's limits against the block's prices. Its gas fields are in their ranges.
pub(super) fn charge(
    b: &mut Builder,
    tx: &TxEffectsLayout<Var>,
    l2_price: Var,
    da_price: Var,
) -> Charge {
    if !gone("circuits.tx_base.price_l2") {
        range_u64(b, l2_price);
    }
    if !gone("circuits.tx_base.price_da") {
        range_u64(b, da_price);
    }
    if !gone("circuits.tx_base.max_fee_l2") {
        assert_at_most(b, l2_price, tx.gas.max_fee_per_l2_gas, 64);
    }
    if !gone("circuits.tx_base.max_fee_da") {
        assert_at_most(b, da_price, tx.gas.max_fee_per_da_gas, 64);
    }
    let one = Fr::from(1u64);
    let [l2_gas, da_gas] = [
        (L2_GAS_PER_TX, tx.gas.l2_teardown_gas_limit, tx.gas.l2_gas_limit),
        (DA_GAS_PER_TX, tx.gas.da_teardown_gas_limit, tx.gas.da_gas_limit),
    ]
    .map(|(constant, teardown, limit)| {
        let used = b.scale(teardown, one, Fr::from(constant));
        // Below 2^64 as the limit is.
        if !gone("circuits.tx_base.limit") {
            assert_at_most(b, used, limit, 65);
        }
        used
    });
    // Below 2^129, so the range check is about the integer.
    let of_l2 = b.mul(l2_price, l2_gas);
    let fee = b.mul_add(da_price, da_gas, one, Some(of_l2), Fr::from(0u64));
    if !gone("circuits.tx_base.fee") {
        range_u64(b, fee);
    }
    Charge { fee, l2_gas, da_gas }
}

/// Shows that the claimed deposit is a message before the block, if there is a claim. Returns the nullifier of the
/// deposit, or zero.
pub(super) fn claim(
    b: &mut Builder,
    tx: &TxEffectsLayout<Var>,
    absent: &Absent,
    message_root: Var,
    path: &[Fr],
) -> Var {
    let height = Tree::Messages.height();
    let leaf = b.hash(domain::FEE_DEPOSIT, &[tx.fee_payer, tx.claim_amount, tx.claim_index]);
    let at = place(b, tx.claim_index, height);
    let path = siblings(b, path, height);
    let computed = root(b, leaf, &at, &path);
    let present = not(b, absent.claim);
    if !gone("circuits.tx_base.claim.member") {
        assert_equal_if(b, present, computed, message_root);
    }
    let nullifier = b.hash(domain::CLAIM, &[leaf]);
    b.mul(present, nullifier)
}

/// Moves the value: the public data tree after it, and the leaf of note 7, which is the refund without a payer.
pub(super) fn settle(
    b: &mut Builder,
    tx: &TxEffectsLayout<Var>,
    absent: &Absent,
    fee: Var,
    tree: TreeVars,
    payer: EntryWitness<'_>,
) -> (TreeVars, Var) {
    let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
    let slot = b.hash(domain::FEE_BALANCE_SLOT, &[tx.fee_payer]);
    let has_payer = not(b, absent.payer);
    let entry = OpenEntry::new(b, tree, slot, has_payer, payer);
    if !gone("circuits.tx_base.balance_before") {
        range_u64(b, entry.value);
    }
    // Balance after, or refund: seven terms below 2^64 do not wrap.
    let terms = [
        (one, entry.value),
        (one, tx.claim_amount),
        (one, tx.notes_out),
        (-one, fee),
        (-one, tx.withdraw_amount),
        (-one, tx.notes_in),
    ];
    let left = b.linear(&terms, zero);
    if !gone("circuits.tx_base.left") {
        range_u64(b, left);
    }
    let tree = entry.set(b, left);

    let note = b.hash(domain::NOTE, &[tx.refund_partial, left]);
    let index = b.constant_u64(REFUND_SLOT as u64);
    let refund = b.hash(domain::UNIQUE_NOTE, &[tx.nullifiers[0], index, note]);
    (tree, b.select(absent.payer, refund, tx.note_hashes[REFUND_SLOT]))
}

/// The transaction's node in the tree of messages to L1.
pub(super) fn out_node(b: &mut Builder, tx: &TxEffectsLayout<Var>, absent: &Absent) -> Var {
    let withdrawal = b.hash(domain::WITHDRAW, &[tx.withdraw_recipient, tx.withdraw_amount]);
    let first = b.select(absent.withdrawal, tx.messages[0], withdrawal);
    node_hash(b, first, tx.messages[1])
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rollmill_plonk::check::check;
    use rollmill_protocol::message;
    use rollmill_protocol::state::what_is_left;
    use rollmill_protocol::tree::{IndexedLeaf, empty_root, root_from_path};
    use rollmill_protocol::tx::TxEffects;
    use rollmill_protocol::{EthAddress, note};

    use super::*;

    type Cells = TxEffectsLayout<Fr>;

    fn f(value: u64) -> Fr {
        Fr::from(value)
    }

    /// Effects of zeros, with a payer and limits of one transaction.
    fn effects() -> Cells {
        let mut tx = Cells::from_slice(&[f(0); TxEffects::FIELDS]).expect("its length");
        (tx.nullifiers[0], tx.fee_payer) = (f(11), f(77));
        (tx.gas.max_fee_per_l2_gas, tx.gas.max_fee_per_da_gas) = (f(10), f(10));
        (tx.gas.l2_gas_limit, tx.gas.da_gas_limit) = (f(L2_GAS_PER_TX), f(DA_GAS_PER_TX));
        tx
    }

    /// What is absent of the transaction, as its shape has it.
    fn absent(b: &mut Builder, tx: &TxEffectsLayout<Var>) -> Absent {
        let [payer, claim, withdrawal] =
            [tx.fee_payer, tx.claim_amount, tx.withdraw_amount].map(|word| b.is_zero(word));
        Absent { payer, claim, withdrawal, logs: Vec::new() }
    }

    fn holds(b: Builder) -> bool {
        let (layout, witness) = b.finish(None).expect("fits");
        check(&layout, &witness).is_ok()
    }

    /// Fee and gas, or none if the charge is rejected.
    fn charged(prices: [Fr; 2], tx: &Cells) -> Option<[Fr; 3]> {
        let mut b = Builder::new(0, 10);
        let tx = tx.clone().map(|cell| b.witness(cell));
        let [l2, da] = prices.map(|price| b.witness(price));
        let Charge { fee, l2_gas, da_gas } = charge(&mut b, &tx, l2, da);
        let out = [fee, l2_gas, da_gas].map(|var| b.value(var));
        holds(b).then_some(out)
    }

    #[test]
    fn teardown_is_used_and_paid() {
        let mut tx = effects();
        assert_eq!(charged([2, 3].map(f), &tx), Some([206_000, 100_000, 2_000].map(f)));
        (tx.gas.l2_teardown_gas_limit, tx.gas.da_teardown_gas_limit) = (f(7), f(5));
        assert_eq!(charged([2, 3].map(f), &tx), None, "the limits are those of one transaction");
        (tx.gas.l2_gas_limit, tx.gas.da_gas_limit) = (f(100_007), f(2_005));
        assert_eq!(charged([2, 3].map(f), &tx), Some([206_029, 100_007, 2_005].map(f)));
        let lower = |change: fn(&mut Cells)| {
            let mut tx = tx.clone();
            change(&mut tx);
            charged([2, 3].map(f), &tx).is_none()
        };
        assert!(lower(|tx| tx.gas.l2_gas_limit = f(100_006)));
        assert!(lower(|tx| tx.gas.da_gas_limit = f(2_004)));
        assert!(lower(|tx| tx.gas.max_fee_per_l2_gas = f(1)));
        assert!(lower(|tx| tx.gas.max_fee_per_da_gas = f(2)));
    }

    /// Duty 10: with a negative price, two fees that are not zero would add up to zero.
    #[test]
    fn prices_that_cancel_out_are_rejected() {
        let mut wide = effects();
        wide.gas.max_fee_per_da_gas = f(50);
        assert!(charged([f(1), f(50)], &wide).is_some());
        // 100,000 · (−1) + 2,000 · 50 = 0, and the other way around.
        assert_eq!(charged([-f(1), f(50)], &wide), None);
        assert_eq!(charged([f(1), -f(50)], &wide), None);
    }

    #[test]
    fn a_fee_beyond_64_bits_is_rejected_whatever_the_balance() {
        let most = u64::MAX / L2_GAS_PER_TX;
        let mut wide = effects();
        wide.gas.max_fee_per_l2_gas = f(u64::MAX);
        assert!(charged([f(most), f(0)], &wide).is_some());
        assert_eq!(charged([f(most + 1), f(0)], &wide), None);
    }

    /// Whether a claim passes against a tree in which message 5 is a deposit of 900 to 77, and its nullifier.
    fn claimed(change: impl Fn(&mut Cells)) -> Option<Fr> {
        let path: Vec<Fr> = (0..Tree::Messages.height()).map(empty_root).collect();
        let root = root_from_path(&message::deposit_leaf(&f(77), 900, 5), 5, &path);
        let mut tx = effects();
        (tx.claim_amount, tx.claim_index) = (f(900), f(5));
        change(&mut tx);
        let mut b = Builder::new(0, 10);
        let tx = tx.map(|cell| b.witness(cell));
        let absent = absent(&mut b, &tx);
        let root = b.witness(root);
        let nullifier = claim(&mut b, &tx, &absent, root, &path);
        let out = b.value(nullifier);
        holds(b).then_some(out)
    }

    /// Attacks: a claim of another's deposit, of another amount, and at another index.
    #[test]
    fn only_the_deposit_of_the_payer_is_claimed() {
        let leaf = message::deposit_leaf(&f(77), 900, 5);
        assert_eq!(claimed(|_| ()), Some(message::claim_nullifier(&leaf)));
        assert_eq!(claimed(|tx| tx.fee_payer = f(78)), None, "another's deposit");
        assert_eq!(claimed(|tx| tx.claim_amount = f(901)), None);
        assert_eq!(claimed(|tx| tx.claim_index = f(4)), None);
        let none = |tx: &mut Cells| (tx.claim_amount, tx.claim_index) = (f(0), f(0));
        assert_eq!(claimed(none), Some(f(0)), "nothing is claimed, nothing nullified");
    }

    /// Balance before, words of the transaction and fee; returns the tree after and note 7, or none if rejected.
    fn settled(balance: Fr, fee: u64, change: impl Fn(&mut Cells)) -> Option<[Fr; 2]> {
        let mut tx = effects();
        change(&mut tx);
        let path: Vec<Fr> = (0..Tree::PublicData.height()).map(empty_root).collect();
        let key = note::fee_balance_slot(&tx.fee_payer);
        let low_leaf = IndexedLeaf { key, value: balance, next_key: f(0), next_index: 0 };
        let has_payer = tx.fee_payer != f(0);
        let leaf = low_leaf.hash(rollmill_protocol::tree::IndexedTree::PublicData);
        let root = root_from_path(&leaf, 1, &path);
        let mut b = Builder::new(0, 10);
        let tx = tx.map(|cell| b.witness(cell));
        let absent = absent(&mut b, &tx);
        let tree = TreeVars { root: b.witness(root), count: b.witness(f(2)) };
        let (low_path, new_path) = (path.as_slice(), path.as_slice());
        let entry = EntryWitness { found: has_payer, low_leaf, low_index: 1, low_path, new_path };
        let fee = b.witness(f(fee));
        let (after, note) = settle(&mut b, &tx, &absent, fee, tree, entry);
        let out = [after.root, note].map(|var| b.value(var));
        holds(b).then_some(out)
    }

    /// The tree of [`settled`] with this balance.
    fn with_balance(balance: u64) -> Fr {
        let path: Vec<Fr> = (0..Tree::PublicData.height()).map(empty_root).collect();
        let key = note::fee_balance_slot(&f(77));
        let leaf = IndexedLeaf { key, value: f(balance), next_key: f(0), next_index: 0 };
        root_from_path(&leaf.hash(rollmill_protocol::tree::IndexedTree::PublicData), 1, &path)
    }

    #[test]
    fn value_is_conserved_over_balance_notes_claim_and_withdrawal() {
        let all = |tx: &mut Cells| {
            (tx.claim_amount, tx.notes_out) = (f(1000), f(300));
            (tx.withdraw_amount, tx.notes_in) = (f(40), f(5));
            tx.note_hashes[7] = f(4);
        };
        // 2000 + 1000 + 300 − 100 − 40 − 5, and note 7 is the transaction's own.
        assert_eq!(settled(f(2000), 100, all), Some([with_balance(3155), f(4)]));
        assert_eq!(settled(f(100), 100, |_| ()), Some([with_balance(0), f(0)]));
        assert_eq!(settled(f(99), 100, |_| ()), None, "less than the fee");
        assert_eq!(settled(f(0), 1, |tx| tx.notes_out = f(1)), Some([with_balance(0), f(0)]));
        let top = |tx: &mut Cells| tx.claim_amount = f(u64::MAX);
        assert!(settled(f(100), 100, top).is_some());
        assert_eq!(settled(f(101), 100, top), None, "more than 64 bits");
    }

    /// Duty 10: a balance above 64 bits would pay any fee.
    #[test]
    fn a_balance_beyond_64_bits_is_rejected() {
        let beyond = Fr::from(1u128 << 64);
        assert!(settled(f(u64::MAX), 100, |_| ()).is_some());
        assert_eq!(settled(beyond, 100, |_| ()), None);
    }

    /// Without a payer what is left is a note, and no balance changes.
    #[test]
    fn what_is_left_without_a_payer_is_the_note_of_the_refund() {
        let notes = |out: u64| {
            move |tx: &mut Cells| {
                (tx.fee_payer, tx.refund_partial, tx.notes_out) = (f(0), f(88), f(out));
            }
        };
        let root = |out| settled(f(5), 100, notes(out)).map(|[root, _]| root);
        for left in [0, 30] {
            let leaf = note::refund_leaf(&f(11), &f(88), left);
            assert_eq!(settled(f(5), 100, notes(100 + left)).map(|[_, note]| note), Some(leaf));
        }
        assert_eq!(root(100), root(130), "the tree stays as it was");
        assert_eq!(root(99), None, "no balance pays the rest");
    }

    /// Goal: a node and the circuit agree on what a transaction can pay, and on what is left. Method: amounts about the
    /// ends of 64 bits and about a quarter of them, so that sums meet both ends; seed 78.
    #[test]
    fn the_circuit_and_the_native_rules_agree_on_random_amounts() {
        let mut rng = ChaCha8Rng::seed_from_u64(78);
        let (mut accepted, mut rejected) = (0, 0);
        for case in 0..200 {
            let mut amount = || {
                let base = [0, 0, 1 << 62, 3 << 62, u64::MAX - 2][rng.gen_range(0..5)];
                base + rng.gen_range(0..3)
            };
            let [balance, claim, out, fee, withdraw, into] = [(); 6].map(|()| amount());
            let has_payer = rng.r#gen();
            let change = |tx: &mut Cells| {
                (tx.notes_out, tx.notes_in) = (f(out), f(into));
                (tx.withdraw_amount, tx.withdraw_recipient) = (f(withdraw), f(withdraw.min(1)));
                if has_payer {
                    tx.claim_amount = f(claim);
                } else {
                    (tx.fee_payer, tx.refund_partial) = (f(0), f(88));
                }
            };
            let mut cells = effects();
            change(&mut cells);
            let native = TxEffects::from_layout(&cells).expect("a shape");
            let before = if has_payer { balance } else { 0 };
            let left = what_is_left(&native, before, fee).ok();
            let settled = settled(f(balance), fee, change);
            match (left, settled) {
                (Some(left), Some([root, note])) => {
                    accepted += 1;
                    if has_payer {
                        assert_eq!(root, with_balance(left), "case {case}");
                    } else {
                        assert_eq!(note, note::refund_leaf(&f(11), &f(88), left), "case {case}");
                    }
                }
                (None, None) => rejected += 1,
                _ => panic!("case {case}: native {left:?}, circuit {settled:?}"),
            }
        }
        assert!(accepted > 30 && rejected > 30, "{accepted} accepted, {rejected} rejected");
    }

    #[test]
    fn a_withdrawal_takes_the_place_of_the_first_message() {
        let node = |change: fn(&mut Cells)| {
            let mut tx = effects();
            tx.messages[1] = f(9);
            change(&mut tx);
            let mut b = Builder::new(0, 10);
            let tx = tx.map(|cell| b.witness(cell));
            let absent = absent(&mut b, &tx);
            let node = out_node(&mut b, &tx, &absent);
            let out = b.value(node);
            assert!(holds(b));
            out
        };
        let [first, second] = [f(8), f(9)];
        let expected = |first: Fr| rollmill_protocol::tree::node_hash(&first, &second);
        assert_eq!(node(|tx| tx.messages[0] = f(8)), expected(first));
        let withdrawal = message::withdraw_leaf(EthAddress([3; 20]), 60);
        let with = node(|tx| {
            (tx.withdraw_recipient, tx.withdraw_amount) = (EthAddress([3; 20]).to_field(), f(60));
        });
        assert_eq!(with, expected(withdrawal));
    }
}
