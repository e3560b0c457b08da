//! The main scenario: starts the network, sends transfers, waits for the proofs, reports.

mod start;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rollmill_l1::{BlockProposed, EpochProven, Follower, L1Client, L1Event};
use rollmill_node_client::NodeClient;
use rollmill_node_client::wire::TxStatus;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::{Fr, Tx};

use crate::accounts::{self, Accounts};
use crate::bridge::{self, Bridge, PaidBlock, Proven};
use crate::contracts::{self, Contracts};
use crate::deployment::{self, Deployment, deploy_contracts};
use crate::endpoint::Endpoint;
use crate::faults::{MemberKill, Signed};
use crate::jobs::Jobs;
use crate::keys::{self, CircuitKeys};
use crate::{
    ANVIL_CHAIN_ID, BlockSignatures, EpochReport, Error, JobReport, Network, Options, Progress,
    Recovery, Report, chaos, faults, services,
};

/// Polling interval of L1, the broker and the nodes.
pub(crate) const POLL: Duration = Duration::from_millis(250);

/// Faulty endpoints before L1 in a run under faults.
const ENDPOINTS: u64 = 2;

/// A running network.
#[derive(Debug)]
pub struct Running {
    pub deployment: Deployment,
    pub keys: std::sync::Arc<CircuitKeys>,
    pub l1: L1Client,
    pub node: NodeClient,
    /// Every node of the network: the sequencer's and the prover nodes'.
    pub nodes: Vec<NodeClient>,
    pub broker: SocketAddr,
    /// JSON-RPC of the nodes of the committee's members.
    pub sequencers: Vec<SocketAddr>,
    /// The members' signatures of each block, if there are several members.
    pub signatures: Vec<BlockSignatures>,
    /// Whether a member is killed in this run, and how far that is.
    killing: MemberKill,
    pub jobs: Jobs,
    pub accounts: Accounts,
    /// Accounts that are contracts, with a token and a sponsor; none in a run without transfers of a token.
    pub contracts: Option<Contracts>,
    /// The faulty endpoints before L1; none without faults.
    pub endpoints: Vec<Endpoint>,
    follower: Follower,
    /// The blocks on L1, by number.
    blocks: BTreeMap<u64, SeenBlock>,
    bridge: Option<Bridged>,
    /// How long a transaction may take to be in a block: the deadline of the run.
    timeout: Duration,
}

/// A block on L1.
#[derive(Debug, Clone, Copy)]
struct SeenBlock {
    at: Instant,
    slot: u64,
    txs: u64,
    paid: PaidBlock,
}

/// The deposit and the withdrawal of a run.
#[derive(Debug)]
struct Bridged {
    bridge: Bridge,
    /// Index and address of the account that claims the deposit.
    claimant: (usize, Fr),
    withdrawal: Option<Fr>,
    proven: Vec<Proven>,
}

/// Starts everything, in the order of dependencies.
///
/// # Errors
/// The error of what did not start, with what to do about it.
pub async fn bring_up(
    options: &Options,
    network: &mut Network,
    progress: &mut Progress,
) -> Result<Running, Error> {
    start::check_programs(network)?;
    // Under faults L1 reorganises, except for blocks that it has finalized.
    let epoch_slots = if options.chaos.is_some() { chaos::L1_EPOCH_SLOTS } else { 2 };
    let l1_address = network.start_anvil(epoch_slots).await?;
    progress.line(&format!("L1: anvil at http://{l1_address}"));
    let warm_up = network.dir.data("warm-up-intents.json");
    // Nothing depends on it but the time of the first block with transactions.
    tokio::spawn(async move { deployment::warm_up(l1_address, &warm_up).await });
    let broker = network.start_broker().await?;
    progress.line(&format!("broker at http://{broker}, with a PostgreSQL of its own"));

    let keys = keys::open(progress).await?;
    progress.line(&format!("keys: root of the key tree {}", to_hex(&keys.set().root())));

    // One more sends between two rounds.
    let senders = options.blocks * options.txs + u32::from(options.terminate);
    let senders = usize::try_from(senders).unwrap_or(usize::MAX);
    // Under faults each account has a transfer in flight, and a lost one must not stop the others.
    let least = if options.chaos.is_some() { 6 } else { 2 };
    let mut account_keys = accounts::account_keys(options.seed, senders.max(least));
    // Before the time of genesis is taken: the first run makes keys here.
    let contracts = contracts::open(options, network, keys.folder(), progress).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let owners = accounts::facts(&account_keys, &options.fund);
    let sponsors = contracts.iter().map(Contracts::balance).collect();
    let data = network.dir.path().join("data");
    let time = now.as_secs();
    let owners = (owners, sponsors);
    let deployment = deploy_contracts(l1_address, &data, &keys, time, owners, options).await?;
    progress.line(&format!("contracts: rollup {}, token {}", deployment.rollup, deployment.token));

    let l1 = L1Client::connect(std::slice::from_ref(&deployment.l1_url), ANVIL_CHAIN_ID).await?;
    let bridge = start::open_bridge(options, network, &l1, &mut account_keys).await?;
    let endpoints = start::start_endpoints(options, network, &deployment.l1_url).await?;
    let of = (&deployment, &*keys, broker);
    let (sequencers, nodes) = start::start_processes(options, network, progress, of).await?;

    let follower = Follower::start(l1.clone(), deployment.followed(), deployment.l1_start).await?;
    Ok(Running {
        contracts,
        accounts: Accounts::new(options.seed, account_keys, std::sync::Arc::clone(&keys)),
        node: nodes[0].clone(),
        nodes,
        jobs: Jobs::watch(broker)?,
        follower,
        blocks: BTreeMap::new(),
        bridge,
        timeout: options.timeout(),
        deployment,
        keys,
        l1,
        broker,
        sequencers,
        signatures: Vec::new(),
        killing: if options.kills_member() { MemberKill::Due } else { MemberKill::Over },
        endpoints,
    })
}

/// Sends the transfers of every epoch and waits until L1 has accepted the proof of each.
///
/// # Errors
/// [`Error::Unproven`] when it takes longer than the timeout; whatever failed before.
pub async fn prove_epochs(
    options: &Options,
    network: &mut Network,
    running: &mut Running,
    progress: &mut Progress,
    report: &mut Report,
) -> Result<(), Error> {
    let start = Instant::now();
    for epoch in 0..options.epochs {
        let last_block = running.send_round(options, network, progress).await?;
        if options.kill && epoch == 0 {
            let agents: Vec<String> = (1..=options.agents).map(services::agent_name).collect();
            let jobs = &mut running.jobs;
            report.add_recovery(faults::kill_agent(network, jobs, &agents, progress).await?);
            report.add_recovery(faults::kill_broker(network, jobs, progress).await?);
        }
        let mut proven = 0;
        while proven < last_block {
            network.check()?;
            if start.elapsed() > options.timeout() {
                return Err(Error::Unproven {
                    proven: u64::from(epoch),
                    wanted: options.epochs.into(),
                    elapsed: start.elapsed(),
                });
            }
            running.jobs.poll(progress).await?;
            for event in running.watch(network, progress).await? {
                proven = proven.max(event.last_block);
                running.note_proven(&event);
                let accepted = running.accepted(&event).await?;
                progress.line(&format!(
                    "epoch {} proven on L1: blocks {} to {}, {} gas, transaction {}",
                    accepted.epoch,
                    event.first_block,
                    event.last_block,
                    accepted.gas,
                    accepted.l1_tx
                ));
                report.epochs.push(accepted);
            }
            tokio::time::sleep(POLL).await;
        }
        // The last job's line may still be missing: the proof can be on L1 before the next poll.
        running.jobs.poll(progress).await?;
        if let Some(recovery) = running.went_on(network, progress).await? {
            report.add_recovery(recovery);
        }
    }
    running.killing.require_over()?;
    running.check_tokens(options, progress).await?;
    running.settle(progress, report).await
}

impl Running {
    /// Figures of every proof so far: the accounts' client proofs, then the agents' jobs.
    pub fn job_reports(&self) -> Vec<JobReport> {
        let mut reports = self.keys.reports();
        reports.extend_from_slice(self.jobs.reports());
        reports
    }

    /// Proves the transfers of one epoch, waits for its first half, sends them and waits until they are in blocks. The
    /// first round of a run with a bridge has a deposit, a withdrawal and a claim. Returns the last of the blocks.
    pub(crate) async fn send_round(
        &mut self,
        options: &Options,
        network: &mut Network,
        progress: &mut Progress,
    ) -> Result<u64, Error> {
        let count = usize::try_from(options.blocks * options.txs).unwrap_or(usize::MAX);
        let is_first = self.bridge.as_ref().is_some_and(|of| of.withdrawal.is_none());
        let transfers = if is_first { count - bridge::TXS } else { count };
        let mut txs = self.accounts.prepare_round(transfers, &self.node, progress).await?;
        let mint = match self.contracts.as_mut().filter(|_| is_first) {
            Some(contracts) => Some(contracts.mint(&self.node, progress).await?),
            None => None,
        };
        txs.extend(mint.clone());
        self.wait_for_slots(options, network).await?;
        if let Some(of) = self.bridge.as_ref().filter(|_| is_first) {
            of.bridge.deposit(&self.deployment, &of.claimant.1).await?;
            let (units, account) = (bridge::DEPOSIT, of.claimant.0);
            progress.line(&format!("{units} units deposited on L1 for account {account}"));
        }
        self.send(&txs, network, progress).await?;
        if is_first {
            txs.extend(self.cross(transfers, options, network, progress).await?);
        }
        if let Some(mint) = mint {
            txs.extend(self.transfer_tokens(mint, options, network, progress).await?);
        }
        self.wait_for(&txs, network, progress).await
    }

    /// The withdrawal of account `sender` and the claim of the deposit, proven and sent.
    async fn cross(
        &mut self,
        sender: usize,
        options: &Options,
        network: &mut Network,
        progress: &mut Progress,
    ) -> Result<[Tx; 2], Error> {
        let Some(of) = &mut self.bridge else {
            return Err(Error::Unpaid { what: "deposit", reason: "there is no bridge".to_owned() });
        };
        let (to, amount) = (of.bridge.recipient_on_l2(), bridge::WITHDRAWAL);
        let withdrawal = self.accounts.withdraw(sender, to, amount, &self.node).await?;
        progress.line(&format!("account {sender} proved a withdrawal of {amount} to L1"));
        let claimant = of.claimant.0;
        of.withdrawal = Some(withdrawal.hash());
        self.send(std::slice::from_ref(&withdrawal), network, progress).await?;
        let start = Instant::now();
        loop {
            network.check()?;
            // Before a proof of some seconds, in which further blocks may come.
            self.watch(network, progress).await?;
            if let Some(claim) = self.accounts.claim(claimant, &self.node).await? {
                progress.line(&format!("account {claimant} proved the claim of its deposit"));
                self.send(std::slice::from_ref(&claim), network, progress).await?;
                return Ok([withdrawal, claim]);
            }
            if start.elapsed() > options.timeout() {
                let reason = format!("no block took it in {} s", start.elapsed().as_secs());
                return Err(Error::Unpaid { what: "deposit", reason });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Keeps what an accepted proof is paid for.
    fn note_proven(&mut self, event: &EpochProven) {
        let added = self.blocks.range(event.first_added..=event.last_block);
        let added: Vec<PaidBlock> = added.map(|(_, block)| block.paid).collect();
        let Some(of) = &mut self.bridge else { return };
        // A longer proof of the same epoch takes the place of a shorter one, and is paid for all of its rows.
        match of.proven.last_mut().filter(|last| last.epoch == event.epoch) {
            Some(last) => {
                last.last_block = event.last_block;
                last.rows += event.delta;
                last.blocks.extend(added);
            }
            None => of.proven.push(Proven {
                epoch: event.epoch,
                first_block: event.first_block,
                last_block: event.last_block,
                rows: event.delta,
                blocks: added,
            }),
        }
    }

    /// Consumes the withdrawal, settles the epochs and claims what they pay; nothing in a run without a bridge.
    async fn settle(&mut self, progress: &mut Progress, report: &mut Report) -> Result<(), Error> {
        let Some(of) = &self.bridge else { return Ok(()) };
        let Some(withdrawal) = &of.withdrawal else { return Ok(()) };
        let paid = of.bridge.settle(&self.deployment, &self.node, withdrawal, &of.proven).await?;
        for payment in &paid {
            progress
                .line(&format!("{} paid to the {}: {} AZT", payment.what, payment.to, payment.azt));
        }
        report.payments = paid;
        let notes = self.accounts.balance(of.claimant.0, &self.node).await?;
        if notes == 0 {
            let reason = "the new account has no note".to_owned();
            return Err(Error::Unpaid { what: "claim", reason });
        }
        progress.line(&format!("the new account has {notes} of its deposit in a note"));
        Ok(())
    }

    /// Waits for space in an epoch, sends transactions and waits until they are in blocks.
    pub(crate) async fn send_and_wait(
        &mut self,
        txs: &[Tx],
        options: &Options,
        network: &mut Network,
        progress: &mut Progress,
    ) -> Result<u64, Error> {
        self.wait_for_slots(options, network).await?;
        self.send(txs, network, progress).await?;
        self.wait_for(txs, network, progress).await
    }

    /// The nodes of the committee's members that run, the first of them first. A member proposes what is in its own
    /// node's pool.
    pub(crate) fn proposers(&self, network: &Network) -> Vec<NodeClient> {
        let nodes = (1..).zip(self.nodes.iter().take(self.sequencers.len()));
        let runs = nodes.filter(|(i, _)| network.runs(&services::sequencer_name(*i)));
        runs.map(|(_, node)| node.clone()).collect()
    }

    pub(crate) async fn send(
        &self,
        txs: &[Tx],
        network: &Network,
        progress: &mut Progress,
    ) -> Result<(), Error> {
        for (i, node) in self.proposers(network).iter().enumerate() {
            for tx in txs {
                let Err(error) = node.send_transaction(tx).await else { continue };
                // Another member may have put it into a block before this one had it.
                let is_late = i > 0 && self.is_included(tx).await?;
                if !is_late {
                    return Err(error.into());
                }
            }
        }
        progress.line(&format!("sent {} transactions", txs.len()));
        Ok(())
    }

    async fn is_included(&self, tx: &Tx) -> Result<bool, Error> {
        let status = self.node.transaction_status(&tx.hash()).await?;
        Ok(matches!(status, TxStatus::Included { .. } | TxStatus::Proven { .. }))
    }

    /// Waits until transactions are in blocks, and returns the last of these. It ends with [`Error::NotIncluded`] after
    /// the time of the run.
    pub(crate) async fn wait_for(
        &mut self,
        txs: &[Tx],
        network: &mut Network,
        progress: &mut Progress,
    ) -> Result<u64, Error> {
        let (start, mut last) = (Instant::now(), 0);
        for tx in txs {
            last = last.max(loop {
                network.check()?;
                self.watch(network, progress).await?;
                if let Some(block) = accounts::block_of(tx, &self.node).await? {
                    break block;
                }
                accounts::require_time(&tx.hash(), start.elapsed(), self.timeout)?;
                tokio::time::sleep(POLL).await;
            });
        }
        Ok(last)
    }

    /// Waits until an epoch without blocks has enough slots left for all blocks of a round.
    async fn wait_for_slots(
        &mut self,
        options: &Options,
        network: &mut Network,
    ) -> Result<(), Error> {
        let rollup = self.l1.rollup(self.deployment.rollup).await?;
        let slots = self.deployment.config.slots_per_epoch;
        let used = match self.blocks.last_key_value() {
            Some((number, _)) => Some(rollup.block_record(*number).await?.slot.to::<u64>() / slots),
            None => None,
        };
        loop {
            network.check()?;
            let slot = rollup.current_slot().await?;
            // Slot 0 is the genesis block's, and a block takes a slot, sometimes two.
            let is_early =
                slot % slots <= slots.saturating_sub(2 * u64::from(options.epoch_blocks()) + 1);
            if slot > 0 && is_early && used != Some(slot / slots) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(self.deployment.config.slot_seconds) / 4).await;
        }
    }

    /// Polls L1: shows new blocks, returns proofs that were accepted.
    pub(crate) async fn follow(
        &mut self,
        progress: &mut Progress,
    ) -> Result<Vec<EpochProven>, Error> {
        let mut proven = Vec::new();
        for event in self.follower.poll().await? {
            match event {
                L1Event::BlockProposed(block) => {
                    let (fees, coinbase) = (block.total_fees, block.coinbase);
                    let paid = PaidBlock { fees, coinbase, signers: block.signers };
                    let (at, slot, txs) = (Instant::now(), block.slot, block.tx_count.into());
                    self.blocks.insert(block.block_number, SeenBlock { at, slot, txs, paid });
                    let signed = self.note_signatures(&block);
                    progress.line(&format!(
                        "block {} on L1: slot {}, {} transactions in a blob{signed}",
                        block.block_number, block.slot, block.tx_count
                    ));
                }
                L1Event::EpochProven(event) => proven.push(event),
                L1Event::MessageSent(message) => {
                    progress
                        .line(&format!("message {} for block {}", message.index, message.block));
                }
                L1Event::Pruned(pruned) => {
                    progress.line(&format!("blocks after {} were pruned", pruned.proven_tip));
                }
                L1Event::Rewind { to } => {
                    progress.line(&format!("L1 was reorganised after its block {}", to.number));
                }
            }
        }
        Ok(proven)
    }

    /// Keeps who signed a block of a committee of several, and says how many did.
    fn note_signatures(&mut self, block: &BlockProposed) -> String {
        let members = &self.deployment.members;
        if members.len() < 2 {
            return String::new();
        }
        let names = (1..).zip(members).map(|(i, account)| (services::sequencer_name(i), account));
        let proposer = names.clone().find(|(_, account)| **account == block.coinbase);
        let signed = names.enumerate().filter(|(bit, _)| block.signers >> bit & 1 == 1);
        let signed: Vec<String> = signed.map(|(_, (name, _))| name).collect();
        let (of, all) = (signed.len(), members.len());
        let proposer = proposer.map_or_else(|| block.coinbase.to_string(), |(name, _)| name);
        let text = format!(", proposed by {proposer}, {of} of {all} signatures");
        self.signatures.push(BlockSignatures { block: block.block_number, proposer, signed });
        text
    }

    /// Polls L1 as [`Self::follow`] does, and kills a member of the committee once a block has its signature, if the run
    /// kills one.
    async fn watch(
        &mut self,
        network: &mut Network,
        progress: &mut Progress,
    ) -> Result<Vec<EpochProven>, Error> {
        let proven = self.follow(progress).await?;
        if matches!(self.killing, MemberKill::Due)
            && let Some(member) = faults::victim(&self.signatures)
        {
            let rollup = self.l1.rollup(self.deployment.rollup).await?;
            let down = faults::kill_member(network, &member, &rollup, progress).await?;
            self.killing = MemberKill::Down(down);
        }
        Ok(proven)
    }

    /// Restarts the member that was killed once a block was proposed without it. `None` if no member is down, or there is
    /// no such block yet.
    ///
    /// # Errors
    /// [`Error::Failover`] if a block that was proposed after the kill has the member's signature, or none before it has.
    async fn went_on(
        &mut self,
        network: &mut Network,
        progress: &mut Progress,
    ) -> Result<Option<Recovery>, Error> {
        let MemberKill::Down(down) = &self.killing else { return Ok(None) };
        let member = &down.program.name;
        let signed = |number: &u64| {
            let mut of = self.signatures.iter().filter(|of| of.block == *number);
            of.any(|of| of.signed.contains(member))
        };
        let blocks: Vec<Signed> = self
            .blocks
            .iter()
            .map(|(number, block)| Signed {
                number: *number,
                slot: block.slot,
                is_signed: signed(number),
            })
            .collect();
        let failed = |why| Error::Failover { step: format!("of {member}"), why };
        let Some(first) = faults::first_without(down.slot, &blocks).map_err(failed)? else {
            return Ok(None);
        };
        let after = blocks.iter().filter(|block| block.slot > down.slot).count();
        progress.line(&format!("{after} blocks were proposed without {member}"));
        let at = self.blocks.get(&first).map_or(down.since, |block| block.at);
        let seconds = at.saturating_duration_since(down.since).as_secs_f64();
        let recovery = Recovery { killed: member.clone(), seconds };
        let program = down.program.clone();
        self.killing = MemberKill::Over;
        network.start(program, services::NODE_LIMIT).await?;
        Ok(Some(recovery))
    }

    /// What L1 reports about an accepted proof.
    pub(crate) async fn accepted(&self, event: &EpochProven) -> Result<EpochReport, Error> {
        let hash = event.place.tx_hash;
        let receipt = deployment::receipt(&self.l1, hash).await?;
        let blocks = event.last_block + 1 - event.first_block;
        let seconds = self.blocks.get(&event.last_block);
        let seconds = seconds.map_or(0.0, |block| block.at.elapsed().as_secs_f64());
        let covered = self.blocks.range(event.first_block..=event.last_block);
        Ok(EpochReport {
            epoch: event.epoch,
            blocks,
            txs: covered.map(|(_, block)| block.txs).sum(),
            l1_tx: hash.to_string(),
            l1_status: if receipt.status() { "success" } else { "reverted" }.into(),
            gas: receipt.gas_used,
            verifier: self.deployment.verifier_of(blocks).to_string(),
            seconds,
        })
    }
}
