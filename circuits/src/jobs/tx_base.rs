//! TxBase jobs: apply one transaction.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::proof::PROOF_BYTES;
use rollmill_protocol::block::txs_chain_next;
use rollmill_protocol::codec::{Reader, Writer};
use rollmill_protocol::gas::{self, FeePerGas, GasSettings};
use rollmill_protocol::note::fee_balance_slot;
use rollmill_protocol::plan::Subject;
use rollmill_protocol::state::{AnchorWitness, EffectsTransition};
use rollmill_protocol::tree::verify::membership;
use rollmill_protocol::tree::{
    ARCHIVE_HEIGHT, IndexedInsertion, IndexedLeaf, IndexedTree, IndexedUpdate, STATE_HEIGHT,
    SubtreeAppend, Tree, root_from_path, subtree_root,
};
use rollmill_protocol::tx::SLOTS;
use rollmill_protocol::{
    ChargedRows, Circuit, ClientInputs, Constants, Pair, Tx, TxEffects, TxRange, TxState,
    TxTransition, field,
};

use super::input::{Input, Job, RangeData, read_constants, write_path, zero, zeros};
use super::{JobError, Output, child};
use crate::children::Child;
use crate::keyset::KeySet;
use crate::tx_base::{self, TxBaseWitness};

const SLOTS_LOG: usize = SLOTS.trailing_zeros() as usize;

/// The input of a TxBase job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxBaseInput {
    pub witness: Box<TxBaseWitness>,
    pub anchor_header_hash: Fr,
    /// The client proof of the transaction, of [`PROOF_BYTES`] bytes.
    pub proof: Vec<u8>,
}

impl TxBaseInput {
    fn new(constants: &Constants, price: FeePerGas, tx: &Tx, transition: &TxTransition) -> Self {
        let witness = TxBaseWitness {
            constants: *constants,
            price,
            effects: tx.effects.clone(),
            transition: transition.clone(),
        };
        let mut proof = tx.client_proof.clone();
        // A proof of another length cannot be valid; the job then reports it instead of shifting bytes.
        proof.resize(PROOF_BYTES, 0);
        let (witness, anchor_header_hash) = (Box::new(witness), tx.anchor_header_hash);
        Self { witness, anchor_header_hash, proof }
    }
}

/// The input of a TxBase job. `constants` are [`KeySet::constants`].
pub fn tx_base_input(
    constants: &Constants,
    price: FeePerGas,
    tx: &Tx,
    transition: &TxTransition,
) -> Vec<u8> {
    Input::TxBase(TxBaseInput::new(constants, price, tx, transition)).to_bytes()
}

impl Job for TxBaseInput {
    fn circuit(&self) -> Circuit {
        Circuit::TxBase
    }

    // The one child is a client proof.
    fn children(&self) -> &[Output] {
        &[]
    }

    fn of(
        data: &dyn RangeData,
        subject: Subject,
        _: Vec<Output>,
    ) -> Result<Option<Self>, JobError> {
        let Subject::Tx { block, tx } = subject else { return Ok(None) };
        let made = data
            .tx(block, tx)
            .map(|(price, tx, transition)| Self::new(&data.constants(), price, tx, transition));
        Ok(made)
    }

    fn write(&self, out: &mut Writer) {
        let (w, anchor_header_hash) = (&self.witness, &self.anchor_header_hash);
        let effects = &w.transition.effects;
        out.frs(&w.constants.to_fields());
        out.u64(w.price.l2);
        out.u64(w.price.da);
        out.frs(&w.effects.to_fields());
        out.fr(anchor_header_hash);
        out.u64(w.transition.anchor.index);
        out.fr(&w.transition.anchor.archive_root);
        write_path(out, &w.transition.anchor.path, ARCHIVE_HEIGHT);
        out.frs(&effects.start.to_fields());
        write_path(out, &effects.notes.path, STATE_HEIGHT - SLOTS_LOG);
        for insertion in effects.nullifiers.iter().flatten() {
            out.fr(&insertion.low_leaf.key);
            out.fr(&insertion.low_leaf.next_key);
            out.u64(insertion.low_leaf.next_index);
            out.u64(insertion.low_index);
            write_path(out, &insertion.low_path, STATE_HEIGHT);
            write_path(out, &insertion.new_path, STATE_HEIGHT);
        }
        let payment = &effects.fee_payment;
        out.fr(&payment.leaf.value);
        out.fr(&payment.leaf.next_key);
        out.u64(payment.leaf.next_index);
        out.u64(payment.index);
        write_path(out, &payment.path, STATE_HEIGHT);
        out.fr(&effects.txs_chain_start);
        out.raw(&self.proof);
    }

    fn read(from: &mut Reader<'_>, _: Circuit) -> Result<Self, JobError> {
        let constants = read_constants(from)?;
        let price = FeePerGas { l2: from.u64()?, da: from.u64()? };
        let effects = TxEffects::from_fields(&from.frs(TxEffects::FIELDS)?)?;
        let anchor_header_hash = from.fr()?;
        let anchor = AnchorWitness {
            index: from.u64()?,
            archive_root: from.fr()?,
            path: from.frs(ARCHIVE_HEIGHT)?,
        };
        let (root, path) = (&anchor.archive_root, &anchor.path);
        membership(Tree::Archive, root, &anchor_header_hash, anchor.index, path)?;
        let transition = read_effects(from, &effects, price)?;
        let transition = TxTransition { anchor, effects: transition };
        let witness = Box::new(TxBaseWitness { constants, price, effects, transition });
        Ok(Self { witness, anchor_header_hash, proof: from.raw(PROOF_BYTES)?.to_vec() })
    }

    fn expected(&self, _: &ChargedRows, pair: Pair) -> Result<(Constants, Vec<Fr>), JobError> {
        let w = &self.witness;
        let range = TxRange::of_tx(&w.transition, w.constants, w.price, pair);
        Ok((w.constants, range.to_fields()))
    }

    fn build(&self, set: &KeySet) -> Result<Builder, JobError> {
        let constants = &self.witness.constants;
        let inputs = ClientInputs {
            chain_id: constants.chain_id,
            version: constants.version,
            anchor_header_hash: self.anchor_header_hash,
            tx_hash: self.witness.transition.effects.tx_hash,
        };
        let child = child(set, 0, Circuit::Client, &inputs.to_fields(), &self.proof)?;
        Ok(tx_base::build(&self.witness, &child))
    }

    fn dummy(circuit: Circuit) -> Builder {
        tx_base::build(&dummy_witness(), &Child::dummy(circuit))
    }
}

/// Decodes the witness of every tree operation and recomputes its result.
fn read_effects(
    from: &mut Reader<'_>,
    effects: &TxEffects,
    price: FeePerGas,
) -> Result<EffectsTransition, JobError> {
    let start = TxState::from_fields(&from.frs(TxState::FIELDS)?)?;
    let mut end = start;

    let notes = read_append(from, effects, &start)?;
    notes.verify(Tree::Notes, start.note_count)?;
    end.note_root = notes.root_after;
    end.note_count = start.note_count.saturating_add(SLOTS as u64);

    let mut nullifiers = [const { None }; SLOTS];
    for (slot, key) in nullifiers.iter_mut().zip(effects.present_nullifiers()) {
        let insertion = read_insertion(from, *key, &end)?;
        end.nullifier_root = insertion.root_after;
        // Below 2^32, as the insertion's index is.
        end.nullifier_count += 1;
        *slot = Some(insertion);
    }

    let fee = gas::fee(price)
        .filter(|_| effects.gas.allows(price) && effects.gas.covers_use())
        .ok_or(JobError::Fee { what: "the prices are not what the transaction allows" })?;
    let fee_payment = read_payment(from, effects, fee, &start)?;
    end.public_data_root = fee_payment.root_after;
    let (tx_hash, txs_chain_start) = (effects.tx_hash(), from.fr()?);
    let txs_chain_end = txs_chain_next(&txs_chain_start, &tx_hash);
    Ok(EffectsTransition {
        tx_hash,
        start,
        end,
        notes,
        nullifiers,
        fee_payment,
        fee,
        txs_chain_start,
        txs_chain_end,
    })
}

fn read_append(
    from: &mut Reader<'_>,
    effects: &TxEffects,
    start: &TxState,
) -> Result<SubtreeAppend, JobError> {
    let path = from.frs(STATE_HEIGHT - SLOTS_LOG)?;
    let subtree_root = subtree_root(&effects.note_hashes);
    let root_after = root_from_path(&subtree_root, start.note_count >> SLOTS_LOG, &path);
    Ok(SubtreeAppend {
        start_index: start.note_count,
        leaves: effects.note_hashes.to_vec(),
        subtree_root,
        path,
        root_before: start.note_root,
        root_after,
    })
}

fn read_insertion(
    from: &mut Reader<'_>,
    key: Fr,
    tree: &TxState,
) -> Result<IndexedInsertion, JobError> {
    let low_leaf = IndexedLeaf {
        key: from.fr()?,
        value: Fr::from(0u64),
        next_key: from.fr()?,
        next_index: from.u64()?,
    };
    let low_index = from.u64()?;
    let low_path = from.frs(STATE_HEIGHT)?;
    let new_path = from.frs(STATE_HEIGHT)?;
    let mut insertion = IndexedInsertion {
        key,
        value: Fr::from(0u64),
        low_leaf,
        low_index,
        low_path,
        new_index: tree.nullifier_count,
        new_path,
        root_before: tree.nullifier_root,
        root_between: Fr::from(0u64),
        root_after: Fr::from(0u64),
    };
    insertion.complete(IndexedTree::Nullifiers, tree.nullifier_count)?;
    Ok(insertion)
}

fn read_payment(
    from: &mut Reader<'_>,
    effects: &TxEffects,
    fee: u64,
    start: &TxState,
) -> Result<IndexedUpdate, JobError> {
    let slot = fee_balance_slot(&effects.fee_payer);
    let leaf =
        IndexedLeaf { key: slot, value: from.fr()?, next_key: from.fr()?, next_index: from.u64()? };
    let index = from.u64()?;
    let path = from.frs(STATE_HEIGHT)?;
    let left = field::to_u64("balance", &leaf.value)?.checked_sub(fee);
    let left = left.ok_or(JobError::Fee { what: "the balance is below the fee" })?;
    let mut payment = IndexedUpdate {
        leaf,
        index,
        path,
        value_after: Fr::from(left),
        root_before: start.public_data_root,
        root_after: Fr::from(0u64),
    };
    let after = payment.leaf_after().hash(IndexedTree::PublicData);
    payment.root_after = root_from_path(&after, index, &payment.path);
    payment.verify(IndexedTree::PublicData, &slot)?;
    Ok(payment)
}

fn dummy_witness() -> TxBaseWitness {
    let notes = SubtreeAppend {
        start_index: 0,
        leaves: Vec::new(),
        subtree_root: zero(),
        path: Vec::new(),
        root_before: zero(),
        root_after: zero(),
    };
    let fee_payment = IndexedUpdate {
        leaf: IndexedLeaf::default(),
        index: 0,
        path: Vec::new(),
        value_after: zero(),
        root_before: zero(),
        root_after: zero(),
    };
    TxBaseWitness {
        constants: zeros!(Constants),
        price: FeePerGas { l2: 0, da: 0 },
        effects: TxEffects {
            nullifiers: [zero(); SLOTS],
            note_hashes: [zero(); SLOTS],
            tags: [zero(); SLOTS],
            log_hashes: [zero(); SLOTS],
            messages: [zero(); 2],
            fee_payer: zero(),
            gas: GasSettings::default(),
        },
        transition: TxTransition {
            anchor: AnchorWitness { index: 0, path: Vec::new(), archive_root: zero() },
            effects: EffectsTransition {
                tx_hash: zero(),
                start: zeros!(TxState),
                end: zeros!(TxState),
                notes,
                nullifiers: [const { None }; SLOTS],
                fee_payment,
                fee: 0,
                txs_chain_start: zero(),
                txs_chain_end: zero(),
            },
        },
    }
}
