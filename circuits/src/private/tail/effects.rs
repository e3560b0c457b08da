//! The effects: what stays, in the order of the counters, and padding up to the size that the wallet chose.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::domain;
use rollmill_protocol::gas::GasSettingsLayout;
use rollmill_protocol::private::{KernelState, PADDING_CONTRACT, Padding, SIZES};
use rollmill_protocol::tx::{MESSAGES, SLOTS, TxEffectsLayout};

use super::hints::Hints;
use super::squash::Kept;
use super::{Boundary, rows};
use crate::gadgets::uint::{assert_either_zero, not};
use crate::gadgets::vk_tree::Choice;
use crate::private::lists::{assert_below_if, picked};
use crate::weaken::gone;

/// Where the counter of a nullifier is, its contract counted.
const NULLIFIER_COUNTER: usize = 3;

/// The entries in the slots of a transaction.
struct Slots {
    /// A bit for each slot: 1 where an entry is in it. Such slots come first.
    filled: Vec<Var>,
    /// The words of each slot, zero where it is not filled.
    words: Vec<Vec<Var>>,
}

impl Slots {
    /// Constrains each entry that stays to be in one slot, and the counters to grow from slot to slot.
    fn new(
        b: &mut Builder,
        entries: &[Vec<Var>],
        kept: &[Var],
        counter: usize,
        chosen: &[Option<usize>; SLOTS],
    ) -> Self {
        let bit = |is_here: bool| Fr::from(u64::from(is_here));
        let bits: [Vec<Fr>; SLOTS] =
            chosen.map(|chosen| (0..entries.len()).map(|j| bit(chosen == Some(j))).collect());
        Self::given(b, entries, kept, counter, &bits)
    }

    /// [`Self::new`] with bits that the prover chooses, for each slot one of each entry.
    fn given(
        b: &mut Builder,
        entries: &[Vec<Var>],
        kept: &[Var],
        counter: usize,
        bits: &[Vec<Fr>; SLOTS],
    ) -> Self {
        let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
        let mut one_bit = |bit: &Fr| {
            let bit = b.witness(*bit);
            if !gone("circuits.private.slots.bit") {
                b.assert_bool(bit);
            }
            bit
        };
        let bits: Vec<Vec<Var>> =
            bits.iter().map(|slot| slot.iter().map(&mut one_bit).collect()).collect();
        for (j, kept) in kept.iter().enumerate() {
            let terms: Vec<(Fr, Var)> = bits.iter().map(|slot| (one, slot[j])).collect();
            if !gone("circuits.private.slots.kept") {
                b.linear_into(&terms, zero, *kept);
            }
        }
        let mut filled: Vec<Var> = Vec::with_capacity(SLOTS);
        for slot in &bits {
            let terms: Vec<(Fr, Var)> = slot.iter().map(|bit| (one, *bit)).collect();
            let sum = b.linear(&terms, zero);
            if !gone("circuits.private.slots.one") {
                b.assert_bool(sum);
            }
            if let Some(before) = filled.last() {
                // A filled slot has a filled one before it.
                let free = not(b, *before);
                if !gone("circuits.private.slots.front") {
                    assert_either_zero(b, free, sum);
                }
            }
            filled.push(sum);
        }
        let width = entries.first().map_or(0, Vec::len);
        let mut words: Vec<Vec<Var>> = Vec::with_capacity(SLOTS);
        for (slot, filled) in bits.iter().zip(&filled) {
            let row: Vec<Var> = (0..width)
                .map(|word| picked(b, slot, entries.iter().map(|entry| entry[word])))
                .collect();
            if let Some(before) = words.last()
                && !gone("circuits.private.slots.order")
            {
                assert_below_if(b, *filled, before[counter], row[counter]);
            }
            words.push(row);
        }
        Self { filled, words }
    }

    /// Leaves the first slot free where `gate` is 1: every entry moves one slot back. The last slot must be free then.
    fn moved_back(self, b: &mut Builder, gate: Var) -> Self {
        if let Some(last) = self.filled.last()
            && !gone("circuits.private.slots.last")
        {
            assert_either_zero(b, gate, *last);
        }
        let (mut filled, mut words) = (Vec::with_capacity(SLOTS), Vec::with_capacity(SLOTS));
        let width = self.words.first().map_or(0, Vec::len);
        let mut before = (Builder::ZERO, vec![Builder::ZERO; width]);
        for (is_filled, own) in self.filled.into_iter().zip(self.words) {
            filled.push(b.select(gate, before.0, is_filled));
            let row = own.iter().zip(&before.1);
            words.push(row.map(|(own, before)| b.select(gate, *before, *own)).collect());
            before = (is_filled, own);
        }
        Self { filled, words }
    }

    /// The word of each slot, or the prover's padding where the slot is not filled.
    fn or(&self, b: &mut Builder, word: usize, padding: &[Fr; SLOTS]) -> Vec<Var> {
        let mut out = Vec::with_capacity(SLOTS);
        for ((filled, words), padding) in self.filled.iter().zip(&self.words).zip(padding) {
            let padding = b.witness(*padding);
            out.push(b.select(*filled, words[word], padding));
        }
        out
    }

    /// Hash over contract and value of each slot. The contract of padding is 0, as of a slot that is not filled.
    fn siloed(&self, b: &mut Builder, domain: u64, values: &[Var]) -> Vec<Var> {
        const { assert!(PADDING_CONTRACT == 0) };
        let slots = self.words.iter().zip(values);
        slots.map(|(words, value)| b.hash(domain, &[words[0], *value])).collect()
    }
}

/// The slots that a transaction of the chosen size shows.
fn shown(b: &mut Builder, size: usize) -> Vec<Var> {
    let sizes = SIZES.map(|size| size as u32);
    let choice = Choice::new(b, &sizes, u32::try_from(size).unwrap_or(0));
    (0..SLOTS as u32).map(|slot| choice.map(b, |size| Fr::from(u64::from(slot < size)))).collect()
}

/// The values of slots that are shown, and 0 in the others.
fn masked(b: &mut Builder, shown: &[Var], values: &[Var]) -> [Var; SLOTS] {
    let values: Vec<Var> =
        shown.iter().zip(values).map(|(shown, value)| b.mul(*shown, *value)).collect();
    std::array::from_fn(|i| values[i])
}

/// 1 where no nullifier stays whatever is reverted. The first in order has the smallest counter.
fn needs_request(b: &mut Builder, nullifiers: &Slots, boundary: &Boundary) -> Var {
    let is_late = boundary.is_after(b, nullifiers.words[0][NULLIFIER_COUNTER]);
    let is_early = not(b, is_late);
    let stays = b.mul(nullifiers.filled[0], is_early);
    not(b, stays)
}

/// The effects of the entries that stay.
pub(super) fn constrain(
    b: &mut Builder,
    state: &KernelState<Var>,
    boundary: &Boundary,
    kept: Kept,
    gas: GasSettingsLayout<Var>,
    padding: &Padding,
    hints: &Hints,
) -> TxEffectsLayout<Var> {
    let shown = shown(b, padding.size);
    let entries = rows(state.note_hashes);
    let notes = Slots::new(b, &entries, &kept.note_hashes, 2, &hints.note_slots);
    let entries = rows(state.nullifiers);
    let chosen = &hints.nullifier_slots;
    let nullifiers = Slots::new(b, &entries, &kept.nullifiers, NULLIFIER_COUNTER, chosen);
    // The first nullifier makes every note hash unique. If it could be reverted, the leaves of notes that stay would be
    // made with a nullifier that is not there.
    let needs_request = needs_request(b, &nullifiers, boundary);
    let nullifiers = nullifiers.moved_back(b, needs_request);
    let entries = rows(state.logs);
    let logs = Slots::new(b, &entries, &kept.logs, 4, &hints.log_slots);
    for slots in [&notes, &nullifiers, &logs] {
        for (filled, shown) in slots.filled.iter().zip(&shown) {
            let is_hidden = not(b, *shown);
            if !gone("circuits.private.slots.shown") {
                assert_either_zero(b, *filled, is_hidden);
            }
        }
    }

    let values = nullifiers.or(b, 1, &padding.nullifiers);
    let mut siloed = nullifiers.siloed(b, domain::SILO_NULLIFIER, &values);
    siloed[0] = b.select(needs_request, state.request_hash, siloed[0]);
    let first_nullifier = siloed[0];
    let nullifiers = masked(b, &shown, &siloed);

    let values = notes.or(b, 1, &padding.note_hashes);
    let siloed = notes.siloed(b, domain::SILO_NOTE, &values);
    let mut unique = Vec::with_capacity(SLOTS);
    for (i, note) in siloed.into_iter().enumerate() {
        let index = b.constant_u64(i as u64);
        unique.push(b.hash(domain::UNIQUE_NOTE, &[first_nullifier, index, note]));
    }
    let note_hashes = masked(b, &shown, &unique);

    let values = logs.or(b, 1, &padding.tags);
    let tags = logs.siloed(b, domain::SILO_TAG, &values);
    let tags = masked(b, &shown, &tags);
    let hashes = logs.or(b, 2, &padding.log_hashes);
    let one = b.constant_u64(1);
    for (shown, hash) in shown.iter().zip(&hashes) {
        // A log that is shown has a hash.
        let hash = b.select(*shown, *hash, one);
        if !gone("circuits.private.padding.log") {
            b.inverse(hash);
        }
    }
    let log_hashes = masked(b, &shown, &hashes);
    let zero = Builder::ZERO;
    TxEffectsLayout {
        nullifiers,
        note_hashes,
        tags,
        log_hashes,
        messages: messages(b, state, hints.swap_messages),
        public_calls_hash: zero,
        fee_payer: state.fee_payer,
        gas,
        notes_in: zero,
        notes_out: zero,
        claim_index: zero,
        claim_amount: zero,
        withdraw_recipient: zero,
        withdraw_amount: zero,
        refund_partial: zero,
        expiry_slot: state.expiry_slot,
    }
}

/// The leaves of the messages in the order of their counters.
fn messages(b: &mut Builder, state: &KernelState<Var>, swap: bool) -> [Var; MESSAGES] {
    messages_given(b, state, Fr::from(u64::from(swap)))
}

/// [`messages`] with the word as the prover chooses it that says whether the second one comes first.
fn messages_given(b: &mut Builder, state: &KernelState<Var>, swap: Fr) -> [Var; MESSAGES] {
    let [first, second] = state.messages;
    let absent = [first, second].map(|message| b.is_zero(message.item.recipient));
    let present = absent.map(|absent| not(b, absent));
    let swap = b.witness(swap);
    if !gone("circuits.private.messages.bit") {
        b.assert_bool(swap);
    }
    let alone = not(b, present[1]);
    if !gone("circuits.private.messages.alone") {
        assert_either_zero(b, swap, alone);
    }
    let words = |message: &rollmill_protocol::private::OwnedMessage<Var>| {
        [message.contract, message.item.recipient, message.item.content, message.item.counter]
    };
    let (first, second) = (words(&first), words(&second));
    let mut early = [Builder::ZERO; 4];
    let mut late = [Builder::ZERO; 4];
    for (i, (a, c)) in first.into_iter().zip(second).enumerate() {
        early[i] = b.select(swap, c, a);
        late[i] = b.select(swap, a, c);
    }
    if !gone("circuits.private.messages.order") {
        assert_below_if(b, present[1], early[3], late[3]);
    }
    let mut leaf = |[contract, recipient, content, _]: [Var; 4], present: Var| {
        let leaf = b.hash(domain::MESSAGE_OUT, &[contract, recipient, content]);
        b.mul(present, leaf)
    };
    [leaf(early, present[0]), leaf(late, present[1])]
}

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;
    use rollmill_protocol::private::{MessageEntry, OwnedMessage};

    use super::*;

    fn holds(b: Builder) -> bool {
        let (layout, witness) = b.finish(None).expect("fits");
        check(&layout, &witness).is_ok()
    }

    /// Attacks: two entries that stay, at counters 10 and 11, in slots by other weights than those of an honest prover.
    /// Some of them add up to entries that no call has made.
    #[test]
    fn each_entry_is_whole_in_one_slot_and_the_slots_are_in_order() {
        let accepted = |weights: [[i64; 2]; 3]| {
            let mut b = Builder::new(0, 10);
            let entries: Vec<Vec<Var>> = [[7u64, 100, 10], [7, 200, 11]]
                .iter()
                .map(|entry| entry.iter().map(|word| b.witness(Fr::from(*word))).collect())
                .collect();
            let kept = [b.constant_u64(1); 2];
            let mut bits: [Vec<Fr>; SLOTS] = std::array::from_fn(|_| vec![Fr::from(0u64); 2]);
            for (slot, weights) in bits.iter_mut().zip(weights) {
                *slot = weights.map(Fr::from).to_vec();
            }
            Slots::given(&mut b, &entries, &kept, 2, &bits);
            holds(b)
        };
        assert!(accepted([[1, 0], [0, 1], [0, 0]]));
        for (name, weights) in [
            ("twice the one less the other", [[2, -1], [-1, 2], [0, 0]]),
            ("the sum of both in one slot", [[1, 1], [0, 0], [0, 0]]),
            ("a slot that is left out", [[0, 0], [1, 0], [0, 1]]),
            ("the later one first", [[0, 1], [1, 0], [0, 0]]),
            ("one that is lost", [[1, 0], [0, 0], [0, 0]]),
            ("one that is there twice", [[1, 0], [0, 1], [0, 1]]),
        ] {
            assert!(!accepted(weights), "{name}");
        }
    }

    /// Attacks: messages in another order than that of their counters, one message that is replaced by an absent one,
    /// and a mixture of two.
    #[test]
    fn messages_are_whole_and_in_the_order_of_their_counters() {
        let accepted = |counters: [u64; 2], swap: i64| {
            let mut state = KernelState::<Fr>::empty();
            let messages = state.messages.iter_mut().zip(counters);
            for (message, counter) in messages.filter(|(_, counter)| *counter != 0) {
                let [contract, recipient, content, counter] =
                    [7, 50 + counter, 60, counter].map(Fr::from);
                let item = MessageEntry { recipient, content, counter };
                *message = OwnedMessage { contract, item };
            }
            let mut b = Builder::new(0, 10);
            let state = state.map(|word| b.witness(word));
            messages_given(&mut b, &state, Fr::from(swap));
            holds(b)
        };
        assert!(accepted([3, 4], 0) && accepted([4, 3], 1));
        assert!(accepted([3, 0], 0) && accepted([0, 0], 0));
        assert!(!accepted([4, 3], 0) && !accepted([3, 4], 1), "another order");
        assert!(!accepted([3, 0], 1), "an absent message for one that is there");
        assert!(!accepted([3, 4], -1), "twice the first less the second, and the other way round");
    }
}
