//! A range of blocks as work for the pipeline: inputs of its jobs, and verification of results.

use std::sync::Arc;

use rollmill_circuits::jobs;
use rollmill_circuits::keyset::KeySet;
use rollmill_protocol::circuit::Family;
use rollmill_protocol::plan::{EpochPlan, Subject};
use rollmill_protocol::{Constants, EthAddress};

use crate::gather::BlockWork;
use crate::pipeline::Work;

/// See the module.
#[derive(Debug)]
pub struct RangeWork {
    pub plan: Arc<EpochPlan>,
    pub keys: Arc<KeySet>,
    pub constants: Constants,
    pub prover_id: EthAddress,
    pub slots_per_epoch: u64,
    pub blocks: Vec<Arc<BlockWork>>,
}

impl RangeWork {
    fn block(&self, block: usize) -> Result<&BlockWork, String> {
        self.blocks
            .get(block)
            .map(AsRef::as_ref)
            .ok_or_else(|| format!("the range has no block {block}"))
    }
}

impl Work for RangeWork {
    fn input(&self, index: usize, children: &[Vec<u8>]) -> Result<Vec<u8>, String> {
        let node = self.plan.nodes.get(index).ok_or("no such node")?;
        let text = |error: jobs::JobError| error.to_string();
        let pair = || match children {
            [left, right] => Ok((left, right)),
            _ => Err(format!("two children expected, got {}", children.len())),
        };
        match (node.circuit.family(), node.subject) {
            (Family::TxBase, Subject::Tx { block, tx }) => {
                let work = self.block(block)?;
                let (sent, transition) =
                    work.txs.get(tx).ok_or_else(|| format!("block has no transaction {tx}"))?;
                Ok(jobs::tx_base_input(&self.constants, work.price, sent, transition))
            }
            (Family::TxMerge, _) => {
                let (left, right) = pair()?;
                jobs::tx_merge_input(left, right).map_err(text)
            }
            (Family::BlockRoot, Subject::Block { block }) => {
                let work = self.block(block)?;
                let (constants, prover) = (&self.constants, self.prover_id);
                jobs::block_root_input(constants, prover, &work.block, work.chain_prev, children)
                    .map_err(text)
            }
            (Family::BlockMerge, _) => {
                let (left, right) = pair()?;
                jobs::block_merge_input(left, right).map_err(text)
            }
            (Family::EpochRoot, _) => {
                jobs::epoch_root_input(self.slots_per_epoch, children).map_err(text)
            }
            (Family::Client | Family::TxBase | Family::BlockRoot, subject) => {
                Err(format!("{} is no proof about {subject:?}", node.circuit))
            }
        }
    }

    fn verify(&self, index: usize, input: &[u8], result: &[u8]) -> Result<(), String> {
        let node = self.plan.nodes.get(index).ok_or("no such node")?;
        jobs::verify(&self.keys, node.circuit.name(), input, result)
            .map(drop)
            .map_err(|error| error.to_string())
    }
}
