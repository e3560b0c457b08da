//! BlockRoot jobs: ranges of transactions make up a whole block.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::Builder;
use rollmill_protocol::builder::{ArchiveWitness, Block};
use rollmill_protocol::circuit::Family;
use rollmill_protocol::codec::{Reader, Writer};
use rollmill_protocol::join::JoinError;
use rollmill_protocol::plan::Subject;
use rollmill_protocol::tree::verify::membership;
use rollmill_protocol::tree::{ARCHIVE_HEIGHT, SubtreeAppend, Tree, WitnessError, root_from_path};
use rollmill_protocol::{
    BlockRange, ChainLink, ChargedRows, Circuit, Constants, EthAddress, Header, Pair,
};

use super::input::{
    Input, Job, RangeData, outputs, read_children, read_constants, write_path, zero, zeros,
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
    fn new(
        constants: &Constants,
        prover_id: EthAddress,
        block: &Block,
        chain_prev: Fr,
        children: Vec<Output>,
    ) -> Result<Self, JobError> {
        if Circuit::variant(Family::BlockRoot, children.len()).is_none() {
            let (circuit, got) = ("block_root", children.len());
            return Err(JoinError::Children { circuit, got }.into());
        }
        let block = BlockInput::new(*constants, prover_id, block, chain_prev);
        Ok(Self { block: Box::new(block), children })
    }
}

/// The input of a BlockRoot job over the results of the block's ranges (0 to 2).
///
/// # Errors
/// When no circuit takes this number of ranges, or the bytes are no result.
pub fn block_root_input(
    constants: &Constants,
    prover_id: EthAddress,
    block: &Block,
    chain_prev: Fr,
    ranges: &[Vec<u8>],
) -> Result<Vec<u8>, JobError> {
    let children = outputs(ranges)?;
    let made = BlockRootInput::new(constants, prover_id, block, chain_prev, children)?;
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
        let Some((block, chain_prev)) = data.block(block) else { return Ok(None) };
        Self::new(&data.constants(), data.prover_id(), block, chain_prev, made).map(Some)
    }

    fn write(&self, out: &mut Writer) {
        let block = &self.block;
        out.frs(&block.constants.to_fields());
        out.raw(&block.prover_id.0);
        out.raw(&block.parent.to_bytes());
        out.raw(&block.header.to_bytes());
        write_path(out, &block.parent_path, ARCHIVE_HEIGHT);
        write_path(out, &block.append_path, ARCHIVE_HEIGHT);
        out.fr(&block.chain_prev);
        out.fr(&block.data_hash);
    }

    fn read(from: &mut Reader<'_>, circuit: Circuit) -> Result<Self, JobError> {
        let block = BlockInput {
            constants: read_constants(from)?,
            prover_id: EthAddress(from.array()?),
            parent: Header::from_bytes(from.raw(Header::BYTES)?)?,
            header: Header::from_bytes(from.raw(Header::BYTES)?)?,
            parent_path: from.frs(ARCHIVE_HEIGHT)?,
            append_path: from.frs(ARCHIVE_HEIGHT)?,
            chain_prev: from.fr()?,
            data_hash: from.fr()?,
        };
        Ok(Self { block: Box::new(block), children: read_children(from, circuit)? })
    }

    fn expected(&self, rows: &ChargedRows, pair: Pair) -> Result<(Constants, Vec<Fr>), JobError> {
        let ranges = self.children.iter().map(Output::tx_range).collect::<Result<Vec<_>, _>>()?;
        let (block, link) = block_of(&self.block)?;
        let (constants, prover) = (self.block.constants, self.block.prover_id);
        let range = BlockRange::of_block(&ranges, &block, &link, constants, prover, rows, pair)?;
        Ok((constants, range.to_fields()))
    }

    fn build(&self, set: &KeySet) -> Result<Builder, JobError> {
        let witness = self.block.witness(set, self.circuit());
        Ok(block_root::build(&witness, &children(set, &self.children)?))
    }

    fn dummy(circuit: Circuit) -> Builder {
        let block = BlockInput {
            constants: zeros!(Constants),
            prover_id: EthAddress::default(),
            parent: zeros!(Header),
            header: zeros!(Header),
            parent_path: Vec::new(),
            append_path: Vec::new(),
            chain_prev: zero(),
            data_hash: zero(),
        };
        let charges = [Circuit::TxBase, Circuit::TxMerge, circuit].map(OpenedLeaf::dummy);
        let witness = BlockRootWitness::new(block, charges);
        block_root::build(&witness, &Child::dummies(circuit))
    }
}

/// The block of a BlockRoot input in the form of the native rules, which need no transactions.
fn block_of(input: &BlockInput) -> Result<(Block, ChainLink), JobError> {
    let (parent, header) = (&input.parent, &input.header);
    let append = archive_after(input)?;
    let link = ChainLink::new(header, input.chain_prev, input.data_hash, append.root_after);
    let block = Block {
        header: header.clone(),
        header_hash: append.subtree_root,
        parent: parent.clone(),
        txs: Vec::new(),
        start: parent.state,
        end: header.state,
        archive: ArchiveWitness { parent_path: input.parent_path.clone(), append },
    };
    Ok((block, link))
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
