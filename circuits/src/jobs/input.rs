//! Job inputs: one canonical byte string each, holding the children's proofs and the witness.
//!
//! Format byte, role, then the parts in the order in which they are written here. Reading is strict, and
//! what can be computed from the rest (roots after an operation, hashes, fees) is not in the bytes but
//! computed, so that an input has one encoding and a wrong one is refused before anything is proven.

use rollmill_algebra::Fr;
use rollmill_plonk::proof::PROOF_BYTES;
use rollmill_protocol::block::txs_chain_next;
use rollmill_protocol::circuit::Family;
use rollmill_protocol::codec::{DecodeError, Reader, Writer};
use rollmill_protocol::gas::{self, FeePerGas};
use rollmill_protocol::note::fee_balance_slot;
use rollmill_protocol::state::{AnchorWitness, EffectsTransition};
use rollmill_protocol::tree::verify::membership;
use rollmill_protocol::tree::{
    ARCHIVE_HEIGHT, IndexedInsertion, IndexedLeaf, IndexedTree, IndexedUpdate, STATE_HEIGHT,
    SubtreeAppend, Tree, WitnessError, root_from_path, subtree_root,
};
use rollmill_protocol::tx::SLOTS;
use rollmill_protocol::{
    Circuit, Constants, EthAddress, Header, TxEffects, TxState, TxTransition, field,
};

use super::{JobError, Output};
use crate::tx_base::TxBaseWitness;

const FORMAT: u8 = 1;
const SLOTS_LOG: usize = SLOTS.trailing_zeros() as usize;

/// What BlockRoot knows besides its children and the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockInput {
    pub constants: Constants,
    pub prover_id: EthAddress,
    pub parent: Header,
    pub header: Header,
    pub parent_path: Vec<Fr>,
    pub append_path: Vec<Fr>,
    pub chain_prev: Fr,
    pub data_hash: Fr,
}

/// A job input, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    TxBase { witness: Box<TxBaseWitness>, anchor_header_hash: Fr, proof: Vec<u8> },
    TxMerge { children: [Output; 2] },
    BlockRoot { block: Box<BlockInput>, children: Vec<Output> },
    BlockMerge { children: [Output; 2] },
    EpochRoot { slots_per_epoch: u64, children: Vec<Output> },
}

impl Input {
    /// The circuit that proves this input.
    pub fn circuit(&self) -> Circuit {
        match self {
            Self::TxBase { .. } => Circuit::TxBase,
            Self::TxMerge { .. } => Circuit::TxMerge,
            Self::BlockRoot { children, .. } => crate::block_root::variant(children.len()),
            Self::BlockMerge { .. } => Circuit::BlockMerge,
            Self::EpochRoot { children, .. } => crate::epoch_root::variant(children.len()),
        }
    }

    /// The children that ranges come from; none for TxBase, whose child is a client proof.
    pub fn children(&self) -> &[Output] {
        match self {
            Self::TxBase { .. } => &[],
            Self::TxMerge { children } | Self::BlockMerge { children } => children,
            Self::BlockRoot { children, .. } | Self::EpochRoot { children, .. } => children,
        }
    }

    /// Canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(FORMAT);
        out.u8(self.circuit() as u8);
        match self {
            Self::TxBase { witness, anchor_header_hash, proof } => {
                write_tx_base(&mut out, witness, anchor_header_hash);
                out.raw(proof);
            }
            Self::TxMerge { .. } | Self::BlockMerge { .. } => {}
            Self::BlockRoot { block, .. } => write_block(&mut out, block),
            Self::EpochRoot { slots_per_epoch, .. } => out.u64(*slots_per_epoch),
        }
        self.children().iter().for_each(|child| child.write(&mut out));
        out.finish()
    }

    /// Reads the input of a job of this circuit.
    pub fn from_bytes(circuit: Circuit, bytes: &[u8]) -> Result<Self, JobError> {
        let mut from = Reader::new("job input", bytes);
        from.version(FORMAT)?;
        let role = from.u8()?;
        if u64::from(role) != circuit.role() {
            return Err(JobError::Role { expected: circuit, got: role });
        }
        let input = match circuit.family() {
            Family::Client => return Err(JobError::Kind { got: circuit.name().to_owned() }),
            Family::TxBase => {
                let (witness, anchor_header_hash) = read_tx_base(&mut from)?;
                let proof = from.raw(PROOF_BYTES)?.to_vec();
                Self::TxBase { witness: Box::new(witness), anchor_header_hash, proof }
            }
            Family::TxMerge => Self::TxMerge { children: read_pair(&mut from, circuit)? },
            Family::BlockMerge => Self::BlockMerge { children: read_pair(&mut from, circuit)? },
            Family::BlockRoot => {
                let block = Box::new(read_block(&mut from)?);
                Self::BlockRoot { block, children: read_children(&mut from, circuit)? }
            }
            Family::EpochRoot => {
                let slots_per_epoch = from.u64()?;
                Self::EpochRoot { slots_per_epoch, children: read_children(&mut from, circuit)? }
            }
        };
        from.finish()?;
        Ok(input)
    }
}

fn read_child(from: &mut Reader<'_>, parent: Circuit) -> Result<Output, JobError> {
    let child = Output::read(from)?;
    if parent.accepts().contains(&child.circuit) {
        Ok(child)
    } else {
        Err(JobError::Child { parent, child: child.circuit })
    }
}

fn read_children(from: &mut Reader<'_>, parent: Circuit) -> Result<Vec<Output>, JobError> {
    (0..parent.child_count()).map(|_| read_child(from, parent)).collect()
}

fn read_pair(from: &mut Reader<'_>, parent: Circuit) -> Result<[Output; 2], JobError> {
    Ok([read_child(from, parent)?, read_child(from, parent)?])
}

fn read_constants(from: &mut Reader<'_>) -> Result<Constants, DecodeError> {
    Constants::from_fields(&from.frs(Constants::FIELDS)?)
}

/// # Panics
/// When the path has another length, which no tree of this crate's callers makes.
fn write_path(out: &mut Writer, path: &[Fr], levels: usize) {
    assert_eq!(path.len(), levels, "siblings of a path in a job's input");
    out.frs(path);
}

fn write_block(out: &mut Writer, block: &BlockInput) {
    out.frs(&block.constants.to_fields());
    out.raw(&block.prover_id.0);
    out.raw(&block.parent.to_bytes());
    out.raw(&block.header.to_bytes());
    write_path(out, &block.parent_path, ARCHIVE_HEIGHT);
    write_path(out, &block.append_path, ARCHIVE_HEIGHT);
    out.fr(&block.chain_prev);
    out.fr(&block.data_hash);
}

fn read_block(from: &mut Reader<'_>) -> Result<BlockInput, JobError> {
    Ok(BlockInput {
        constants: read_constants(from)?,
        prover_id: EthAddress(from.array()?),
        parent: Header::from_bytes(from.raw(Header::BYTES)?)?,
        header: Header::from_bytes(from.raw(Header::BYTES)?)?,
        parent_path: from.frs(ARCHIVE_HEIGHT)?,
        append_path: from.frs(ARCHIVE_HEIGHT)?,
        chain_prev: from.fr()?,
        data_hash: from.fr()?,
    })
}

fn write_tx_base(out: &mut Writer, w: &TxBaseWitness, anchor_header_hash: &Fr) {
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
}

fn read_tx_base(from: &mut Reader<'_>) -> Result<(TxBaseWitness, Fr), JobError> {
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
    Ok((TxBaseWitness { constants, price, effects, transition }, anchor_header_hash))
}

/// Reads the witness of every tree operation and recomputes what it leads to.
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

/// Computes the archive after the block and checks that the parent is its last leaf before it.
pub(super) fn archive_after(block: &BlockInput) -> Result<SubtreeAppend, WitnessError> {
    let (parent, header) = (&block.parent, &block.header);
    let before = header.last_archive_root;
    let hash = header.hash();
    membership(Tree::Archive, &before, &parent.hash(), parent.block_number, &block.parent_path)?;
    let append = SubtreeAppend {
        start_index: header.block_number,
        leaves: vec![hash],
        subtree_root: hash,
        path: block.append_path.clone(),
        root_before: before,
        root_after: root_from_path(&hash, header.block_number, &block.append_path),
    };
    append.verify(Tree::Archive, header.block_number)?;
    Ok(append)
}
