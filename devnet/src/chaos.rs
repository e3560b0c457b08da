//! `--chaos`: transfers continue while L1 is reorganised, its endpoints fail and processes are killed,
//! frozen and terminated, at moments that a seed decides. At the end everything that can be proven must be proven,
//! and a fresh node must arrive at the same chain.
//!
//! Besides injecting faults, the run only restarts killed processes unchanged, as a supervisor would.

mod fault;
mod recovery;
mod report;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rollmill_l1::abi;
use rollmill_l1::alloy::consensus::Transaction as _;
use rollmill_l1::alloy::eips::BlockNumberOrTag;
use rollmill_l1::alloy::network::TransactionResponse;
use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::sol_types::SolCall;
use rollmill_node_client::NodeClient;
use rollmill_node_client::wire::{BlockRef, Tips, TxStatus};
use rollmill_protocol::Fr;
use rollmill_protocol::field::to_hex;
use tokio::task::JoinHandle;

use crate::deployment::{PROVER_KEY, signer};
use crate::endpoint::EndpointFault;
use crate::process::{Exit, Program};
use crate::reorg::reorganise;
use crate::scenario::{POLL, Running};
use crate::{Error, Network, Options, Progress, services, terminate};
use fault::Fault;
use recovery::Recoveries;

pub use report::{ChaosReport, FaultRow};

/// Slots of an epoch of L1: a reorganisation never reaches back twice as many blocks.
pub(crate) const L1_EPOCH_SLOTS: u32 = 16;
/// Longest time from one fault to the next.
const BETWEEN_MAX: Duration = Duration::from_secs(6);
/// Time limit of one poll of the broker between faults.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time limit for the chain to settle after the last fault: several consecutive proofs on one machine.
const CALM_LIMIT: Duration = Duration::from_secs(600);
/// How long a process may take to be ready again at the end.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Sends transfers under faults for the requested time, then waits until the chain has settled, and
/// compares.
///
/// # Errors
/// [`Error::Chaos`] when the chain does not settle, a process ended by itself, or two nodes differ; the
/// message names the seed.
pub async fn run(
    minutes: u64,
    options: &Options,
    network: &mut Network,
    running: &mut Running,
    progress: &mut Progress,
) -> Result<ChaosReport, Error> {
    progress.line(&format!("chaos for {minutes} min; repeat it with --seed {}", options.seed));
    let mut names: Vec<String> = vec!["sequencer".into(), "prover-node".into(), "broker".into()];
    names.extend((2..=options.committee).map(services::sequencer_name));
    names.extend((2..=options.prover_nodes).map(services::prover_node_name));
    names.extend((1..=options.agents).map(services::agent_name));
    let mut rng = ChaCha20Rng::seed_from_u64(options.seed);
    rng.set_stream(2);
    let report = ChaosReport { seed: options.seed, ..ChaosReport::default() };
    let mut chaos = Chaos {
        running,
        network,
        progress,
        names,
        down: BTreeMap::new(),
        ending: BTreeMap::new(),
        frozen: BTreeMap::new(),
        endpoint_faults: BTreeMap::new(),
        sent: BTreeMap::new(),
        next_account: 0,
        recoveries: Recoveries::default(),
        report,
    };
    let start = Instant::now();
    let end = start + Duration::from_secs(60 * minutes);
    let mut next = Instant::now();
    while Instant::now() < end {
        chaos.heal(false).await?;
        chaos.check()?;
        if Instant::now() >= next {
            let endpoints = chaos.running.endpoints.len();
            chaos.strike(Fault::draw(&mut rng, chaos.names.len(), endpoints)).await?;
            let pause = rng.gen_range(0..BETWEEN_MAX.as_millis() as u64);
            next = Instant::now() + Duration::from_millis(pause);
        }
        chaos.send().await;
        chaos.follow().await;
        chaos.measure().await;
        tokio::time::sleep(POLL).await;
    }
    chaos.heal(true).await?;
    let calm = Instant::now();
    chaos.progress.line("no more faults; waiting until everything is proven");
    chaos.rest(calm).await?;
    chaos.measure().await;
    chaos.report.recoveries = chaos.recoveries.rows();
    chaos.report.calm_seconds = calm.elapsed().as_secs_f64();
    chaos.report.seconds = start.elapsed().as_secs_f64();
    chaos.compare_with_a_fresh_node(options).await?;
    chaos.report.jobs_done = chaos.count_results().await?;
    chaos.count_gas().await?;
    for endpoint in &chaos.running.endpoints {
        let counts = endpoint.counts();
        chaos.report.l1_requests += counts.requests;
        chaos.report.l1_requests_failed += counts.failed;
    }
    if chaos.report.transfers == 0 || chaos.report.proofs_on_l1 == 0 {
        return Err(chaos.failed("nothing was sent and proven, so nothing was shown".into()));
    }
    let report = chaos.report;
    progress.line(&report.summary());
    Ok(report)
}

struct Chaos<'a> {
    running: &'a mut Running,
    network: &'a mut Network,
    progress: &'a mut Progress,
    /// Processes that are targets of faults.
    names: Vec<String>,
    /// Processes that have ended: when they are restarted, and what ended them.
    down: BTreeMap<String, (Instant, &'static str, Program)>,
    /// Processes that were asked to exit, and how long they then stay down.
    ending: BTreeMap<String, (Duration, JoinHandle<Exit>)>,
    frozen: BTreeMap<String, Instant>,
    /// The fault of each endpoint, and when it ends.
    endpoint_faults: BTreeMap<usize, (Instant, EndpointFault)>,
    /// Transfers that were accepted, with the account that sent each.
    sent: BTreeMap<Fr, usize>,
    next_account: usize,
    recoveries: Recoveries,
    report: ChaosReport,
}

impl Chaos<'_> {
    fn failed(&self, why: String) -> Error {
        Error::Chaos { seed: self.report.seed, why }
    }

    /// No process may exit on its own under any fault.
    fn check(&mut self) -> Result<(), Error> {
        self.network.check().map_err(|error| self.failed(error.to_string()))
    }

    /// Whether a process has ended, or was asked to.
    fn is_away(&self, name: &str) -> bool {
        self.down.contains_key(name) || self.ending.contains_key(name)
    }

    async fn strike(&mut self, fault: Fault) -> Result<(), Error> {
        match fault {
            Fault::Reorg { depth, returned } => self.reorg(depth, returned).await,
            Fault::Kill { victim, down } => {
                let name = self.names[victim].clone();
                if self.is_away(&name) {
                    return Ok(());
                }
                self.thaw(&name)?;
                let program = self.network.kill(&name).await?;
                self.recoveries.killed(&name);
                self.progress
                    .line(&format!("chaos: killed {name} for {:.1} s", down.as_secs_f64()));
                self.down.insert(name, (Instant::now() + down, "killed", program));
                self.report.kills += 1;
                Ok(())
            }
            Fault::Freeze { victim, down } => {
                let name = self.names[victim].clone();
                if self.is_away(&name) || self.frozen.contains_key(&name) {
                    return Ok(());
                }
                self.network.freeze(&name)?;
                self.progress.line(&format!("chaos: froze {name} for {:.1} s", down.as_secs_f64()));
                self.frozen.insert(name, Instant::now() + down);
                self.report.freezes += 1;
                Ok(())
            }
            Fault::Terminate { victim, down } => self.terminate(victim, down).await,
            Fault::Endpoint { which, fault, time } => {
                let head = self.running.l1.latest().await?.number;
                self.running.endpoints[which].set(Some(fault), head);
                self.endpoint_faults.insert(which, (Instant::now() + time, fault));
                self.progress.line(&format!(
                    "chaos: L1 endpoint {which} {} for {:.1} s",
                    fault.what(),
                    time.as_secs_f64()
                ));
                self.report.endpoint_faults += 1;
                Ok(())
            }
        }
    }

    async fn terminate(&mut self, victim: usize, down: Duration) -> Result<(), Error> {
        let name = self.names[victim].clone();
        if self.is_away(&name) {
            return Ok(());
        }
        self.thaw(&name)?;
        // One that has not started yet does not handle the signal.
        if !self.network.is_healthy(&name).await {
            return Ok(());
        }
        let exit = self.network.terminate(&name, terminate::limit())?;
        self.progress.line(&format!("chaos: terminated {name} for {:.1} s", down.as_secs_f64()));
        self.ending.insert(name, (down, exit));
        self.report.terminations += 1;
        Ok(())
    }

    /// Requires that those exited in order that were asked to, once they have, or of `all`.
    async fn collect_exits(&mut self, all: bool) -> Result<(), Error> {
        let over = self.ending.iter().filter(|(_, (_, exit))| all || exit.is_finished());
        let over: Vec<String> = over.map(|(name, _)| name.clone()).collect();
        for name in over {
            let Some((down, exit)) = self.ending.remove(&name) else { continue };
            let exit = exit.await.map_err(|error| self.failed(format!("{name}: {error}")))?;
            if let Some(why) = exit.fault(terminate::grace()) {
                return Err(self.failed(format!("after SIGTERM, {name} {why}")));
            }
            self.down.insert(name, (Instant::now() + down, "terminated", exit.program));
        }
        Ok(())
    }

    async fn reorg(&mut self, depth: u64, returned: bool) -> Result<(), Error> {
        let l1 = self.running.l1.clone();
        let head = l1.latest().await?.number;
        // The deployment stays: without it the run cannot continue.
        let depth = depth.min(head.saturating_sub(self.running.deployment.l1_ready + 1));
        if depth == 0 {
            return Ok(());
        }
        let mut dropped = Vec::new();
        for number in head + 1 - depth..=head {
            let Some(block) = l1.block(BlockNumberOrTag::Number(number)).await? else { continue };
            for hash in block.transactions.hashes() {
                let raw = l1.provider().get_raw_transaction_by_hash(hash).await;
                dropped.extend(raw.ok().flatten());
            }
        }
        if let Err(error) = reorganise(&l1, depth).await {
            return Err(self.failed(format!("anvil did not reorganise {depth} blocks: {error}")));
        }
        let count = dropped.len();
        if returned {
            for raw in dropped {
                // What its sender has sent again meanwhile is rejected as known.
                let _ = l1.provider().send_raw_transaction(&raw).await;
            }
        }
        let kept = if returned { "returned to L1's pool" } else { "gone" };
        self.progress
            .line(&format!("chaos: reorganised {depth} L1 blocks, {count} transactions {kept}"));
        self.report.reorgs += 1;
        self.recoveries.chain("L1 reorganised");
        Ok(())
    }

    fn thaw(&mut self, name: &str) -> Result<(), Error> {
        if self.frozen.remove(name).is_some() {
            self.network.thaw(name)?;
            self.recoveries.process("frozen", name);
        }
        Ok(())
    }

    /// Restarts processes that have ended and resumes frozen ones, when their time is up.
    async fn heal(&mut self, all: bool) -> Result<(), Error> {
        let now = Instant::now();
        let due: Vec<String> = self
            .frozen
            .iter()
            .filter(|(_, at)| all || **at <= now)
            .map(|(n, _)| n.clone())
            .collect();
        for name in due {
            self.thaw(&name)?;
        }
        self.endpoint_faults.retain(|which, (at, fault)| {
            let lasts = !all && *at > now;
            if !lasts {
                self.running.endpoints[*which].set(None, 0);
                self.recoveries.chain(&format!("L1 endpoint {}", fault.what()));
            }
            lasts
        });
        self.collect_exits(all).await?;
        let due: Vec<String> = self
            .down
            .iter()
            .filter(|(_, (at, ..))| all || *at <= now)
            .map(|(n, _)| n.clone())
            .collect();
        for name in due {
            if let Some((_, fault, program)) = self.down.remove(&name) {
                self.recoveries.process(fault, &name);
                if all {
                    self.network.start(program, READY_LIMIT).await?;
                } else {
                    self.network.launch(program)?;
                }
            }
        }
        Ok(())
    }

    /// Sends a transfer from the next account, unless its last one is not settled. Errors here are
    /// caused by the faults; the account retries in its next turn.
    async fn send(&mut self) {
        let account = self.next_account;
        self.next_account = (account + 1) % self.running.accounts.len();
        let node = self.running.node.clone();
        let last = self.sent.iter().find(|(_, by)| **by == account).map(|(hash, _)| *hash);
        if let Some(hash) = last {
            match node.transaction_status(&hash).await {
                Ok(TxStatus::Proven { .. } | TxStatus::Dropped { .. }) => {
                    self.sent.remove(&hash);
                }
                _ => return,
            }
        }
        match self.running.accounts.prepare_one(account, &node).await {
            Ok(tx) => match node.send_transaction(&tx).await {
                Ok(hash) => {
                    self.sent.insert(hash, account);
                    for other in self.running.proposers(self.network).iter().skip(1) {
                        // A member that cannot be reached proposes without it.
                        let _ = other.send_transaction(&tx).await;
                    }
                }
                Err(error) => self.progress.status(format!("not sent: {error}")),
            },
            Err(error) => self.progress.status(format!("no transfer: {error}")),
        }
    }

    async fn follow(&mut self) {
        // The faults cause errors; the next poll starts at the same position.
        match self.running.follow(self.progress).await {
            Ok(proven) => {
                for event in proven {
                    self.progress.line(&format!(
                        "blocks {} to {} proven on L1",
                        event.first_block, event.last_block
                    ));
                }
            }
            Err(error) => self.progress.status(format!("L1: {error}")),
        }
        // An unreachable broker must not delay the faults to come.
        let poll = tokio::time::timeout(PATIENCE, self.running.jobs.poll(self.progress)).await;
        match poll {
            Ok(Ok(jobs)) => self.recoveries.see(jobs),
            Ok(Err(error)) => self.progress.status(format!("broker: {error}")),
            Err(_) => {}
        }
    }

    /// Waits until no transaction is pending, and every block is proven, on L1 and in every node.
    async fn rest(&mut self, since: Instant) -> Result<(), Error> {
        let rollup = self.running.l1.rollup(self.running.deployment.rollup).await?;
        loop {
            self.check()?;
            self.follow().await;
            self.measure().await;
            let l1 = rollup.tips().await?;
            let waiting = self.waiting().await;
            let mut nodes = Vec::new();
            for node in &self.running.nodes {
                nodes.push(node.tips().await.map_err(|error| error.to_string()));
            }
            let agree = nodes.iter().all(|tips| {
                tips.as_ref().is_ok_and(|tips| {
                    tips.rejected.is_none()
                        && tips.pending.block_number == l1.pending
                        && tips.proven.block_number == l1.proven
                })
            });
            if l1.pending == l1.proven && waiting == 0 && agree {
                return Ok(());
            }
            if since.elapsed() > CALM_LIMIT {
                return Err(self.failed(format!(
                    "not settled {} s after the last fault: L1 has block {} pending and {} proven, \
                     {waiting} transactions wait, the nodes say {nodes:?}",
                    CALM_LIMIT.as_secs(),
                    l1.pending,
                    l1.proven
                )));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Number of transfers that were accepted and are neither in a block nor dropped.
    async fn waiting(&mut self) -> usize {
        let node = self.running.node.clone();
        let mut settled = Vec::new();
        for hash in self.sent.keys() {
            if let Ok(TxStatus::Proven { .. } | TxStatus::Dropped { .. } | TxStatus::Unknown) =
                node.transaction_status(hash).await
            {
                settled.push(*hash);
            }
        }
        for hash in settled {
            self.sent.remove(&hash);
        }
        self.sent.len()
    }

    /// Starts a node with an empty directory and compares every header and every effect with those of
    /// the nodes that ran under the faults.
    async fn compare_with_a_fresh_node(&mut self, options: &Options) -> Result<(), Error> {
        let running = &self.running;
        let (deployment, keys) = (&running.deployment, &running.keys);
        let address = services::start_prover_node(
            self.network,
            deployment,
            keys,
            running.broker,
            &running.sequencers,
            services::FOLLOWER,
            options,
        );
        let fresh = NodeClient::new(&format!("http://{}", address.await?))?;
        let expected = self.running.node.tips().await?;
        let start = Instant::now();
        loop {
            self.check()?;
            let tips: Tips = fresh.tips().await?;
            if (tips.pending, tips.proven) == (expected.pending, expected.proven) {
                break;
            }
            if start.elapsed() > CALM_LIMIT {
                return Err(self.failed(format!("a fresh node stays at {tips:?}")));
            }
            tokio::time::sleep(POLL).await;
        }
        for number in 1..=expected.pending.block_number {
            let block = BlockRef::Number(number);
            let header = fresh.header(block).await?.map(|info| info.header_hash);
            let effects = fresh.block_effects(number, 1).await?;
            for block in &effects {
                let data = block.decode().map_err(|error| {
                    self.failed(format!("block {number} of a fresh node: {error}"))
                })?;
                self.report.transfers += data.txs.len() as u64;
            }
            for node in &self.running.nodes {
                let theirs = node.header(block).await?.map(|info| info.header_hash);
                if header.is_none() || theirs != header {
                    let text = |hash: Option<Fr>| hash.map_or("none".into(), |h| to_hex(&h));
                    let (url, a, b) = (node.url(), text(theirs), text(header));
                    return Err(
                        self.failed(format!("block {number}: {url} has {a}, a fresh node {b}"))
                    );
                }
                if node.block_effects(number, 1).await? != effects {
                    return Err(
                        self.failed(format!("block {number}: effects differ at {}", node.url()))
                    );
                }
            }
        }
        self.report.blocks = expected.pending.block_number;
        self.progress.line(&format!(
            "{} blocks compared with a fresh node: equal",
            expected.pending.block_number
        ));
        Ok(())
    }

    /// Adds up the cost of the senders' transactions on the final L1 chain.
    async fn count_gas(&mut self) -> Result<(), Error> {
        let l1 = self.running.l1.clone();
        let mut accounts: Vec<Address> = self.running.deployment.members.clone();
        accounts.push(signer(PROVER_KEY)?.address());
        let proof = abi::Rollup::submitEpochProofCall::SELECTOR;
        let head = l1.latest().await?.number;
        for number in self.running.deployment.l1_ready..=head {
            let block = l1.provider().get_block_by_number(number.into()).full().await;
            let Ok(Some(block)) = block else { continue };
            for tx in block.transactions.txns() {
                if !accounts.contains(&tx.from()) {
                    continue;
                }
                let receipt = l1.provider().get_transaction_receipt(tx.tx_hash()).await;
                let Ok(Some(receipt)) = receipt else { continue };
                if receipt.status() {
                    self.report.gas += receipt.gas_used;
                    self.report.proofs_on_l1 += u64::from(tx.input().starts_with(&proof));
                } else {
                    self.report.reverted += 1;
                    self.report.reverted_gas += receipt.gas_used;
                }
            }
        }
        Ok(())
    }
}
