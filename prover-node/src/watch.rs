//! The loop: follows the tips, proves blocks as they land, proves and submits epochs when they are due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollmill_broker_client::{AgentId, Client as Broker, Incarnation, KindName};
use rollmill_circuits::jobs::Output;
use rollmill_circuits::keyset::KeySet;
use rollmill_l1::abi;
use rollmill_l1::{TxRequest, TxSender};
use rollmill_node::setup::RunningNode;
use rollmill_node_client::NodeClient;
use rollmill_node_client::wire::BlockRef;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::plan::EpochPlan;
use rollmill_protocol::{EpochRoot, EthAddress, Fr};
use rollmill_service::{Failure, Shutdown};
use tokio::task::JoinSet;

use crate::gather::{self, BlockWork};
use crate::metrics::Metrics;
use crate::pipeline::{self, Finished, Labels};
use crate::range::RangeWork;

/// Pause between looks at the tips.
const PACE: Duration = Duration::from_millis(300);
/// Pause after something failed.
const RETRY: Duration = Duration::from_secs(2);
/// How long the right to submit is taken for.
const SUBMITTER_TTL: Duration = Duration::from_secs(120);

/// A prover node in service.
#[derive(Debug)]
pub struct ProverNode {
    pub running: RunningNode,
    pub broker: Broker,
    pub peers: Vec<NodeClient>,
    pub keys: Arc<KeySet>,
    pub version: KindName,
    pub prover_id: EthAddress,
    pub sender: TxSender,
    pub holder: AgentId,
    pub incarnation: Incarnation,
    pub prefix_blocks: u64,
    pub submit: bool,
    pub metrics: Metrics,
}

/// A range that is due: inside one epoch, from the first unproven block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    epoch: u64,
    first: u64,
    last: u64,
}

/// Blocks that are being proven before their epoch is due, by header hash.
type Early = (JoinSet<()>, BTreeMap<u64, Fr>);

impl ProverNode {
    /// Proves until `shutdown` starts.
    pub async fn run(self: &Arc<Self>, shutdown: &Shutdown) -> Result<(), Failure> {
        let mut early: Early = (JoinSet::new(), BTreeMap::new());
        let mut dry: Option<Due> = None;
        while !shutdown.is_started() {
            let pause = match self.turn(&mut early, &mut dry, shutdown).await {
                Ok(()) => PACE,
                Err(error) => {
                    self.metrics.failures.inc();
                    tracing::error!(error = %rollmill_service::one_line(error.as_ref()), "not proven this time");
                    RETRY
                }
            };
            while early.0.try_join_next().is_some() {}
            tokio::select! {
                () = shutdown.started() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        early.0.shutdown().await;
        Ok(())
    }

    async fn turn(
        self: &Arc<Self>,
        early: &mut Early,
        dry: &mut Option<Due>,
        shutdown: &Shutdown,
    ) -> Result<(), Failure> {
        let Some((open, is_due)) = self.open_range().await? else { return Ok(()) };
        self.metrics.unproven.set(i64::try_from(open.last + 1 - open.first).unwrap_or(i64::MAX));
        if is_due && *dry != Some(open) {
            self.prove(open, shutdown).await?;
            *dry = Some(open);
        } else {
            self.prove_early(open, early, shutdown)?;
        }
        Ok(())
    }

    /// The first unproven blocks of one epoch, and whether they are to be proven as a range now.
    async fn open_range(&self) -> Result<Option<(Due, bool)>, Failure> {
        let node = &self.running.node;
        let tips = node.tips();
        let (proven, pending) = (tips.proven.block_number, tips.pending.block_number);
        if pending <= proven {
            self.metrics.unproven.set(0);
            return Ok(None);
        }
        let slots = self.running.constants.slots_per_epoch;
        let slot_of = |number: u64| -> Result<Option<u64>, Failure> {
            Ok(node.block_record(BlockRef::Number(number))?.map(|r| r.header.slot))
        };
        let first = proven + 1;
        let Some(slot) = slot_of(first)? else { return Ok(None) };
        let epoch = slot / slots;
        let mut last = first;
        while last < pending && slot_of(last + 1)?.is_some_and(|s| s / slots == epoch) {
            last += 1;
        }
        let ended = self.running.contract.current_slot().await? / slots > epoch;
        let enough = self.prefix_blocks > 0 && last + 1 - first >= self.prefix_blocks;
        Ok(Some((Due { epoch, first, last }, ended || last < pending || enough)))
    }

    /// Starts on blocks whose epoch is still open: everything up to their BlockRoot.
    fn prove_early(
        self: &Arc<Self>,
        open: Due,
        early: &mut Early,
        shutdown: &Shutdown,
    ) -> Result<(), Failure> {
        early.1.retain(|number, _| *number >= open.first);
        for number in open.first..=open.last {
            let Some(record) = self.running.node.block_record(BlockRef::Number(number))? else {
                continue;
            };
            if early.1.insert(number, record.header_hash) == Some(record.header_hash) {
                continue;
            }
            let (this, shutdown) = (Arc::clone(self), shutdown.clone());
            early.0.spawn(async move {
                let range = Due { first: number, last: number, ..open };
                if let Err(error) = this.run_range(range, false, &shutdown).await {
                    tracing::warn!(block = number, %error, "early proving stopped");
                }
            });
        }
        Ok(())
    }

    /// Proves the whole range and submits its root.
    async fn prove(&self, due: Due, shutdown: &Shutdown) -> Result<(), Failure> {
        let Due { epoch, first, last } = due;
        tracing::info!(epoch, first, last, "proving");
        let started = std::time::Instant::now();
        let result = self.run_range(due, true, shutdown).await?;
        let output = Output::from_bytes(&result)?;
        let seconds = started.elapsed().as_secs_f64();
        self.metrics.epoch_seconds.observe(seconds);
        tracing::info!(epoch, first, last, seconds, "root proof is ready");
        if !self.submit {
            tracing::info!(epoch, "dry run: nothing is sent to L1");
            return Ok(());
        }
        self.submit(due, &output, shutdown).await
    }

    async fn run_range(
        &self,
        range: Due,
        whole: bool,
        shutdown: &Shutdown,
    ) -> Result<Vec<u8>, Failure> {
        let mut blocks: Vec<BlockWork> = Vec::new();
        for number in range.first..=range.last {
            let node = &self.running.node;
            let txs = gather::fetch(node, &self.peers, number).await?;
            let node = Arc::clone(node);
            let work = move || gather::execute(&node, number, txs);
            blocks.push(tokio::task::spawn_blocking(work).await??);
        }
        let counts: Vec<usize> = blocks.iter().map(|b| b.txs.len()).collect();
        let plan = EpochPlan::new(&counts).ok_or("a range has at least one block")?;
        let constants = self.running.constants;
        let ids = self.running.node.versions().ids;
        let work = Arc::new(RangeWork {
            plan: plan.clone(),
            keys: Arc::clone(&self.keys),
            constants: self.keys.constants(ids.chain_id, ids.rollup_version),
            prover_id: self.prover_id,
            slots_per_epoch: constants.slots_per_epoch,
            blocks,
        });
        let labels = Labels {
            epoch: range.epoch,
            first_block: range.first,
            version: self.version.clone(),
            deadline_unix_seconds: None,
        };
        let root = plan.root();
        let wanted = move |index: usize| whole || index != root;
        let finished = |job: &Finished| self.metrics.finished(job);
        let run = pipeline::run(&self.broker, &plan, &wanted, &labels, work, shutdown, &finished);
        Ok(run.await?)
    }

    /// Sends the root proof, if no other prover node of this id is about to.
    async fn submit(&self, due: Due, output: &Output, shutdown: &Shutdown) -> Result<(), Failure> {
        let root = EpochRoot::from_fields(&output.public)?;
        let args = abi::epoch_args(&root);
        let theirs = self.running.contract.epoch_public_inputs(args.clone()).await?;
        let ours: Vec<_> = output.public.iter().map(abi::word).collect();
        if let Some(index) = (0..ours.len()).find(|i| theirs.get(*i) != Some(&ours[*i])) {
            return Err(format!(
                "PRN-020: public input {index} of the proof is {}, the contract expects {:?}",
                ours[index],
                theirs.get(index)
            )
            .into());
        }
        let name = format!("submitter/{}", self.holder_name());
        let lease =
            self.broker.acquire_name(&name, &self.holder, &self.incarnation, SUBMITTER_TTL).await?;
        if !lease.held {
            tracing::info!(holder = ?lease.holder, "another prover node of this id submits");
            return Ok(());
        }
        let id = format!("prove-{}-{}-{}", due.first, due.last, to_hex(&root.end_archive_root));
        let input = abi::submit_calldata(args, output.proof.clone());
        let request = TxRequest::call(id, abi::address(self.running.rollup), input);
        let receipt = tokio::select! {
            receipt = self.sender.send(request) => receipt?,
            () = shutdown.started() => return Ok(()),
        };
        self.broker.release_name(&name, &self.holder, &self.incarnation, lease.fence).await?;
        if !receipt.succeeded {
            return Err(format!("PRN-021: {} reverted on L1", receipt.tx_hash).into());
        }
        self.metrics.epochs.inc();
        let (epoch, gas) = (due.epoch, receipt.gas_used);
        tracing::info!(epoch, l1_tx = %receipt.tx_hash, gas, "epoch proven on L1");
        let mut tips = self.running.node.watch_tips();
        tokio::select! {
            _ = tips.wait_for(|tips| tips.proven.block_number >= due.last) => {}
            () = shutdown.started() => {}
        }
        Ok(())
    }

    fn holder_name(&self) -> String {
        self.prover_id.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}
