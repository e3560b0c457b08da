//! A range of blocks as the pipeline's work: builds the inputs of its jobs, and verifies their results.

use std::sync::Arc;

use rollmill_circuits::jobs::{self, RangeData};
use rollmill_circuits::keyset::KeySet;
use rollmill_protocol::builder::Block;
use rollmill_protocol::plan::EpochPlan;
use rollmill_protocol::{Commitment, Config, Constants, Fr, Tx, TxTransition};

use crate::gather::BlockWork;
use crate::pipeline::Work;
use crate::work::WorkError;

/// See the module.
#[derive(Debug)]
pub struct RangeWork {
    pub plan: Arc<EpochPlan>,
    pub keys: Arc<KeySet>,
    pub constants: Constants,
    pub config: Config,
    pub blocks: Vec<Arc<BlockWork>>,
}

impl RangeData for RangeWork {
    fn constants(&self) -> Constants {
        self.constants
    }

    fn config(&self) -> Config {
        self.config
    }

    fn block(&self, block: usize) -> Option<(&Block, Commitment, Fr)> {
        let work = self.blocks.get(block)?;
        Some((&work.block, work.commitment, work.chain_before))
    }

    fn tx(&self, block: usize, tx: usize) -> Option<(&Tx, &TxTransition)> {
        let (sent, transition) = self.blocks.get(block)?.txs.get(tx)?;
        Some((sent.as_ref(), transition))
    }
}

impl Work for RangeWork {
    fn input(&self, index: usize, children: &[Vec<u8>]) -> Result<Vec<u8>, WorkError> {
        let node = self.plan.nodes.get(index).ok_or(WorkError::NoJob { index })?;
        Ok(jobs::input(node.circuit, self, node.subject, children)?)
    }

    fn verify(&self, index: usize, input: &[u8], result: &[u8]) -> Result<(), WorkError> {
        let node = self.plan.nodes.get(index).ok_or(WorkError::NoJob { index })?;
        jobs::verify(&self.keys, node.circuit.name(), input, result)?;
        Ok(())
    }
}
