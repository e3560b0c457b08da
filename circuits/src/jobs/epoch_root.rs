//! EpochRoot jobs: a range of blocks lies inside one epoch.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::Builder;
use rollmill_protocol::circuit::Family;
use rollmill_protocol::codec::{Reader, Writer};
use rollmill_protocol::join::JoinError;
use rollmill_protocol::plan::Subject;
use rollmill_protocol::{ChargedRows, Circuit, Config, Constants, EpochRoot, Pair};

use super::input::{
    Input, Job, RangeData, dummy_config, outputs, read_children, read_config, zeros,
};
use super::{JobError, Output, children};
use crate::children::Child;
use crate::epoch_root::{self, EpochRootWitness};
use crate::gadgets::charge::OpenedLeaf;
use crate::keyset::KeySet;

/// The input of an EpochRoot job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRootInput {
    pub config: Config,
    /// The results of one or two ranges, left first.
    pub children: Vec<Output>,
}

impl EpochRootInput {
    /// # Errors
    /// When no circuit takes this number of ranges.
    fn new(config: Config, children: Vec<Output>) -> Result<Self, JobError> {
        if Circuit::variant(Family::EpochRoot, children.len()).is_none() {
            let (circuit, got) = ("epoch_root", children.len());
            return Err(JoinError::Children { circuit, got }.into());
        }
        Ok(Self { config, children })
    }
}

/// The input of an EpochRoot job over one or two results.
///
/// # Errors
/// When no circuit takes this number of ranges, or the bytes are no result.
pub fn epoch_root_input(config: Config, ranges: &[Vec<u8>]) -> Result<Vec<u8>, JobError> {
    let made = EpochRootInput::new(config, outputs(ranges)?)?;
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
        Self::new(data.config(), made).map(Some)
    }

    fn write(&self, out: &mut Writer) {
        out.frs(&self.config.to_fields());
    }

    fn read(from: &mut Reader<'_>, circuit: Circuit) -> Result<Self, JobError> {
        let config = read_config(from)?;
        Ok(Self { config, children: read_children(from, circuit)? })
    }

    fn expected(&self, rows: &ChargedRows, pair: Pair) -> Result<(Constants, Vec<Fr>), JobError> {
        let ranges =
            self.children.iter().map(Output::block_range).collect::<Result<Vec<_>, _>>()?;
        let root = EpochRoot::of_ranges(&ranges, &self.config, rows, pair)?;
        Ok((root.constants, root.to_fields()))
    }

    fn build(&self, set: &KeySet) -> Result<Builder, JobError> {
        let constants = self.children[0].block_range()?.constants;
        let (config, charge) = (self.config, set.opened(self.circuit()));
        let witness = EpochRootWitness { constants, config, charge };
        Ok(epoch_root::build(&witness, &children(set, &self.children)?))
    }

    fn dummy(circuit: Circuit) -> Builder {
        let (constants, charge) = (zeros!(Constants), OpenedLeaf::dummy(circuit));
        let witness = EpochRootWitness { constants, config: dummy_config(), charge };
        epoch_root::build(&witness, &Child::dummies(circuit))
    }
}
