//! BlockRoot jobs: ranges of transactions make up a whole block.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::Builder;
use rollmill_protocol::builder::{ArchiveWitness, Block};
use rollmill_protocol::circuit::Family;
use rollmill_protocol::codec::{DecodeError, Reader, Writer};
use rollmill_protocol::join::JoinError;
use rollmill_protocol::message::{MESSAGE_SUBTREE_HEIGHT, MESSAGES_PER_BLOCK};
use rollmill_protocol::plan::Subject;
use rollmill_protocol::tree::verify::membership;
use rollmill_protocol::tree::{
    ARCHIVE_HEIGHT, MESSAGE_HEIGHT, SubtreeAppend, Tree, WitnessError, root_from_path, subtree_root,
};
use rollmill_protocol::{
    BlobFr, BlockRange, ChainLink, ChargedRows, Circuit, Commitment, Constants, Header, Opening,
    Pair, TxRange,
};

use super::input::{
    Input, Job, RangeData, dummy_config, outputs, read_children, read_config, read_constants,
    write_path, zero, zeros,
};
use super::{JobError, Output, children};
use crate::block_root::{self, BlockInput, BlockRootWitness};
use crate::children::Child;
use crate::gadgets::charge::OpenedLeaf;
use crate::keyset::KeySet;

impl BlockInput {
    /// The witness of `circuit`, besides its children.
    pub fn witness(&self, set: &KeySet, circuit: Circuit) -> BlockRootWitness {
        let charges = [Circuit::TxBase, Circuit::TxMerge, circuit].map(|c| set.opened(c));
        BlockRootWitness::new(self.clone(), charges)
    }
}

/// The input of a BlockRoot job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRootInput {
    pub block: Box<BlockInput>,
    /// The results of the block's ranges, left first.
    pub children: Vec<Output>,
}

impl BlockRootInput {
    /// # Errors
    /// When no circuit takes this number of ranges.
    fn new(block: BlockInput, children: Vec<Output>) -> Result<Self, JobError> {
        if Circuit::variant(Family::BlockRoot, children.len()).is_none() {
            let (circuit, got) = ("block_root", children.len());
            return Err(JoinError::Children { circuit, got }.into());
        }
        Ok(Self { block: Box::new(block), children })
    }
}

/// The input of a BlockRoot job over the results of the block's ranges (0 to 2).
///
/// # Errors
/// When no circuit takes this number of ranges, or the bytes are no result.
pub fn block_root_input(block: BlockInput, ranges: &[Vec<u8>]) -> Result<Vec<u8>, JobError> {
    let made = BlockRootInput::new(block, outputs(ranges)?)?;
    Ok(Input::BlockRoot(made).to_bytes())
}

impl Job for BlockRootInput {
    fn circuit(&self) -> Circuit {
        block_root::variant(self.children.len())
    }

    fn children(&self) -> &[Output] {
        &self.children
    }

    fn of(
        data: &dyn RangeData,
        subject: Subject,
        made: Vec<Output>,
    ) -> Result<Option<Self>, JobError> {
        let Subject::Block { block } = subject else { return Ok(None) };
        let Some((block, commitment, chain_before)) = data.block(block) else { return Ok(None) };
        let (constants, config) = (data.constants(), data.config());
        let block = BlockInput::new(constants, config, block, commitment, chain_before);
        Self::new(block, made).map(Some)
    }

    fn write(&self, out: &mut Writer) {
        let block = &self.block;
        out.frs(&block.constants.to_fields());
        out.frs(&block.config.to_fields());
        out.raw(&block.parent.to_bytes());
        out.raw(&block.header.to_bytes());
        // At most as many as a block takes, which fits a byte.
        out.u8(block.messages.len() as u8);
        out.frs(&block.messages);
        write_path(out, &block.message_path, MESSAGE_HEIGHT - MESSAGE_SUBTREE_HEIGHT);
        write_path(out, &block.parent_path, ARCHIVE_HEIGHT);
        write_path(out, &block.append_path, ARCHIVE_HEIGHT);
        out.fr(&block.chain_before);
        out.raw(&block.commitment.0);
    }

    fn read(from: &mut Reader<'_>, circuit: Circuit) -> Result<Self, JobError> {
        let block = BlockInput {
            constants: read_constants(from)?,
            config: read_config(from)?,
            parent: Header::from_bytes(from.raw(Header::BYTES)?)?,
            header: Header::from_bytes(from.raw(Header::BYTES)?)?,
            messages: read_messages(from)?,
            message_path: from.frs(MESSAGE_HEIGHT - MESSAGE_SUBTREE_HEIGHT)?,
            parent_path: from.frs(ARCHIVE_HEIGHT)?,
            append_path: from.frs(ARCHIVE_HEIGHT)?,
            chain_before: from.fr()?,
            commitment: Commitment(from.array()?),
        };
        Ok(Self { block: Box::new(block), children: read_children(from, circuit)? })
    }

    fn expected(&self, rows: &ChargedRows, pair: Pair) -> Result<(Constants, Vec<Fr>), JobError> {
        let ranges = self.children.iter().map(Output::tx_range).collect::<Result<Vec<_>, _>>()?;
        let (constants, config) = (self.block.constants, &self.block.config);
        let (block, link) = block_of(&self.block, &ranges)?;
        let range = BlockRange::of_block(&ranges, &block, &link, constants, config, rows, pair)?;
        Ok((constants, range.to_fields()))
    }

    fn build(&self, set: &KeySet) -> Result<Builder, JobError> {
        let witness = self.block.witness(set, self.circuit());
        Ok(block_root::build(&witness, &children(set, &self.children)?))
    }

    fn dummy(circuit: Circuit) -> Builder {
        let block = BlockInput {
            constants: zeros!(Constants),
            config: dummy_config(),
            parent: zeros!(Header),
            header: zeros!(Header),
            messages: Vec::new(),
            message_path: Vec::new(),
            parent_path: Vec::new(),
            append_path: Vec::new(),
            chain_before: zero(),
            commitment: Commitment::default(),
        };
        let charges = [Circuit::TxBase, Circuit::TxMerge, circuit].map(OpenedLeaf::dummy);
        let witness = BlockRootWitness::new(block, charges);
        block_root::build(&witness, &Child::dummies(circuit))
    }
}

/// The block of a BlockRoot input in the form of the native rules, which need no transactions, and its link, with
/// the value of the data that the ranges state.
fn block_of(input: &BlockInput, ranges: &[TxRange]) -> Result<(Block, ChainLink), JobError> {
    let (parent, header) = (&input.parent, &input.header);
    let append = archive_after(input)?;
    let y = match ranges {
        [] => BlobFr::from(0u64),
        [range] => range.y,
        [left, right, ..] => left.join(right, Pair::trivial())?.y,
    };
    let z = ranges.first().map_or(zero(), |range| range.z);
    let opening = Opening { commitment: input.commitment, z, y };
    let link = ChainLink::new(header, input.chain_before, append.root_after, &opening);
    let block = Block {
        header: header.clone(),
        header_hash: append.subtree_root,
        parent: parent.clone(),
        txs: Vec::new(),
        start: parent.state,
        end: header.state,
        messages: messages_after(input)?,
        archive: ArchiveWitness { parent_path: input.parent_path.clone(), append },
    };
    Ok((block, link))
}

/// The messages of a block, read.
fn read_messages(from: &mut Reader<'_>) -> Result<Vec<Fr>, JobError> {
    let count = usize::from(from.u8()?);
    if count > MESSAGES_PER_BLOCK {
        let (max, got) = (MESSAGES_PER_BLOCK.to_string(), count.to_string());
        return Err(DecodeError::OutOfRange { what: "messages of a block", max, got }.into());
    }
    let messages = from.frs(count)?;
    if messages.contains(&zero()) {
        let reason = "a message is absent".to_owned();
        return Err(DecodeError::Shape { what: "messages of a block", reason }.into());
    }
    Ok(messages)
}

/// Computes the message tree after the block.
fn messages_after(block: &BlockInput) -> Result<SubtreeAppend, WitnessError> {
    let before = &block.parent.state;
    let mut leaves = block.messages.clone();
    leaves.resize(MESSAGES_PER_BLOCK, zero());
    let subtree_root = subtree_root(&leaves);
    let index = before.message_count >> MESSAGE_SUBTREE_HEIGHT;
    let append = SubtreeAppend {
        start_index: before.message_count,
        leaves,
        subtree_root,
        path: block.message_path.clone(),
        root_before: before.message_root,
        root_after: root_from_path(&subtree_root, index, &block.message_path),
    };
    append.verify(Tree::Messages, before.message_count)?;
    Ok(append)
}

/// Computes the archive after the block and checks that the parent is its last leaf before it.
fn archive_after(block: &BlockInput) -> Result<SubtreeAppend, WitnessError> {
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
