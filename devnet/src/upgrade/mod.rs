//! `rollmill-devnet upgrade`: two deployments on one broker and one pool of agents, and the move from one to the other
//! that governance decides. Programs, proofs, wallets and transactions are real; governance's delays are seconds.

mod audit;
mod decide;
mod queue;
mod report;
mod side;
mod story;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use rollmill_deployment::{EthAccount, Existing};
use rollmill_l1::abi::AztToken;
use rollmill_l1::alloy::primitives::{Address, U256};
use rollmill_l1::{EpochProven, L1Client, TxSender};
use rollmill_protocol::Tx;
use rollmill_service::values;

pub use report::{Crossed, Held, UpgradeEpoch, UpgradeReport, UpgradeStep};

use crate::accounts;
use crate::deployment::{
    self, Deployer, Deployment, Founding, PROOF_WINDOW_SECONDS, SUPPLY, TOKEN, derived_key, enrich,
    open_sender, receipt, signer,
};
use crate::error::getter;
use crate::governance::{Common, Voting, deploy_common};
use crate::jobs::Jobs;
use crate::keys::{self, CircuitKeys};
use crate::scenario::POLL;
use crate::{Error, Network, Progress, services};
use side::{Side, proposer_key};

/// Times of a decision, in seconds: enough that two votes land in it on a busy machine.
const VOTING: Voting = Voting { delay: 1, period: 6, timelock_delay: 2, quorum_percent: 4 };
/// What each person has on L1 at first.
const GRANT: u128 = 10_000 * TOKEN;
/// Blocks for which an epoch has slots.
const BLOCKS: u32 = 2;

/// Options of `rollmill-devnet upgrade`.
#[derive(Debug, Clone, Args)]
pub struct UpgradeOptions {
    /// Proving agents
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = values::whole(1..=64_u32))]
    #[arg(allow_negative_numbers = true)]
    pub agents: u32,

    /// Seed of the wallet's keys
    #[arg(long, value_name = "SEED", default_value_t = 1, allow_negative_numbers = true)]
    #[arg(value_parser = values::whole(0..=u64::MAX))]
    pub seed: u64,

    /// Fail if it is not done after this time
    #[arg(long, value_name = "MINUTES", default_value_t = 30, allow_negative_numbers = true)]
    #[arg(value_parser = values::whole(1..=10_080_u64))]
    pub timeout_minutes: u64,

    /// Keep data and logs in this new or empty directory [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Write the report as JSON to this file [default: none]
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Somebody with an account on L1 and an address on L2.
#[derive(Debug)]
struct Person {
    l1: TxSender,
    l2: rollmill_pxe::keys::Keys,
}

impl Person {
    fn account(&self) -> Address {
        self.l1.account()
    }
}

/// The run.
#[derive(Debug)]
struct Upgrade<'a> {
    options: &'a UpgradeOptions,
    network: &'a mut Network,
    progress: &'a mut Progress,
    start: Instant,
    report: UpgradeReport,
    l1: L1Client,
    keys: Arc<CircuitKeys>,
    deployer: Deployer,
    common: Common,
    /// Those of the first deployment, which the second one uses too.
    verifiers: Option<[EthAccount; 2]>,
    broker: SocketAddr,
    jobs: Jobs,
    /// Moves from alpha to beta.
    user: Person,
    /// Deposits on beta as soon as it is canonical.
    early: Person,
    /// The deployments that run, alpha first.
    sides: Vec<Side>,
}

/// Runs it, prints the tables and writes the report.
///
/// # Errors
/// [`Error::Upgrade`] for what the other deployment accepted or did not happen in time, [`Error::Unpaid`] for an amount
/// that is wrong, and the errors of starting a network.
pub async fn run(
    options: &UpgradeOptions,
    network: &mut Network,
    progress: &mut Progress,
) -> Result<(), Error> {
    if let Some(path) = &options.json {
        // Checked now, so that a wrong path does not cost the result of a run.
        UpgradeReport::default().write_json(path)?;
    }
    let mut run = Upgrade::bring_up(options, network, progress).await?;
    let done = run.story().await;
    run.report.proofs = run.jobs.reports().to_vec();
    let (text, report) = (run.report.text(), run.report);
    progress.block(&text);
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    done
}

impl<'a> Upgrade<'a> {
    /// Starts what both deployments share.
    async fn bring_up(
        options: &'a UpgradeOptions,
        network: &'a mut Network,
        progress: &'a mut Progress,
    ) -> Result<Self, Error> {
        for program in
            ["rollmill-broker", "rollmill-agent", "rollmill-sequencer", "rollmill-prover-node"]
        {
            network.programs.own(program)?;
        }
        network.programs.contracts()?;
        let start = Instant::now();
        let l1_address = network.start_anvil(2).await?;
        progress.line(&format!("L1: anvil at http://{l1_address}"));
        let warm_up = network.dir.data("warm-up-intents.json");
        tokio::spawn(async move { deployment::warm_up(l1_address, &warm_up).await });
        let broker = network.start_broker().await?;
        progress.line(&format!("broker at http://{broker}, for both deployments"));
        let keys = keys::open(progress).await?;
        let data = network.dir.path().join("data");
        let deployer = Deployer::open(l1_address, &data).await?;
        let l1 = deployer.l1.clone();
        network.l1_urls = vec![format!("http://{l1_address}")];
        let common = deploy_common(&l1, &deployer.sender, SUPPLY, VOTING).await?;
        let mut people = Vec::new();
        for (name, l2) in
            ["user", "early depositor"].into_iter().zip(accounts::account_keys(options.seed, 2))
        {
            let key = derived_key(name);
            let account = signer(&key)?.address();
            enrich(&l1, account).await?;
            deployer.pay(&format!("grant/{name}"), common.token, account, GRANT).await?;
            let intents = data.join(format!("{name}-intents.json").replace(' ', "-"));
            people.push(Person { l1: open_sender(&l1, &key, &intents).await?, l2 });
        }
        for i in 1..=options.agents {
            services::start_agent(network, &keys, broker, i).await?;
        }
        progress.line(&format!("agents: {}, for both deployments", options.agents));
        let (Some(early), Some(user)) = (people.pop(), people.pop()) else {
            let reason = "there are not two of them".to_owned();
            return Err(Error::Upgrade { what: "accounts".to_owned(), reason });
        };
        Ok(Self {
            options,
            network,
            progress,
            start,
            report: UpgradeReport::default(),
            l1,
            keys,
            deployer,
            common,
            verifiers: None,
            broker,
            jobs: Jobs::watch(broker)?,
            user,
            early,
            sides: Vec::new(),
        })
    }

    /// Notes what happened.
    fn step(&mut self, of: &str, what: impl Into<String>) {
        let what = what.into();
        self.progress.line(&format!("{of}: {what}"));
        let seconds = self.start.elapsed().as_secs_f64();
        self.report.steps.push(UpgradeStep { seconds, of: of.to_owned(), what });
    }

    /// Notes what was made for one deployment and rejected by the other.
    fn rejected(&mut self, what: &str, by: &str, answer: &str) {
        self.progress.line(&format!("{what}: rejected by {by}: {answer}"));
        let (what, by, answer) = (what.to_owned(), by.to_owned(), answer.to_owned());
        self.report.rejections.push(Crossed { what, by, answer });
    }

    /// Deploys a deployment whose slot 0 is at `genesis_time`. Nobody has anything on its L2.
    async fn found(&mut self, name: &'static str, genesis_time: u64) -> Result<Deployment, Error> {
        let of = Founding {
            name,
            existing: Existing {
                token: Some(EthAccount(self.common.token)),
                timelock: Some(EthAccount(self.common.timelock)),
                governance: Some(EthAccount(self.common.governance)),
                deployments: Some(EthAccount(self.common.deployments)),
                verifiers: self.verifiers,
            },
            members: vec![signer(&proposer_key(name))?.address()],
            genesis_time,
            blocks: BLOCKS,
            proof_window_seconds: PROOF_WINDOW_SECONDS,
            accounts: Vec::new(),
            contracts: Vec::new(),
            rewards: 0,
        };
        let deployment = self.deployer.found(of, &self.keys).await?;
        self.verifiers = Some(deployment.verifiers.map(EthAccount));
        self.step(name, format!("deployed: rollup {}", deployment.rollup));
        Ok(deployment)
    }

    /// Starts a deployment's processes beside the others, on the same broker and agents.
    async fn launch(&mut self, name: &'static str, deployment: Deployment) -> Result<(), Error> {
        self.jobs.name(deployment.rollup, name);
        let user = self.user.l2.clone();
        let (network, keys) = (&mut *self.network, &self.keys);
        let side =
            Side::start(name, deployment, network, &self.l1, keys, self.broker, user).await?;
        self.sides.push(side);
        self.step(name, "sequencer and prover node run, each with its node");
        Ok(())
    }

    /// One look at everything: processes, jobs and L1. Then a pause.
    async fn turn(&mut self, waits_for: &str) -> Result<(), Error> {
        self.network.check()?;
        let elapsed = self.start.elapsed();
        if elapsed > Duration::from_secs(self.options.timeout_minutes.saturating_mul(60)) {
            let reason = format!("not after {} s", elapsed.as_secs());
            return Err(Error::Upgrade { what: waits_for.to_owned(), reason });
        }
        self.jobs.poll(self.progress).await?;
        let mut proven = Vec::new();
        for side in &mut self.sides {
            for event in side.follow(self.progress).await? {
                proven.push((side.name, event));
            }
        }
        for (name, event) in proven {
            self.note_proven(name, &event).await?;
        }
        tokio::time::sleep(POLL).await;
        Ok(())
    }

    async fn note_proven(&mut self, name: &'static str, event: &EpochProven) -> Result<(), Error> {
        let hash = event.place.tx_hash;
        let receipt = receipt(&self.l1, hash).await?;
        self.report.epochs.push(UpgradeEpoch {
            of: name.to_owned(),
            epoch: event.epoch,
            first_block: event.first_block,
            last_block: event.last_block,
            gas: receipt.gas_used,
            l1_tx: hash.to_string(),
        });
        let (epoch, first, last) = (event.epoch, event.first_block, event.last_block);
        self.step(name, format!("epoch {epoch} proven on L1: blocks {first} to {last}"));
        Ok(())
    }

    /// Waits until a block has the transaction, and returns its number.
    async fn included(&mut self, side: usize, tx: &Tx) -> Result<u64, Error> {
        loop {
            if let Some(block) = accounts::block_of(tx, &self.sides[side].node).await? {
                return Ok(block);
            }
            self.turn("a transaction in a block").await?;
        }
    }

    /// Waits until L1 has the block and the proof of it.
    async fn proven(&mut self, side: usize, block: u64) -> Result<(), Error> {
        while !self.sides[side].is_proven(block) {
            self.turn("an epoch's proof").await?;
        }
        Ok(())
    }

    /// Waits for the start of an epoch, which is the same on both deployments.
    async fn epoch_starts(&mut self) -> Result<(), Error> {
        let rollup = self.l1.rollup(self.sides[0].deployment.rollup).await?;
        let slots = self.sides[0].deployment.config.slots_per_epoch;
        loop {
            let slot = rollup.current_slot().await?;
            if slot > 0 && slot % slots <= 1 {
                return Ok(());
            }
            self.turn("the start of an epoch").await?;
        }
    }

    /// Tokens of an account on L1.
    async fn balance(&self, of: Address) -> Result<U256, Error> {
        let token = AztToken::new(self.common.token, self.l1.provider().clone());
        token.balanceOf(of).call().await.map_err(getter("balanceOf"))
    }

    /// Names of the accounts that may hold tokens.
    fn names(&self) -> Result<BTreeMap<Address, String>, Error> {
        let mut names = BTreeMap::from([
            (self.deployer.sender.account(), "first holder".to_owned()),
            (self.user.account(), "user".to_owned()),
            (self.early.account(), "early depositor".to_owned()),
            (self.common.timelock, "timelock".to_owned()),
        ]);
        for side in &self.sides {
            let (proposer, prover) = (proposer_key(side.name), side::prover_key(side.name));
            names.insert(signer(&proposer)?.address(), format!("{} proposer", side.name));
            names.insert(signer(&prover)?.address(), format!("{} prover", side.name));
        }
        Ok(names)
    }
}

/// An address as the prover node labels its jobs.
pub(crate) fn label_of(rollup: Address) -> String {
    format!("{rollup:#x}")
}

/// Seconds since 1970.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
