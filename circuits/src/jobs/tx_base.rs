//! TxBase jobs: apply one transaction.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::Builder;
use rollmill_plonk::proof::PROOF_BYTES;
use rollmill_protocol::blob::blob_z;
use rollmill_protocol::block::{BlockBody, txs_chain_next};
use rollmill_protocol::codec::{DecodeError, Reader, Writer};
use rollmill_protocol::gas::{self, FeePerGas, Gas, GasSettings};
use rollmill_protocol::message::{claim_nullifier, deposit_leaf};
use rollmill_protocol::note::{fee_balance_slot, refund_leaf};
use rollmill_protocol::plan::Subject;
use rollmill_protocol::state::{
    AnchorWitness, BalanceChange, ClaimTransition, EffectsTransition, Settlement, TxGlobals,
    what_is_left,
};
use rollmill_protocol::tree::verify::membership;
use rollmill_protocol::tree::{
    ARCHIVE_HEIGHT, IndexedInsertion, IndexedLeaf, IndexedTree, IndexedUpdate, MESSAGE_HEIGHT,
    NOTE_HEIGHT, SubtreeAppend, Tree, root_from_path, subtree_root,
};
use rollmill_protocol::tx::{LOG_WORDS, REFUND_SLOT, SLOTS};
use rollmill_protocol::{
    Block, ChargedRows, Circuit, ClientInputs, Commitment, Constants, EthAddress, Pair, ProofKind,
    Tx, TxEffects, TxRange, TxState, TxTransition, field,
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
    /// What made the client proof, and so the key that it is verified under.
    pub proof_kind: ProofKind,
    /// What is still owed for the proofs below the client proof.
    pub pair: Pair,
    /// The client proof of the transaction, of [`PROOF_BYTES`] bytes.
    pub proof: Vec<u8>,
}

impl TxBaseInput {
    fn new(
        constants: Constants,
        block: &Block,
        commitment: Commitment,
        tx: &Tx,
        transition: &TxTransition,
    ) -> Self {
        let header = &block.header;
        let witness = TxBaseWitness {
            constants,
            slot: header.slot,
            price: header.fee_per_gas(),
            z: blob_z(&header.txs_chain, &commitment),
            body: tx.body.clone(),
            transition: transition.clone(),
        };
        let mut proof = tx.client_proof.clone();
        // A proof of another length cannot be valid; the job then reports it instead of shifting bytes.
        proof.resize(PROOF_BYTES, 0);
        let (witness, anchor_header_hash) = (Box::new(witness), tx.anchor_header_hash);
        Self { witness, anchor_header_hash, proof_kind: tx.proof_kind, pair: tx.pair, proof }
    }
}

/// The input of a TxBase job. `constants` are [`KeySet::constants`], and the commitment is that of the block's data.
pub fn tx_base_input(
    constants: Constants,
    block: &Block,
    commitment: Commitment,
    tx: &Tx,
    transition: &TxTransition,
) -> Vec<u8> {
    Input::TxBase(TxBaseInput::new(constants, block, commitment, tx, transition)).to_bytes()
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
        let (Some((of, commitment, _)), Some((tx, transition))) =
            (data.block(block), data.tx(block, tx))
        else {
            return Ok(None);
        };
        Ok(Some(Self::new(data.constants(), of, commitment, tx, transition)))
    }

    fn write(&self, out: &mut Writer) {
        let (w, anchor_header_hash) = (&self.witness, &self.anchor_header_hash);
        let effects = &w.transition.effects;
        out.frs(&w.constants.to_fields());
        out.u64(w.slot);
        out.u64(w.price.l2);
        out.u64(w.price.da);
        out.fr(&w.z);
        out.frs(&w.body.effects.to_fields());
        w.body.logs.iter().for_each(|log| out.frs(log));
        out.fr(anchor_header_hash);
        out.u64(w.transition.anchor.index);
        out.fr(&w.transition.anchor.archive_root);
        write_path(out, &w.transition.anchor.path, ARCHIVE_HEIGHT);
        out.frs(&effects.start.to_fields());
        write_path(out, &effects.notes.path, NOTE_HEIGHT - SLOTS_LOG);
        for insertion in effects.nullifiers.iter().flatten() {
            write_insertion(out, IndexedTree::Nullifiers, insertion);
        }
        out.fr(&effects.message_root);
        if let Some(claim) = &effects.claim {
            write_path(out, &claim.path, MESSAGE_HEIGHT);
            write_insertion(out, IndexedTree::Nullifiers, &claim.insertion);
        }
        if let Settlement::Payer { change, .. } = &effects.settlement {
            write_change(out, change);
        }
        out.fr(&effects.txs_chain_start);
        self.proof_kind.write(&self.pair, out);
        out.raw(&self.proof);
    }

    fn read(from: &mut Reader<'_>, _: Circuit) -> Result<Self, JobError> {
        let constants = read_constants(from)?;
        let slot = from.u64()?;
        let price = FeePerGas { l2: from.u64()?, da: from.u64()? };
        let z = from.fr()?;
        let effects = TxEffects::from_fields(&from.frs(TxEffects::FIELDS)?)?;
        let words = from.frs(effects.log_count() * LOG_WORDS)?;
        let logs = words.as_chunks::<LOG_WORDS>().0.to_vec();
        effects.check_logs(&logs).map_err(DecodeError::from)?;
        let body = BlockBody { effects, logs };
        let anchor_header_hash = from.fr()?;
        let anchor = AnchorWitness {
            index: from.u64()?,
            archive_root: from.fr()?,
            path: from.frs(ARCHIVE_HEIGHT)?,
        };
        let (root, path) = (&anchor.archive_root, &anchor.path);
        membership(Tree::Archive, root, &anchor_header_hash, anchor.index, path)?;
        if slot > body.effects.expiry_slot {
            return Err(JobError::Transaction { what: "it has expired" });
        }
        let transition = read_effects(from, &body.effects, price)?;
        let transition = TxTransition { anchor, effects: transition };
        let witness = Box::new(TxBaseWitness { constants, slot, price, z, body, transition });
        let (proof_kind, pair) = ProofKind::read(from)?;
        let proof = from.raw(PROOF_BYTES)?.to_vec();
        Ok(Self { witness, anchor_header_hash, proof_kind, pair, proof })
    }

    fn expected(&self, _: &ChargedRows, pair: Pair) -> Result<(Constants, Vec<Fr>), JobError> {
        let TxBaseWitness { constants, slot, price, z, body, transition } = &*self.witness;
        let globals = TxGlobals {
            chain_id: constants.chain_id,
            version: constants.version,
            slot: *slot,
            price: *price,
            // The range states what the transaction used; the block's limit is BlockRoot's.
            gas_left: transition.effects.used,
        };
        let range = TxRange::of_tx(transition, body, *constants, &globals, *z, pair);
        Ok((*constants, range.to_fields()))
    }

    fn build(&self, set: &KeySet) -> Result<Builder, JobError> {
        let constants = &self.witness.constants;
        let inputs = ClientInputs {
            chain_id: constants.chain_id,
            version: constants.version,
            vk_root: constants.vk_root,
            protocol_version: constants.protocol_version,
            anchor_header_hash: self.anchor_header_hash,
            tx_hash: self.witness.transition.effects.tx_hash,
            pair: self.pair,
        };
        let circuit = self.proof_kind.circuit();
        let child = child(set, 0, circuit, &inputs.to_fields(), &self.proof)?;
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
    let used = effects.gas.used().filter(|_| effects.gas.allows(price));
    let charged = used.and_then(|used| Some((used, gas::fee(price, used)?)));
    let (used, fee) = charged
        .ok_or(JobError::Transaction { what: "it does not allow the prices, or their use" })?;

    let notes_path = from.frs(NOTE_HEIGHT - SLOTS_LOG)?;
    let mut nullifiers = [const { None }; SLOTS];
    for (slot, key) in nullifiers.iter_mut().zip(effects.present_nullifiers()) {
        *slot = Some(read_nullifier(from, *key, &mut end)?);
    }
    let message_root = from.fr()?;
    let claim = match effects.claim_amount {
        0 => None,
        _ => Some(read_claim(from, effects, &message_root, &mut end)?),
    };
    let settlement = read_settlement(from, effects, fee, &mut end)?;

    let mut leaves = effects.note_hashes;
    if let Settlement::Refund { leaf, .. } = &settlement {
        leaves[REFUND_SLOT] = *leaf;
    }
    let notes = append_of(leaves, notes_path, &start);
    notes.verify(Tree::Notes, start.note_count)?;
    end.note_root = notes.root_after;
    end.note_count = start.note_count.saturating_add(SLOTS as u64);

    let (tx_hash, txs_chain_start) = (effects.tx_hash(), from.fr()?);
    let txs_chain_end = txs_chain_next(&txs_chain_start, &tx_hash);
    Ok(EffectsTransition {
        tx_hash,
        start,
        end,
        notes,
        nullifiers,
        claim,
        settlement,
        message_root,
        used,
        fee,
        out_leaves: effects.out_leaves(),
        txs_chain_start,
        txs_chain_end,
    })
}

fn append_of(leaves: [Fr; SLOTS], path: Vec<Fr>, start: &TxState) -> SubtreeAppend {
    let subtree_root = subtree_root(&leaves);
    let root_after = root_from_path(&subtree_root, start.note_count >> SLOTS_LOG, &path);
    SubtreeAppend {
        start_index: start.note_count,
        leaves: leaves.to_vec(),
        subtree_root,
        path,
        root_before: start.note_root,
        root_after,
    }
}

/// Writes an insertion without what follows from the key and the tree.
fn write_insertion(out: &mut Writer, tree: IndexedTree, insertion: &IndexedInsertion) {
    let height = tree.tree().height();
    let low = &insertion.low_leaf;
    out.fr(&low.key);
    if tree == IndexedTree::PublicData {
        out.fr(&low.value);
    }
    out.fr(&low.next_key);
    out.u64(low.next_index);
    out.u64(insertion.low_index);
    write_path(out, &insertion.low_path, height);
    write_path(out, &insertion.new_path, height);
}

/// Reads an insertion into a tree of this root and count, and checks it.
fn read_insertion(
    from: &mut Reader<'_>,
    tree: IndexedTree,
    (key, value): (Fr, Fr),
    (root_before, count): (Fr, u64),
) -> Result<IndexedInsertion, JobError> {
    let height = tree.tree().height();
    let low_leaf = IndexedLeaf {
        key: from.fr()?,
        value: if tree == IndexedTree::PublicData { from.fr()? } else { zero() },
        next_key: from.fr()?,
        next_index: from.u64()?,
    };
    let mut insertion = IndexedInsertion {
        key,
        value,
        low_leaf,
        low_index: from.u64()?,
        low_path: from.frs(height)?,
        new_index: count,
        new_path: from.frs(height)?,
        root_before,
        root_between: zero(),
        root_after: zero(),
    };
    insertion.complete(tree, count)?;
    Ok(insertion)
}

/// Reads the insertion of a nullifier and applies it to the state.
fn read_nullifier(
    from: &mut Reader<'_>,
    key: Fr,
    end: &mut TxState,
) -> Result<IndexedInsertion, JobError> {
    let before = (end.nullifier_root, end.nullifier_count);
    let insertion = read_insertion(from, IndexedTree::Nullifiers, (key, zero()), before)?;
    end.nullifier_root = insertion.root_after;
    // Below 2^40, as the insertion's index is.
    end.nullifier_count += 1;
    Ok(insertion)
}

fn read_claim(
    from: &mut Reader<'_>,
    effects: &TxEffects,
    message_root: &Fr,
    end: &mut TxState,
) -> Result<ClaimTransition, JobError> {
    let index = effects.claim_index;
    let leaf = deposit_leaf(&effects.fee_payer, effects.claim_amount, index);
    let path = from.frs(MESSAGE_HEIGHT)?;
    membership(Tree::Messages, message_root, &leaf, index, &path)?;
    let insertion = read_nullifier(from, claim_nullifier(&leaf), end)?;
    Ok(ClaimTransition { leaf, path, insertion })
}

/// Tells an update from an insertion.
const UPDATED: u8 = 0;
const INSERTED: u8 = 1;

fn write_change(out: &mut Writer, change: &BalanceChange) {
    match change {
        BalanceChange::Update(update) => {
            out.u8(UPDATED);
            out.fr(&update.leaf.value);
            out.fr(&update.leaf.next_key);
            out.u64(update.leaf.next_index);
            out.u64(update.index);
            write_path(out, &update.path, Tree::PublicData.height());
        }
        BalanceChange::Insert(insertion) => {
            out.u8(INSERTED);
            write_insertion(out, IndexedTree::PublicData, insertion);
        }
    }
}

fn read_settlement(
    from: &mut Reader<'_>,
    effects: &TxEffects,
    fee: u64,
    end: &mut TxState,
) -> Result<Settlement, JobError> {
    const TREE: IndexedTree = IndexedTree::PublicData;
    let left = |before| {
        let left = what_is_left(effects, before, fee);
        left.map_err(|_| JobError::Transaction {
            what: "its value does not suffice, or is too large",
        })
    };
    if !effects.has_payer() {
        let value = left(0)?;
        let leaf = refund_leaf(&effects.nullifiers[0], &effects.refund_partial, value);
        return Ok(Settlement::Refund { value, leaf });
    }
    let slot = fee_balance_slot(&effects.fee_payer);
    let (root, count) = (end.public_data_root, end.public_data_count);
    let (before, after, change) = match from.u8()? {
        UPDATED => {
            let (value, next_key) = (from.fr()?, from.fr()?);
            let leaf = IndexedLeaf { key: slot, value, next_key, next_index: from.u64()? };
            let before = field::to_u64("balance", &leaf.value)?;
            let after = left(before)?;
            let mut update = IndexedUpdate {
                leaf,
                index: from.u64()?,
                path: from.frs(Tree::PublicData.height())?,
                value_after: after.into(),
                root_before: root,
                root_after: zero(),
            };
            let hash = update.leaf_after().hash(TREE);
            update.root_after = root_from_path(&hash, update.index, &update.path);
            update.verify(TREE, &slot)?;
            (before, after, BalanceChange::Update(update))
        }
        INSERTED => {
            let after = left(0)?;
            let insertion = read_insertion(from, TREE, (slot, after.into()), (root, count))?;
            // Below 2^32, as the insertion's index is.
            end.public_data_count += 1;
            (0, after, BalanceChange::Insert(insertion))
        }
        got => {
            let (what, max, got) = ("balance change", INSERTED.to_string(), got.to_string());
            return Err(DecodeError::OutOfRange { what, max, got }.into());
        }
    };
    end.public_data_root = change.root_after();
    Ok(Settlement::Payer { before, after, change })
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
    // Effects of zeros are none that a transaction can have, but the layout does not depend on them.
    let word = [zero(); SLOTS];
    let effects = TxEffects {
        nullifiers: word,
        note_hashes: word,
        tags: word,
        log_hashes: word,
        messages: [zero(); 2],
        public_calls_hash: zero(),
        fee_payer: zero(),
        gas: GasSettings::default(),
        notes_in: 0,
        notes_out: 0,
        claim_index: 0,
        claim_amount: 0,
        withdraw_recipient: EthAddress::default(),
        withdraw_amount: 0,
        refund_partial: zero(),
        expiry_slot: 0,
    };
    TxBaseWitness {
        constants: zeros!(Constants),
        slot: 0,
        price: FeePerGas { l2: 0, da: 0 },
        z: zero(),
        body: BlockBody { effects, logs: Vec::new() },
        transition: TxTransition {
            anchor: AnchorWitness { index: 0, path: Vec::new(), archive_root: zero() },
            effects: EffectsTransition {
                tx_hash: zero(),
                start: zeros!(TxState),
                end: zeros!(TxState),
                notes,
                nullifiers: [const { None }; SLOTS],
                claim: None,
                settlement: Settlement::Refund { value: 0, leaf: zero() },
                message_root: zero(),
                used: Gas::default(),
                fee: 0,
                out_leaves: [zero(); 2],
                txs_chain_start: zero(),
                txs_chain_end: zero(),
            },
        },
    }
}
