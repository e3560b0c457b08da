//! The client circuit: a private transfer.
//!
//! It spends up to two notes and creates two. The public inputs are chain, version, key root, protocol version, the
//! anchor header's hash and the transaction's hash, which covers everything that the transaction reveals, and the
//! trivial pair, since it verifies nothing. The rest stays with the sender. Proofs of this circuit are blinded.
//!
//! The proof shows:
//! - the sender knows the nullifier key of the address that owns every real input, and of the address that pays the fee,
//!   if one does;
//! - real inputs are leaves of the anchor's note tree;
//! - nullifiers and new leaves follow the rules, and tags are those of the built-in contract;
//! - input and output values are below 2^64 and balance with what enters and leaves the notes;
//! - slots that a transfer does not use are zero, and a refund has a note exactly if no address pays;
//! - tags and log hashes have the form that nodes require. TxBase opens the logs.
//!
//! Key root and protocol version are free: the proof needs neither, and TxBase requires its own.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::gas::GasSettings;
use rollmill_protocol::header::{Header, HeaderLayout};
use rollmill_protocol::note::{self, BUILT_IN_CONTRACT, NoteOrigin, ViewingKey};
use rollmill_protocol::public_inputs::{ClientInputsLayout, PairLayout};
use rollmill_protocol::tree::NOTE_HEIGHT;
use rollmill_protocol::tx::{MESSAGES, SLOTS, TxEffects, TxEffectsLayout};
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::{EthAddress, Note, Pair, domain};

use crate::gadgets::effects::{header, header_hash, tx_hash};
use crate::gadgets::merkle::{place, root, siblings};
use crate::gadgets::shape::assert_absent_last;
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
            path: vec![Fr::from(0u64); NOTE_HEIGHT],
        }
    }

    /// The note, for the sender's address.
    pub fn note(&self, owner: Fr) -> Note {
        Note { owner, value: self.value, randomness: self.randomness }
    }
}

/// The keys of an account without a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountKeys {
    /// The nullifier key. Secret.
    pub nsk: Fr,
    /// The public viewing key.
    pub viewing: ViewingKey,
}

impl AccountKeys {
    /// The account's address.
    pub fn address(&self) -> Fr {
        let keys = note::keys_hash(&note::npk(&self.nsk), &self.viewing);
        note::address(&keys, &Fr::from(0u64))
    }
}

/// Who pays the fee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    /// The balance of this account.
    Account(AccountKeys),
    /// The value that leaves the notes. What is left comes back in a note of this owner.
    Notes { owner: Fr, randomness: Fr },
}

/// Everything that determines a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientWitness {
    /// The sender, who owns the inputs.
    pub sender: AccountKeys,
    /// The header whose note tree the inputs are in.
    pub anchor: Header,
    pub inputs: [InputNote; INPUTS],
    pub outputs: [Note; OUTPUTS],
    /// Tags of the logs, before the contract is hashed into them.
    pub tags: [Fr; SLOTS],
    pub log_hashes: [Fr; SLOTS],
    pub payer: Payer,
    pub gas: GasSettings,
    /// Values that enter and leave the notes.
    pub notes_in: u64,
    pub notes_out: u64,
    pub claim_index: u64,
    pub claim_amount: u64,
    pub withdraw_recipient: EthAddress,
    pub withdraw_amount: u64,
    pub expiry_slot: u64,
    /// Root of the key tree, which a deployment's node names.
    pub vk_root: Fr,
}

impl ClientWitness {
    /// The sender's address.
    pub fn address(&self) -> Fr {
        self.sender.address()
    }

    /// The public effects of the transfer.
    pub fn effects(&self) -> TxEffects {
        let zero = Fr::from(0u64);
        let owner = self.address();
        let mut nullifiers = [zero; SLOTS];
        for (slot, input) in nullifiers.iter_mut().zip(&self.inputs) {
            let unique = input.note(owner).unique(&input.origin);
            *slot = note::nullifier(&unique, &self.sender.nsk);
        }
        let mut note_hashes = [zero; SLOTS];
        for (i, (slot, note)) in note_hashes.iter_mut().zip(&self.outputs).enumerate() {
            *slot = note.unique(&NoteOrigin { first_nullifier: nullifiers[0], index: i as u64 });
        }
        let contract = Fr::from(BUILT_IN_CONTRACT);
        let mut tags = [zero; SLOTS];
        let logs = self.tags.iter().zip(&self.log_hashes).filter(|(_, log)| **log != zero);
        for (slot, (tag, _)) in tags.iter_mut().zip(logs) {
            *slot = note::silo_tag(&contract, tag);
        }
        let (fee_payer, refund_partial) = match &self.payer {
            Payer::Account(keys) => (keys.address(), zero),
            Payer::Notes { owner, randomness } => (zero, note::note_partial(owner, randomness)),
        };
        TxEffects {
            nullifiers,
            note_hashes,
            tags,
            log_hashes: self.log_hashes,
            messages: [zero; MESSAGES],
            public_calls_hash: zero,
            fee_payer,
            gas: self.gas,
            notes_in: self.notes_in,
            notes_out: self.notes_out,
            claim_index: self.claim_index,
            claim_amount: self.claim_amount,
            withdraw_recipient: self.withdraw_recipient,
            withdraw_amount: self.withdraw_amount,
            refund_partial,
            expiry_slot: self.expiry_slot,
        }
    }
}

struct Sender {
    nsk: Var,
    address: Var,
}

/// The address of an account without a contract, whose nullifier key the prover knows.
fn account(b: &mut Builder, keys: &AccountKeys) -> Sender {
    let nsk = b.witness(keys.nsk);
    let npk = b.hash(domain::NPK, &[nsk]);
    let (vx, vy) = (b.witness(keys.viewing.x), b.witness(keys.viewing.y));
    let keys = b.hash(domain::KEYS, &[npk, vx, vy]);
    // With another partial the account has a contract, which decides over its notes.
    let partial = Builder::ZERO;
    Sender { nsk, address: b.hash(domain::ADDRESS, &[keys, partial]) }
}

/// The fee payer, and the refund's partial: exactly one of them is there.
fn payer(b: &mut Builder, payer: &Payer) -> [Var; 2] {
    let zero = Fr::from(0u64);
    match payer {
        Payer::Account(keys) => payer_given(b, keys, [zero; 2], Fr::from(1u64)),
        Payer::Notes { owner, randomness } => {
            let nobody = AccountKeys { nsk: zero, viewing: ViewingKey { x: zero, y: zero } };
            payer_given(b, &nobody, [*owner, *randomness], zero)
        }
    }
}

/// [`payer`] with the word as the prover chooses it that says whether the account pays.
fn payer_given(b: &mut Builder, keys: &AccountKeys, refund: [Fr; 2], pays: Fr) -> [Var; 2] {
    let pays = b.witness(pays);
    if !gone("circuits.client.payer.bit") {
        b.assert_bool(pays);
    }
    let address = account(b, keys).address;
    let refund = refund.map(|word| b.witness(word));
    let partial = b.hash(domain::NOTE_PARTIAL, &refund);
    [b.select(pays, address, Builder::ZERO), b.select(pays, Builder::ZERO, partial)]
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
    let partial = b.hash(domain::NOTE_PARTIAL, &[sender.address, randomness]);
    let note_hash = b.hash(domain::NOTE, &[partial, value]);
    let unique = b.hash(domain::UNIQUE_NOTE, &[first_nullifier, origin_index, note_hash]);
    let index = b.witness(Fr::from(input.leaf_index.unwrap_or(0)));
    let at = place(b, index, NOTE_HEIGHT);
    let path = siblings(b, &input.path, NOTE_HEIGHT);
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
    let partial = b.hash(domain::NOTE_PARTIAL, &[owner, randomness]);
    let note_hash = b.hash(domain::NOTE, &[partial, value]);
    let index = b.constant_u64(index as u64);
    (value, b.hash(domain::UNIQUE_NOTE, &[first_nullifier, index, note_hash]))
}

/// The published tags and log hashes: a log has a tag of the built-in contract, and absent ones come last.
fn logs(b: &mut Builder, w: &ClientWitness) -> [[Var; SLOTS]; 2] {
    let tags = w.tags.map(|tag| b.witness(tag));
    let log_hashes = w.log_hashes.map(|hash| b.witness(hash));
    let absent = assert_absent_last(b, &log_hashes);
    let contract = b.constant_u64(BUILT_IN_CONTRACT);
    let mut siloed = [Builder::ZERO; SLOTS];
    for (i, (tag, absent)) in tags.into_iter().zip(absent).enumerate() {
        // An absent tag is no free word.
        if !gone("circuits.client.logs.paired") {
            assert_either_zero(b, absent, tag);
        }
        let hash = b.hash(domain::SILO_TAG, &[contract, tag]);
        siloed[i] = b.select(absent, Builder::ZERO, hash);
    }
    [siloed, log_hashes]
}

/// The circuit without the publication of its public inputs, which it returns.
pub fn constrain(b: &mut Builder, w: &ClientWitness) -> ClientInputsLayout<Var> {
    constrain_with_effects(b, w).0
}

/// [`constrain`], with the effects whose hash is among the public inputs.
pub fn constrain_with_effects(
    b: &mut Builder,
    w: &ClientWitness,
) -> (ClientInputsLayout<Var>, TxEffectsLayout<Var>) {
    b.section("keys and anchor");
    let sender = account(b, &w.sender);
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
    let mut nullifiers = [Builder::ZERO; SLOTS];
    let mut note_hashes = [Builder::ZERO; SLOTS];
    for (slot, (_, nullifier)) in nullifiers.iter_mut().zip(&spent) {
        *slot = *nullifier;
    }
    for (slot, (_, leaf)) in note_hashes.iter_mut().zip(&made) {
        *slot = *leaf;
    }
    b.section("effects");
    let effects = effects(b, w, nullifiers, note_hashes);
    // Sums of three values below 2^64 do not wrap.
    let one = Fr::from(1u64);
    let balance = [
        (one, spent[0].0),
        (one, spent[1].0),
        (one, effects.notes_in),
        (-one, made[0].0),
        (-one, made[1].0),
        (-one, effects.notes_out),
    ];
    if !gone("circuits.client.balance") {
        b.linear_into(&balance, Fr::from(0u64), Builder::ZERO);
    }
    let inputs = ClientInputsLayout {
        chain_id: anchor.chain_id,
        version: anchor.version,
        vk_root: b.witness(w.vk_root),
        protocol_version: b.witness(Fr::from(PROTOCOL_VERSION)),
        anchor_header_hash,
        tx_hash: tx_hash(b, &effects),
        pair: PairLayout::of(&Pair::trivial()).map(|word| b.constant(word)),
    };
    (inputs, effects)
}

/// A value that enters or leaves the notes.
fn moved(b: &mut Builder, value: Fr) -> Var {
    let value = b.witness(value);
    if !gone("circuits.client.notes") {
        range_u64(b, value);
    }
    value
}

/// The effects of a transfer that spends and makes these notes.
fn effects(
    b: &mut Builder,
    w: &ClientWitness,
    nullifiers: [Var; SLOTS],
    note_hashes: [Var; SLOTS],
) -> TxEffectsLayout<Var> {
    let [tags, log_hashes] = logs(b, w);
    let [fee_payer, refund_partial] = payer(b, &w.payer);
    let [notes_in, notes_out] = [w.notes_in, w.notes_out].map(|value| moved(b, value.into()));
    // The rest is what the sender wants, and TxBase holds it to the rules.
    let mut word = |word: Fr| b.witness(word);
    TxEffectsLayout {
        nullifiers,
        note_hashes,
        tags,
        log_hashes,
        messages: [Builder::ZERO; MESSAGES],
        public_calls_hash: Builder::ZERO,
        fee_payer,
        gas: w.gas.layout().map(&mut word),
        notes_in,
        notes_out,
        claim_index: word(w.claim_index.into()),
        claim_amount: word(w.claim_amount.into()),
        withdraw_recipient: word(w.withdraw_recipient.to_field()),
        withdraw_amount: word(w.withdraw_amount.into()),
        refund_partial,
        expiry_slot: word(w.expiry_slot.into()),
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
    use super::*;
    use ark_ff::Field;
    use rollmill_plonk::check::check;
    use rollmill_plonk::gates::power_of_two;
    use rollmill_protocol::tree::root_from_path;

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
            let moves = holds(|b| {
                moved(b, value);
            });
            assert_eq!(moves, good, "moving {value}");
            let input = InputNote { leaf_index: Some(3), ..InputNote::dummy(one) };
            let hash = |tag, inputs: &[Fr]| rollmill_algebra::poseidon2::hash(tag, inputs);
            let note_hash = hash(domain::NOTE, &[note::note_partial(&owner, &one), value]);
            let leaf = note::unique(&input.origin, &note_hash);
            let spends = holds(|b| {
                let sender = Sender { nsk: b.witness(nsk), address: b.witness(owner) };
                let note_root = b.witness(root_from_path(&leaf, 3, &input.path));
                spend(b, &sender, note_root, &input, value);
            });
            assert_eq!(spends, good, "spending {value}");
        }
    }
    /// Attack: a "bit" that makes the address of somebody else of the one whose key the prover knows.
    #[test]
    fn nobody_pays_without_a_key() {
        let (own, victim) = ([5, 6, 7].map(Fr::from), Fr::from(4321u64));
        let [nsk, x, y] = own;
        let keys = AccountKeys { nsk, viewing: ViewingKey { x, y } };
        let paying = |pays: Fr| {
            let mut b = Builder::new(0, 10);
            let [payer, _] = payer_given(&mut b, &keys, [Fr::from(0u64); 2], pays);
            let payer = b.value(payer);
            let (layout, witness) = b.finish(None).unwrap();
            (payer, check(&layout, &witness).is_ok())
        };
        assert_eq!(paying(Fr::from(1u64)), (keys.address(), true));
        assert_eq!(paying(Fr::from(0u64)), (Fr::from(0u64), true));
        let forged = victim * keys.address().inverse().unwrap();
        assert_eq!(paying(forged), (victim, false));
    }
}
