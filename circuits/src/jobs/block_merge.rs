//! BlockMerge jobs: join two adjacent ranges of blocks.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::Builder;
use rollmill_protocol::codec::{Reader, Writer};
use rollmill_protocol::plan::Subject;
use rollmill_protocol::{ChargedRows, Circuit, Constants, Pair};

use super::input::{Input, Job, RangeData, read_pair, two, zeros};
use super::{JobError, Output, pair_of};
use crate::block_merge::{self, BlockMergeWitness};
use crate::children::Child;
use crate::gadgets::charge::OpenedLeaf;
use crate::keyset::KeySet;

/// The input of a BlockMerge job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockMergeInput {
    /// The two results, left first.
    pub children: [Output; 2],
}

/// The input of a BlockMerge job over two results.
///
/// # Errors
/// When the bytes are no result.
pub fn block_merge_input(left: &[u8], right: &[u8]) -> Result<Vec<u8>, JobError> {
    let children = [Output::from_bytes(left)?, Output::from_bytes(right)?];
    Ok(Input::BlockMerge(BlockMergeInput { children }).to_bytes())
}

impl Job for BlockMergeInput {
    fn circuit(&self) -> Circuit {
        Circuit::BlockMerge
    }

    fn children(&self) -> &[Output] {
        &self.children
    }

    fn of(_: &dyn RangeData, _: Subject, made: Vec<Output>) -> Result<Option<Self>, JobError> {
        Ok(Some(Self { children: two("block_merge", made)? }))
    }

    fn write(&self, _: &mut Writer) {}

    fn read(from: &mut Reader<'_>, circuit: Circuit) -> Result<Self, JobError> {
        Ok(Self { children: read_pair(from, circuit)? })
    }

    fn expected(&self, rows: &ChargedRows, pair: Pair) -> Result<(Constants, Vec<Fr>), JobError> {
        let [left, right] = &self.children;
        let range = left.block_range()?.join(&right.block_range()?, rows, pair)?;
        Ok((range.constants, range.to_fields()))
    }

    fn build(&self, set: &KeySet) -> Result<Builder, JobError> {
        let constants = self.children[0].block_range()?.constants;
        let witness = BlockMergeWitness { constants, charge: set.opened(self.circuit()) };
        Ok(block_merge::build(&witness, &pair_of(set, &self.children)?))
    }

    fn dummy(circuit: Circuit) -> Builder {
        let charge = OpenedLeaf::dummy(circuit);
        let witness = BlockMergeWitness { constants: zeros!(Constants), charge };
        block_merge::build(&witness, &[Child::dummy(circuit), Child::dummy(circuit)])
    }
}
