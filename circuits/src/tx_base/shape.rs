//! The shape of a transaction's effects: which words are absent, how long each is, and that its logs are opened.
//!
//! Whatever TxBase accepts, a reader of the blob decodes, and the other way around.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::domain;
use rollmill_protocol::layout::Range;
use rollmill_protocol::tx::{LOG_WORDS, Log, REFUND_SLOT, SLOTS, TxEffects, TxEffectsLayout};

use crate::gadgets::shape::assert_absent_last;
use crate::gadgets::uint::{SLOT_BITS, assert_at_most, assert_either_zero, not, range_bits};
use crate::weaken::gone;

/// What of a transaction is absent: bits that are 1 where it is.
#[derive(Debug, Clone)]
pub(super) struct Absent {
    /// The payer: notes pay.
    pub(super) payer: Var,
    pub(super) claim: Var,
    pub(super) withdrawal: Var,
    /// Each of the logs.
    pub(super) logs: Vec<Var>,
}

/// Constrains the shape, and every word to the bits that the format gives it.
pub(super) fn constrain(b: &mut Builder, tx: &TxEffectsLayout<Var>) -> Absent {
    ranges(b, tx);
    // The first nullifier makes the transaction unique.
    if !gone("circuits.tx_base.first_nullifier") {
        b.inverse(tx.nullifiers[0]);
    }
    assert_absent_last(b, &tx.nullifiers);
    assert_absent_last(b, &tx.note_hashes);
    let logs = assert_absent_last(b, &tx.tags);
    if !gone("circuits.tx_base.public_calls") {
        b.assert_constant(tx.public_calls_hash, Fr::from(0u64));
    }

    let claim = b.is_zero(tx.claim_amount);
    if !gone("circuits.tx_base.claim.index") {
        assert_either_zero(b, claim, tx.claim_index);
    }
    let payer = b.is_zero(tx.fee_payer);
    if !gone("circuits.tx_base.claim.payer") {
        assert_either_zero(b, payer, tx.claim_amount);
    }
    let withdrawal = b.is_zero(tx.withdraw_amount);
    let no_recipient = b.is_zero(tx.withdraw_recipient);
    if !gone("circuits.tx_base.withdraw.shape") {
        b.assert_equal(withdrawal, no_recipient);
    }
    // A withdrawal takes the place of message 0.
    if !gone("circuits.tx_base.withdraw.message") {
        assert_either_zero(b, tx.withdraw_amount, tx.messages[0]);
    }
    let no_refund = b.is_zero(tx.refund_partial);
    let has_payer = not(b, payer);
    if !gone("circuits.tx_base.refund.shape") {
        b.assert_equal(no_refund, has_payer);
    }
    // The refund takes the place of note 7.
    if !gone("circuits.tx_base.refund.note") {
        assert_either_zero(b, payer, tx.note_hashes[REFUND_SLOT]);
    }
    Absent { payer, claim, withdrawal, logs }
}

/// Constrains the block's slot to be at most the last one that the transaction allows, which is in its range.
pub(super) fn in_time(b: &mut Builder, slot: Var, expiry: Var) {
    if !gone("circuits.tx_base.slot") {
        range_bits(b, slot, SLOT_BITS);
    }
    if !gone("circuits.tx_base.expiry") {
        assert_at_most(b, slot, expiry, SLOT_BITS);
    }
}

/// Constrains every word to the bits of its type.
fn ranges(b: &mut Builder, tx: &TxEffectsLayout<Var>) {
    for (info, var) in TxEffects::cell_infos().into_iter().zip(tx.to_vec()) {
        if let Range::Bits(bits) = info.range
            && !gone("circuits.tx_base.range")
        {
            range_bits(b, var, bits);
        }
    }
}

/// Opens every log: its hash is that of its words, and absent ones have neither. Returns the words of all, zeros
/// included.
pub(super) fn open_logs(
    b: &mut Builder,
    tx: &TxEffectsLayout<Var>,
    absent: &[Var],
    logs: &[Log],
) -> Vec<Var> {
    let mut words = Vec::with_capacity(SLOTS * LOG_WORDS);
    for (i, (log_hash, absent)) in tx.log_hashes.iter().zip(absent).enumerate() {
        let log = logs.get(i).copied().unwrap_or_default();
        let log = log.map(|word| b.witness(word));
        for word in log {
            if !gone("circuits.tx_base.log.absent") {
                assert_either_zero(b, *absent, word);
            }
        }
        let opened = b.hash(domain::LOG_HASH, &log);
        let expected = b.select(*absent, Builder::ZERO, opened);
        if !gone("circuits.tx_base.log.hash") {
            b.assert_equal(*log_hash, expected);
        }
        words.extend(log);
    }
    words
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rollmill_plonk::check::check;
    use rollmill_plonk::gates::power_of_two;
    use rollmill_protocol::tx::log_hash;

    use super::*;

    type Cells = TxEffectsLayout<Fr>;

    /// A transaction of two nullifiers, two notes and one log, which a balance pays for.
    fn honest() -> (Cells, Vec<Log>) {
        let mut tx = Cells::from_slice(&[Fr::from(0u64); TxEffects::FIELDS]).expect("its length");
        let f = |value: u64| Fr::from(value);
        (tx.nullifiers[0], tx.nullifiers[1]) = (f(11), f(12));
        (tx.note_hashes[0], tx.note_hashes[1]) = (f(21), f(22));
        tx.fee_payer = f(77);
        let log = [1, 2, 3, 4, 5].map(Fr::from);
        (tx.tags[0], tx.log_hashes[0]) = (f(31), log_hash(&log));
        (tx, vec![log])
    }

    /// A transaction that notes pay for.
    fn without_payer() -> Cells {
        let mut tx = honest().0;
        (tx.fee_payer, tx.refund_partial) = (Fr::from(0u64), Fr::from(88u64));
        tx
    }

    fn accepts(tx: Cells, logs: &[Log]) -> bool {
        let mut b = Builder::new(0, 10);
        let tx = tx.map(|cell| b.witness(cell));
        let absent = constrain(&mut b, &tx);
        let words = open_logs(&mut b, &tx, &absent.logs, logs);
        assert_eq!(words.len(), SLOTS * LOG_WORDS);
        let (layout, witness) = b.finish(None).expect("fits");
        check(&layout, &witness).is_ok()
    }

    fn accepts_from(mut tx: Cells, change: impl Fn(&mut Cells)) -> bool {
        change(&mut tx);
        accepts(tx, &honest().1)
    }

    fn rejects(change: impl Fn(&mut Cells)) -> bool {
        !accepts_from(honest().0, change)
    }

    /// Expired by one slot, and slots below zero, which are before every expiry.
    #[test]
    fn a_slot_after_the_expiry_or_beyond_its_range_is_rejected() {
        let in_time = |slot: Fr, expiry: u64| {
            let mut b = Builder::new(0, 10);
            let (slot, expiry) = (b.witness(slot), b.witness(Fr::from(expiry)));
            in_time(&mut b, slot, expiry);
            let (layout, witness) = b.finish(None).expect("fits");
            check(&layout, &witness).is_ok()
        };
        let (f, last) = (|value: u64| Fr::from(value), (1 << SLOT_BITS) - 1);
        assert!(in_time(f(4), 4) && in_time(f(0), last) && in_time(f(last), last));
        assert!(!in_time(f(5), 4) && !in_time(f(1), 0) && !in_time(f(last + 1), last));
        assert!(!in_time(-f(1), 4) && !in_time(f(4) - power_of_two(47), 4));
    }

    #[test]
    fn absent_words_stand_last_and_the_first_nullifier_is_present() {
        let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
        assert!(!rejects(|_| ()) && accepts(without_payer(), &honest().1));
        assert!(rejects(|tx| tx.nullifiers = [zero; SLOTS]), "no nullifier");
        assert!(rejects(|tx| tx.nullifiers[0] = zero), "the first is absent");
        assert!(rejects(|tx| tx.nullifiers[4] = one), "a gap of nullifiers");
        assert!(rejects(|tx| tx.note_hashes[4] = one), "a gap of notes");
        assert!(!rejects(|tx| tx.nullifiers = [one; SLOTS]));
        assert!(!rejects(|tx| tx.note_hashes = [one; SLOTS]));
        assert!(!rejects(|tx| tx.messages = [zero, one]), "messages have no order");
        assert!(rejects(|tx| tx.public_calls_hash = one), "public calls");
    }

    /// Attacks on the data: a log that is withheld, another one, and one that no tag announces to its reader.
    #[test]
    fn a_log_is_opened_exactly_if_its_tag_is_present() {
        let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
        let (tx, logs) = honest();
        assert!(rejects(|tx| tx.tags[0] = zero), "a log without a tag");
        assert!(rejects(|tx| tx.log_hashes[0] = zero), "a tag without a log");
        assert!(rejects(|tx| tx.tags[1] = one), "a second tag without a log");
        assert!(rejects(|tx| tx.log_hashes[0] = one), "another hash");
        assert!(!accepts(tx.clone(), &[]), "a withheld log");
        let mut other = logs.clone();
        other[0][4] += one;
        assert!(!accepts(tx.clone(), &other), "another word");
        let behind = [logs[0], [zero, zero, one, zero, zero]];
        assert!(!accepts(tx.clone(), &behind), "words of an absent log");
        // A log of five zeros is present, as its tag is.
        let mut zeros = tx.clone();
        zeros.log_hashes[0] = log_hash(&[zero; LOG_WORDS]);
        assert!(accepts(zeros, &[]));
        let mut gap = tx;
        (gap.tags[2], gap.log_hashes[2]) = (one, log_hash(&[one; LOG_WORDS]));
        assert!(!accepts(gap, &[logs[0], [zero; 5], [one; 5]]), "a gap of logs");
    }

    #[test]
    fn claims_withdrawals_and_refunds_are_whole_and_have_their_places() {
        let one = Fr::from(1u64);
        assert!(rejects(|tx| tx.claim_index = one), "an index without a claim");
        assert!(!rejects(|tx| tx.claim_amount = one));
        let notes = |change: fn(&mut Cells)| accepts_from(without_payer(), change);
        assert!(notes(|_| ()));
        assert!(!notes(|tx| tx.claim_amount = Fr::from(1u64)), "a claim without a payer");
        assert!(rejects(|tx| tx.withdraw_amount = one), "no recipient");
        assert!(rejects(|tx| tx.withdraw_recipient = one), "no amount");
        let withdraws = |first: u64| {
            rejects(|tx| {
                (tx.withdraw_amount, tx.withdraw_recipient) = (one, one);
                tx.messages = [Fr::from(first), one];
            })
        };
        assert!(!withdraws(0) && withdraws(1), "message 0 is taken");
        // Refund to two places: to the balance and to a note, or to two notes.
        assert!(rejects(|tx| tx.refund_partial = one), "a refund beside a payer");
        assert!(!notes(|tx| tx.refund_partial = Fr::from(0u64)), "no refund");
        assert!(notes(|tx| tx.note_hashes[..7].fill(Fr::from(1u64))));
        assert!(!notes(|tx| tx.note_hashes.fill(Fr::from(1u64))), "note 7 is taken");
    }

    /// Every number at the end of its range, and beyond.
    #[test]
    fn numbers_beyond_their_ranges_are_rejected() {
        let mut ranged = 0;
        for (i, info) in TxEffects::cell_infos().iter().enumerate() {
            let Range::Bits(bits) = info.range else { continue };
            ranged += 1;
            let limit = power_of_two(bits);
            let [last, beyond, below] =
                [limit - Fr::from(1u64), limit, -Fr::from(1u64)].map(|value| {
                    let mut cells = honest().0.to_vec();
                    cells[i] = value;
                    let mut b = Builder::new(0, 10);
                    let cells: Vec<Var> = cells.into_iter().map(|v| b.witness(v)).collect();
                    ranges(&mut b, &TxEffectsLayout::from_slice(&cells).expect("its length"));
                    let (layout, witness) = b.finish(None).expect("fits");
                    check(&layout, &witness).is_ok()
                });
            assert_eq!([last, beyond, below], [true, false, false], "{}", info.name);
        }
        // Six of gas, two of notes, two of the claim, two of the withdrawal, and the expiry.
        assert_eq!(ranged, 13);
    }

    /// Goal: the circuit accepts exactly what a node accepts: a block that only one of them accepts would either stop
    /// the chain or be proven against it. Method: random changes to honest effects, seed 77.
    #[test]
    fn the_circuit_and_the_native_rules_agree_on_random_effects() {
        let mut rng = ChaCha8Rng::seed_from_u64(77);
        let logs = honest().1;
        let (mut accepted, mut rejected) = (0, 0);
        for case in 0..400 {
            let tx = if rng.r#gen() { honest().0 } else { without_payer() };
            let mut cells = tx.into_vec();
            for _ in 0..rng.gen_range(0..3) {
                let values = [Fr::from(0u64), Fr::from(1u64), power_of_two(50), -Fr::from(1u64)];
                let at = rng.gen_range(0..cells.len());
                cells[at] = values[rng.gen_range(0..values.len())];
            }
            let cells = Cells::from_slice(&cells).expect("its length");
            let native = TxEffects::from_layout(&cells);
            let native = native.is_ok_and(|effects| effects.check_with_logs(&logs).is_ok());
            assert_eq!(accepts(cells.clone(), &logs), native, "case {case}: {cells:?}");
            *(if native { &mut accepted } else { &mut rejected }) += 1;
        }
        assert!(accepted > 80 && rejected > 80, "{accepted} accepted, {rejected} rejected");
    }
}
