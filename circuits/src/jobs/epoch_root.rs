//! EpochRoot jobs: a range of blocks lies inside one epoch.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::Builder;
use rollmill_protocol::circuit::Family;
use rollmill_protocol::codec::{Reader, Writer};
use rollmill_protocol::join::JoinError;
use rollmill_protocol::plan::Subject;
use rollmill_protocol::{ChargedRows, Circuit, Constants, EpochRoot, Pair};

use super::input::{Input, Job, RangeData, outputs, read_children, zeros};
use super::{JobError, Output, children};
use crate::children::Child;
use crate::epoch_root::{self, EpochRootWitness};
use crate::gadgets::charge::OpenedLeaf;
use crate::keyset::KeySet;

/// The input of an EpochRoot job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRootInput {
    pub slots_per_epoch: u64,
    /// The results of one or two ranges, left first.
    pub children: Vec<Output>,
}

impl EpochRootInput {
    /// # Errors
    /// When no circuit takes this number of ranges.
    fn new(slots_per_epoch: u64, children: Vec<Output>) -> Result<Self, JobError> {
        if Circuit::variant(Family::EpochRoot, children.len()).is_none() {
            let (circuit, got) = ("epoch_root", children.len());
            return Err(JoinError::Children { circuit, got }.into());
        }
        Ok(Self { slots_per_epoch, children })
    }
}

/// The input of an EpochRoot job over one or two results.
///
/// # Errors
/// When no circuit takes this number of ranges, or the bytes are no result.
pub fn epoch_root_input(slots_per_epoch: u64, ranges: &[Vec<u8>]) -> Result<Vec<u8>, JobError> {
    let made = EpochRootInput::new(slots_per_epoch, outputs(ranges)?)?;
    Ok(Input::EpochRoot(made).to_bytes())
}

impl Job for EpochRootInput {
    fn circuit(&self) -> Circuit {
        epoch_root::variant(self.children.len())
    }

    fn children(&self) -> &[Output] {
        &self.children
    }

    fn of(data: &dyn RangeData, _: Subject, made: Vec<Output>) -> Result<Option<Self>, JobError> {
        Self::new(data.slots_per_epoch(), made).map(Some)
    }

    fn write(&self, out: &mut Writer) {
        out.u64(self.slots_per_epoch);
    }

    fn read(from: &mut Reader<'_>, circuit: Circuit) -> Result<Self, JobError> {
        let slots_per_epoch = from.u64()?;
        Ok(Self { slots_per_epoch, children: read_children(from, circuit)? })
    }

    fn expected(&self, rows: &ChargedRows, pair: Pair) -> Result<(Constants, Vec<Fr>), JobError> {
        let ranges =
            self.children.iter().map(Output::block_range).collect::<Result<Vec<_>, _>>()?;
        let root = EpochRoot::of_ranges(&ranges, self.slots_per_epoch, rows, pair)?;
        Ok((root.constants, root.to_fields()))
    }

    fn build(&self, set: &KeySet) -> Result<Builder, JobError> {
        let constants = self.children[0].block_range()?.constants;
        let (slots_per_epoch, charge) = (self.slots_per_epoch, set.opened(self.circuit()));
        let witness = EpochRootWitness { constants, slots_per_epoch, charge };
        Ok(epoch_root::build(&witness, &children(set, &self.children)?))
    }

    fn dummy(circuit: Circuit) -> Builder {
        let (constants, charge) = (zeros!(Constants), OpenedLeaf::dummy(circuit));
        let witness = EpochRootWitness { constants, slots_per_epoch: 0, charge };
        epoch_root::build(&witness, &Child::dummies(circuit))
    }
}
