//! The client circuit: a private transfer.
//!
//! It spends up to two notes and creates two. The public inputs are chain, version, the anchor header's hash and the
//! transaction's hash, which covers everything that the transaction reveals. The rest stays with the sender. Proofs
//! of this circuit are blinded.
//!
//! The proof shows:
//! - the sender knows the nullifier key of the address that owns every real input and pays the fee;
//! - real inputs are leaves of the anchor's note tree;
//! - nullifiers and new leaves follow the rules;
//! - input and output values are below 2^64 and balance, and gas fields are below 2^64;
//! - slots that a transfer does not use are zero;
//! - tags and log hashes have the form that nodes require. Their values are free.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::gas::GasSettings;
use rollmill_protocol::header::{Header, HeaderLayout};
use rollmill_protocol::note::{NoteOrigin, ViewingKey};
use rollmill_protocol::public_inputs::ClientInputsLayout;
use rollmill_protocol::tree::STATE_HEIGHT;
use rollmill_protocol::tx::{MESSAGES, SLOTS, TxEffects, TxEffectsLayout};
use rollmill_protocol::{Note, domain};

use crate::gadgets::effects::{header, header_hash, range_gas, tx_hash};
use crate::gadgets::merkle::{place, root, siblings};
use crate::gadgets::uint::{assert_either_zero, assert_equal_if, not, range_u64};
use crate::weaken::gone;

/// Bits of a limb cell: a small table makes a small proof.
pub const CELL_BITS: u32 = 12;
/// Base-2 logarithm of the number of rows.
pub const LOG_N: u32 = 13;
/// Notes a transfer spends.
pub const INPUTS: usize = 2;
/// Notes a transfer creates.
pub const OUTPUTS: usize = 2;

/// A note to spend. Its owner is the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputNote {
    pub value: u64,
    pub randomness: Fr,
    pub origin: NoteOrigin,
    /// Index of the note's leaf; `None` for a dummy, whose value is zero and whose origin is
    /// [`NoteOrigin::dummy`].
    pub leaf_index: Option<u64>,
    /// Siblings of the leaf in the anchor's note tree, lowest first; arbitrary for a dummy.
    pub path: Vec<Fr>,
}

impl InputNote {
    /// An input that spends nothing. Its randomness makes its nullifier, so it must be fresh.
    pub fn dummy(randomness: Fr) -> Self {
        Self {
            value: 0,
            randomness,
            origin: NoteOrigin::dummy(),
            leaf_index: None,
            path: vec![Fr::from(0u64); STATE_HEIGHT],
        }
    }

    /// The note, for the sender's address.
    pub fn note(&self, owner: Fr) -> Note {
        Note { owner, value: self.value, randomness: self.randomness }
    }
}

/// Everything that determines a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientWitness {
    /// The sender's nullifier key. Secret.
    pub nsk: Fr,
    /// The public viewing key in the sender's address.
    pub viewing: ViewingKey,
    /// The header whose note tree the inputs are in.
    pub anchor: Header,
    pub inputs: [InputNote; INPUTS],
    pub outputs: [Note; OUTPUTS],
    pub tags: [Fr; SLOTS],
    pub log_hashes: [Fr; SLOTS],
    pub gas: GasSettings,
}

impl ClientWitness {
    /// The sender's address, which also pays the fee.
    pub fn address(&self) -> Fr {
        rollmill_protocol::note::address(&rollmill_protocol::note::npk(&self.nsk), &self.viewing)
    }

    /// The public effects of the transfer.
    pub fn effects(&self) -> TxEffects {
        let zero = Fr::from(0u64);
        let owner = self.address();
        let mut nullifiers = [zero; SLOTS];
        for (slot, input) in nullifiers.iter_mut().zip(&self.inputs) {
            let unique = input.note(owner).unique(&input.origin);
            *slot = rollmill_protocol::note::nullifier(&unique, &self.nsk);
        }
        let mut note_hashes = [zero; SLOTS];
        for (i, (slot, note)) in note_hashes.iter_mut().zip(&self.outputs).enumerate() {
            *slot = note.unique(&NoteOrigin { first_nullifier: nullifiers[0], index: i as u64 });
        }
        TxEffects {
            nullifiers,
            note_hashes,
            tags: self.tags,
            log_hashes: self.log_hashes,
            messages: [zero; MESSAGES],
            fee_payer: owner,
            gas: self.gas,
        }
    }
}

struct Sender {
    nsk: Var,
    address: Var,
}

/// Lays out one input with the given value. Returns its value and nullifier.
fn spend(
    b: &mut Builder,
    sender: &Sender,
    note_root: Var,
    input: &InputNote,
    value: Fr,
) -> (Var, Var) {
    let is_dummy = b.witness(Fr::from(u64::from(input.leaf_index.is_none())));
    if !gone("circuits.client.dummy.bit") {
        b.assert_bool(is_dummy);
    }
    let value = b.witness(value);
    let randomness = b.witness(input.randomness);
    let first_nullifier = b.witness(input.origin.first_nullifier);
    let origin_index = b.witness(Fr::from(input.origin.index));
    if !gone("circuits.client.value_in") {
        range_u64(b, value);
    }
    for var in [value, first_nullifier, origin_index] {
        if !gone("circuits.client.dummy.zero") {
            assert_either_zero(b, is_dummy, var);
        }
    }
    let note_hash = b.hash(domain::NOTE, &[sender.address, value, randomness]);
    let unique = b.hash(domain::UNIQUE_NOTE, &[first_nullifier, origin_index, note_hash]);
    let index = b.witness(Fr::from(input.leaf_index.unwrap_or(0)));
    let at = place(b, index, STATE_HEIGHT);
    let path = siblings(b, &input.path, STATE_HEIGHT);
    let computed = root(b, unique, &at, &path);
    let is_real = not(b, is_dummy);
    if !gone("circuits.client.member") {
        assert_equal_if(b, is_real, computed, note_root);
    }
    (value, b.hash(domain::NULLIFIER, &[unique, sender.nsk]))
}

/// Lays out one output, a note of `[owner, value, randomness]`; returns its value and its leaf.
fn make(b: &mut Builder, first_nullifier: Var, index: usize, note: [Fr; 3]) -> (Var, Var) {
    let [owner, value, randomness] = note.map(|field| b.witness(field));
    if !gone("circuits.client.value_out") {
        range_u64(b, value);
    }
    let note_hash = b.hash(domain::NOTE, &[owner, value, randomness]);
    let index = b.constant_u64(index as u64);
    (value, b.hash(domain::UNIQUE_NOTE, &[first_nullifier, index, note_hash]))
}

/// Constrains each tag to be present exactly if its log hash is, with absent ones last.
fn assert_log_shape(b: &mut Builder, tags: &[Var], log_hashes: &[Var]) {
    let mut previous = None;
    for (tag, log) in tags.iter().zip(log_hashes) {
        let absent = b.is_zero(*tag);
        let no_log = b.is_zero(*log);
        if !gone("circuits.client.logs.paired") {
            b.assert_equal(absent, no_log);
        }
        if let Some(previous) = previous {
            let present = not(b, absent);
            if !gone("circuits.client.logs.last") {
                assert_either_zero(b, previous, present);
            }
        }
        previous = Some(absent);
    }
}

/// The circuit without the publication of its public inputs, which it returns.
pub fn constrain(b: &mut Builder, w: &ClientWitness) -> ClientInputsLayout<Var> {
    b.section("keys and anchor");
    let nsk = b.witness(w.nsk);
    let npk = b.hash(domain::NPK, &[nsk]);
    let (vx, vy) = (b.witness(w.viewing.x), b.witness(w.viewing.y));
    let address = b.hash(domain::ADDRESS, &[npk, vx, vy]);
    let sender = Sender { nsk, address };
    let anchor: HeaderLayout<Var> = header(b, &w.anchor);
    let anchor_header_hash = header_hash(b, &anchor);

    b.section("inputs");
    let note_root = anchor.state.tx_state.note_root;
    let spent =
        w.inputs.each_ref().map(|input| spend(b, &sender, note_root, input, Fr::from(input.value)));
    b.section("outputs");
    let first_nullifier = spent[0].1;
    let mut made = Vec::with_capacity(OUTPUTS);
    for (i, note) in w.outputs.iter().enumerate() {
        let note = [note.owner, Fr::from(note.value), note.randomness];
        made.push(make(b, first_nullifier, i, note));
    }
    // Sums of two values below 2^64 do not wrap.
    let one = Fr::from(1u64);
    let balance = [(one, spent[0].0), (one, spent[1].0), (-one, made[0].0), (-one, made[1].0)];
    if !gone("circuits.client.balance") {
        b.linear_into(&balance, Fr::from(0u64), Builder::ZERO);
    }

    b.section("effects");
    let mut nullifiers = [Builder::ZERO; SLOTS];
    let mut note_hashes = [Builder::ZERO; SLOTS];
    for (slot, (_, nullifier)) in nullifiers.iter_mut().zip(&spent) {
        *slot = *nullifier;
    }
    for (slot, (_, leaf)) in note_hashes.iter_mut().zip(&made) {
        *slot = *leaf;
    }
    let effects = TxEffectsLayout {
        nullifiers,
        note_hashes,
        tags: w.tags.map(|v| b.witness(v)),
        log_hashes: w.log_hashes.map(|v| b.witness(v)),
        messages: [Builder::ZERO; MESSAGES],
        fee_payer: address,
        gas: w.gas.layout().map(|v| b.witness(v)),
    };
    assert_log_shape(b, &effects.tags, &effects.log_hashes);
    if !gone("circuits.client.gas") {
        range_gas(b, &effects.gas);
    }
    ClientInputsLayout {
        chain_id: anchor.chain_id,
        version: anchor.version,
        anchor_header_hash,
        tx_hash: tx_hash(b, &effects),
    }
}

/// The circuit.
pub fn build(w: &ClientWitness) -> Builder {
    let mut b = Builder::new(ClientInputsLayout::<Var>::CELLS, CELL_BITS);
    let inputs = constrain(&mut b, w);
    crate::gadgets::effects::publish(&mut b, &inputs.into_vec());
    b
}

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;
    use rollmill_plonk::gates::power_of_two;
    use rollmill_protocol::tree::root_from_path;
    use rollmill_protocol::{domain, note};

    use super::*;

    fn holds(lay_out: impl Fn(&mut Builder)) -> bool {
        let mut b = Builder::new(0, 10);
        lay_out(&mut b);
        let (layout, witness) = b.finish(None).unwrap();
        check(&layout, &witness).is_ok()
    }

    /// Duty 10: values that balance modulo r only.
    #[test]
    fn notes_of_values_beyond_64_bits_are_neither_made_nor_spent() {
        let (top, one) = (power_of_two(64), Fr::from(1u64));
        let (nsk, owner) = (Fr::from(5u64), Fr::from(6u64));
        for (value, good) in [(top - one, true), (top, false), (-one, false)] {
            let makes = holds(|b| {
                make(b, Builder::ZERO, 1, [owner, value, one]);
            });
            assert_eq!(makes, good, "making {value}");
            let input = InputNote { leaf_index: Some(3), ..InputNote::dummy(one) };
            let hash = |tag, inputs: &[Fr]| rollmill_algebra::poseidon2::hash(tag, inputs);
            let note_hash = hash(domain::NOTE, &[owner, value, one]);
            let leaf = note::unique(&input.origin, &note_hash);
            let spends = holds(|b| {
                let sender = Sender { nsk: b.witness(nsk), address: b.witness(owner) };
                let note_root = b.witness(root_from_path(&leaf, 3, &input.path));
                spend(b, &sender, note_root, &input, value);
            });
            assert_eq!(spends, good, "spending {value}");
        }
    }
}
