//! TxMerge jobs: join two adjacent ranges of transactions.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::Builder;
use rollmill_protocol::codec::{Reader, Writer};
use rollmill_protocol::plan::Subject;
use rollmill_protocol::{ChargedRows, Circuit, Constants, Pair};

use super::input::{Input, Job, RangeData, read_pair, two, zeros};
use super::{JobError, Output, pair_of};
use crate::children::Child;
use crate::keyset::KeySet;
use crate::tx_merge;

/// The input of a TxMerge job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxMergeInput {
    /// The two results, left first.
    pub children: [Output; 2],
}

/// The input of a TxMerge job over two results.
///
/// # Errors
/// When the bytes are no result.
pub fn tx_merge_input(left: &[u8], right: &[u8]) -> Result<Vec<u8>, JobError> {
    let children = [Output::from_bytes(left)?, Output::from_bytes(right)?];
    Ok(Input::TxMerge(TxMergeInput { children }).to_bytes())
}

impl Job for TxMergeInput {
    fn circuit(&self) -> Circuit {
        Circuit::TxMerge
    }

    fn children(&self) -> &[Output] {
        &self.children
    }

    fn of(_: &dyn RangeData, _: Subject, made: Vec<Output>) -> Result<Option<Self>, JobError> {
        Ok(Some(Self { children: two("tx_merge", made)? }))
    }

    fn write(&self, _: &mut Writer) {}

    fn read(from: &mut Reader<'_>, circuit: Circuit) -> Result<Self, JobError> {
        Ok(Self { children: read_pair(from, circuit)? })
    }

    fn expected(&self, _: &ChargedRows, pair: Pair) -> Result<(Constants, Vec<Fr>), JobError> {
        let [left, right] = &self.children;
        let range = left.tx_range()?.join(&right.tx_range()?, pair)?;
        Ok((range.constants, range.to_fields()))
    }

    fn build(&self, set: &KeySet) -> Result<Builder, JobError> {
        let constants = self.children[0].tx_range()?.constants;
        Ok(tx_merge::build(&constants, &pair_of(set, &self.children)?))
    }

    fn dummy(circuit: Circuit) -> Builder {
        tx_merge::build(&zeros!(Constants), &[Child::dummy(circuit), Child::dummy(circuit)])
    }
}
