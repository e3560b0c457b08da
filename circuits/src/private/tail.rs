//! The end of a transaction inside a circuit; the twin of `rollmill_protocol::private::tail`.
//!
//! The plain rules take the first note hash that fits where several are equal. The circuit accepts any of them: which
//! one a read means, and which one a nullifier takes, changes nothing that a contract could tell apart.

mod effects;
pub mod hints;
mod reads;
mod squash;

use rollmill_algebra::pair::{PAIR_INPUTS, Pair};
use rollmill_algebra::{Fr, G1Affine};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::layout::FixedRow;
use rollmill_protocol::domain;
use rollmill_protocol::header::HeaderLayout;
use rollmill_protocol::private::{COUNTER_BITS, KernelState, NULLIFIER_KEY, TailWitness};
use rollmill_protocol::public_inputs::{ClientInputsLayout, PairLayout};
use rollmill_protocol::tx::TxEffectsLayout;

use self::hints::{Hints, counters};
use super::lists::{assert_below_if, words};
use crate::gadgets::effects::{header, header_hash, tx_hash};
use crate::gadgets::uint::{assert_either_zero, assert_equal_if, is_negative, not};
use crate::weaken::gone;

/// What the tail states, but for the network's words and the pair.
#[derive(Debug, Clone)]
pub struct Statement {
    pub chain_id: Var,
    pub version: Var,
    pub anchor_header_hash: Var,
    pub effects: TxEffectsLayout<Var>,
    pub tx_hash: Var,
}

impl Statement {
    /// The public inputs.
    pub fn inputs(
        &self,
        vk_root: Var,
        protocol_version: Var,
        pair: PairLayout<Var>,
    ) -> ClientInputsLayout<Var> {
        ClientInputsLayout {
            chain_id: self.chain_id,
            version: self.version,
            vk_root,
            protocol_version,
            anchor_header_hash: self.anchor_header_hash,
            tx_hash: self.tx_hash,
            pair,
        }
    }
}

/// A pair that holds for the SRS whose second point is `tau_g1 = [τ]G`, and is uniform among those that do if the
/// three words are: `(c·G + a·G, a; c·[τ]G + b·G, b)`.
pub fn hiding_pair(tau_g1: &G1Affine, [a, b, c]: [Fr; 3]) -> [Fr; PAIR_INPUTS] {
    use ark_ec::{AffineRepr, CurveGroup};
    let g = G1Affine::generator();
    let l = (g * (a + c)).into_affine();
    let r = (*tau_g1 * c + g * b).into_affine();
    Pair { l, s_l: a, r, s_r: b }.to_fields()
}

/// The rules of a transaction over `state`, whose values are `values`.
pub fn constrain(
    b: &mut Builder,
    state: &KernelState<Var>,
    values: &KernelState<Fr>,
    w: &TailWitness,
) -> Statement {
    constrain_given(b, state, w, &Hints::of(values))
}

/// [`constrain`] with hints that the prover chooses.
pub fn constrain_given(
    b: &mut Builder,
    state: &KernelState<Var>,
    w: &TailWitness,
    hints: &Hints,
) -> Statement {
    b.section("anchor and gas");
    let zero = Fr::from(0u64);
    // Waiting calls come first in the stack, so the first place says whether there is one.
    if !gone("circuits.private.tail.stack") {
        b.assert_constant(state.stack[0].contract, zero);
    }
    let anchor: HeaderLayout<Var> = header(b, &w.anchor);
    let anchor_header_hash = header_hash(b, &anchor);
    let gas = w.gas.layout().map(|word| b.witness(word));
    let gas_hash = b.hash(domain::GAS_SETTINGS, &gas.to_vec());
    for (name, got, expected) in [
        ("circuits.private.tail.anchor", anchor_header_hash, state.anchor_header_hash),
        ("circuits.private.tail.chain_id", anchor.chain_id, state.chain_id),
        ("circuits.private.tail.version", anchor.version, state.version),
        ("circuits.private.tail.gas", gas_hash, state.gas_hash),
    ] {
        if !gone(name) {
            b.assert_equal(got, expected);
        }
    }

    b.section("counters");
    assert_distinct(b, &counters(state), &hints.order);
    b.section("reads");
    reads::notes(b, state, anchor.state.tx_state.note_root, w, hints);
    reads::nullifiers(b, state, anchor.state.tx_state.nullifier_root, w, hints);
    b.section("keys");
    keys(b, state, &w.nsks);
    b.section("fee payer");
    if !gone("circuits.private.payer.present") {
        b.inverse(state.fee_payer);
    }
    let boundary = Boundary::new(b, state.min_revertible);
    let is_late = boundary.is_after(b, state.fee_payer_start);
    if !gone("circuits.private.payer.early") {
        b.assert_constant(is_late, zero);
    }
    b.section("notes that disappear");
    let kept = squash::constrain(b, state, &boundary, hints);
    b.section("effects");
    let effects = effects::constrain(b, state, &boundary, kept, gas, &w.padding, hints);
    let tx_hash = tx_hash(b, &effects);
    let (chain_id, version) = (anchor.chain_id, anchor.version);
    Statement { chain_id, version, anchor_header_hash, effects, tx_hash }
}

/// Constrains all counters that are not 0 to be distinct: as many reads of a table of them as it has entries, at any
/// addresses, return numbers of which each is larger than the one before or both are 0. So the reads that are not 0
/// return distinct counters, and with as many of them as there are counters, all counters are distinct.
fn assert_distinct(b: &mut Builder, counters: &[Var], order: &[usize]) {
    let one = Fr::from(1u64);
    let zeros = [Builder::ZERO; 4];
    let table = b.new_table();
    for (i, counter) in counters.iter().enumerate() {
        let address = b.constant_u64(i as u64);
        b.rom_write(table, address, [*counter, Builder::ZERO, Builder::ZERO, Builder::ZERO], zeros);
    }
    let mut before = Builder::ZERO;
    let mut absent = Vec::with_capacity(2 * order.len());
    for i in order {
        let (address, value) = (b.witness(Fr::from(*i as u64)), b.witness(b.value(counters[*i])));
        let row = FixedRow::read([Fr::from(0u64); 8]);
        let row = b.raw_row([address, Builder::ZERO, Builder::ZERO, table], &row, [0; 8]);
        b.raw_row([value, Builder::ZERO, Builder::ZERO, Builder::ZERO], &FixedRow::blank(), [0; 8]);
        b.raw_row(zeros, &FixedRow::blank(), [0; 8]);
        b.note_read(row, table, address);
        let is_absent = b.is_zero(value);
        let present = not(b, is_absent);
        if !gone("circuits.private.counters.grow") {
            assert_below_if(b, present, before, value);
        }
        // A zero follows only zeros.
        if !gone("circuits.private.counters.zeros") {
            assert_either_zero(b, is_absent, before);
        }
        absent.push((one, is_absent));
        before = value;
    }
    for counter in counters {
        let is_absent = b.is_zero(*counter);
        absent.push((-one, is_absent));
    }
    if !gone("circuits.private.counters.all") {
        b.linear_into(&absent, Fr::from(0u64), Builder::ZERO);
    }
}

/// Key requests: each key is the account's own for the contract.
fn keys(b: &mut Builder, state: &KernelState<Var>, nsks: &[Fr]) {
    let kind = b.constant_u64(NULLIFIER_KEY);
    for (i, request) in state.keys.iter().enumerate() {
        let absent = b.is_zero(request.item.npk);
        let present = not(b, absent);
        let nsk = b.witness(nsks.get(i).copied().unwrap_or_default());
        let npk = b.hash(domain::NPK, &[nsk]);
        let app_key = b.hash(domain::APP_KEY, &[nsk, request.contract]);
        for (name, got, expected) in [
            ("circuits.private.keys.kind", request.item.kind, kind),
            ("circuits.private.keys.npk", request.item.npk, npk),
            ("circuits.private.keys.app_key", request.item.app_key, app_key),
        ] {
            if !gone(name) {
                assert_equal_if(b, present, got, expected);
            }
        }
    }
}

/// Where the part of a transaction starts that may be reverted.
struct Boundary {
    first: Var,
    is_set: Var,
}

impl Boundary {
    fn new(b: &mut Builder, first: Var) -> Self {
        let unset = b.is_zero(first);
        Self { first, is_set: not(b, unset) }
    }

    /// 1 for a counter in the part that may be reverted. Counters have 32 bits.
    fn is_after(&self, b: &mut Builder, counter: Var) -> Var {
        let distance = b.sub(counter, self.first);
        let before = is_negative(b, distance, COUNTER_BITS);
        let after = not(b, before);
        b.mul(self.is_set, after)
    }
}

/// The columns of a list: its words by their position.
fn column(entries: &[Vec<Var>], word: usize) -> Vec<Var> {
    entries.iter().map(|entry| entry[word]).collect()
}

/// The entries of a list of the state as words, the contract first.
fn rows<E: rollmill_protocol::layout::Cells<Var>, const N: usize>(
    entries: [E; N],
) -> Vec<Vec<Var>> {
    words(entries)
}
