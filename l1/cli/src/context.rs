//! What every command has: the connection, the account, and how it sends.

use std::io::IsTerminal;
use std::time::Duration;

use rollmill_l1::abi;
use rollmill_l1::alloy::primitives::{Address, keccak256};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::rpc::types::Log;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::alloy::sol_types::SolEvent;
use rollmill_l1::economics::{Call, Economics};
use rollmill_l1::{
    Azt, DeploymentInfo, KeyLock, L1Client, L1Error, RollupContract, SenderConfig, TxReceipt,
    TxRequest, TxSender, TxStatus,
};
use rollmill_protocol::EthAddress;
use rollmill_service::{Exit, Failure, Process, Shutdown};

use crate::answer::Answer;
use crate::args::Config;
use crate::error::CliError;
use crate::reported::Reported;

/// A transaction was sent, or may have been, and its outcome is unknown.
pub(crate) const SENT_UNKNOWN: u8 = 3;
const WEI_PER_GWEI: u128 = 1_000_000_000;

/// A deployment, as commands read it.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) rollup: RollupContract,
    pub(crate) info: DeploymentInfo,
    pub(crate) economics: Economics,
}

/// Tokens that a call moves out of the account, by allowance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spending {
    pub(crate) spender: Address,
    pub(crate) amount: Azt,
}

/// A transaction that a command sends.
#[derive(Debug)]
pub(crate) struct Order {
    /// What it does, in words that a user reads.
    pub(crate) what: String,
    pub(crate) call: Call,
    pub(crate) spends: Option<Spending>,
    /// Whether L1's state alone says if it is needed, as for an approval or a prune. Then one that is in a block is
    /// over, whoever has seen it.
    pub(crate) is_repeatable: bool,
}

impl Order {
    pub(crate) fn new(what: impl Into<String>, call: Call) -> Self {
        Self { what: what.into(), call, spends: None, is_repeatable: false }
    }

    /// A call that recurs with one input, and is of use only if L1's state asks for it.
    pub(crate) fn recurring(what: impl Into<String>, call: Call) -> Self {
        Self { is_repeatable: true, ..Self::new(what, call) }
    }

    /// The name in the journal: one for each recipient and input.
    fn purpose(&self) -> String {
        let word = self.what.split(' ').next().unwrap_or_default();
        let digest = keccak256([self.call.to.as_slice(), &self.call.input[..]].concat());
        format!("{word}/{}", &digest.to_string()[2..18])
    }
}

/// A transaction that is on L1.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) receipt: TxReceipt,
    purpose: String,
    attempt: u32,
    /// An earlier run of the command had sent it.
    pub(crate) is_earlier: bool,
    pub(crate) is_repeatable: bool,
}

impl Sent {
    /// The first event of this type in the transaction.
    ///
    /// # Errors
    /// [`CliError::NoEvents`]
    pub(crate) async fn event<E: SolEvent>(
        &self,
        client: &L1Client,
        emitter: Address,
        what: &'static str,
    ) -> Result<E, Failure> {
        let tx_hash = self.receipt.tx_hash;
        let found = client.provider().get_transaction_receipt(tx_hash).await;
        let logs: Vec<Log> =
            found.ok().flatten().map(|it| it.inner.logs().to_vec()).unwrap_or_default();
        let of_type = logs.iter().filter(|log| log.address() == emitter);
        let mut events = of_type.filter_map(|log| E::decode_log(&log.inner).ok());
        match events.next() {
            Some(event) => Ok(event.data),
            None => Err(Exit {
                code: SENT_UNKNOWN,
                failure: CliError::NoEvents { what, tx_hash }.into(),
            }
            .into()),
        }
    }
}

/// The sender with what was reported of it.
struct Open {
    sender: TxSender,
    reported: Reported,
    /// A program that signs blocks with the keystore sends from its account, too.
    _lock: Option<KeyLock>,
}

/// What every command has.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) client: L1Client,
    shutdown: Shutdown,
    signer: Option<PrivateKeySigner>,
    open: Option<Open>,
}

impl Context {
    /// Connects to L1.
    ///
    /// # Errors
    /// As [`L1Client::connect`].
    pub(crate) async fn connect(process: &Process<Config>) -> Result<Self, Failure> {
        let config = process.config.clone();
        let client = L1Client::connect(&config.l1_urls, config.chain_id).await?;
        let shutdown = process.shutdown.clone();
        Ok(Self { config, client, shutdown, signer: None, open: None })
    }

    /// The deployment of `--rollup`.
    pub(crate) async fn deployment(&self) -> Result<Deployment, Failure> {
        let address = required(self.config.rollup, "rollup")?;
        let rollup = self.client.rollup(address).await?;
        let info = rollup.info().await?;
        let economics = rollup.economics(&info).await?;
        Ok(Deployment { rollup, info, economics })
    }

    /// The contract Governance of `--governance`.
    pub(crate) fn governance(&self) -> Result<Address, CliError> {
        required(self.config.governance, "governance")
    }

    /// The contract Deployments of `--deployments`.
    pub(crate) fn deployments(&self) -> Result<Address, CliError> {
        required(self.config.deployments, "deployments")
    }

    fn signer(&mut self) -> Result<&PrivateKeySigner, Failure> {
        let signer = match self.signer.take() {
            Some(signer) => signer,
            // A keystore takes about a second.
            None => tokio::task::block_in_place(|| self.config.account.key().load())?,
        };
        Ok(self.signer.insert(signer))
    }

    /// The account that sends: that of the key, or `--from`.
    pub(crate) fn account(&mut self) -> Result<Address, Failure> {
        match self.config.from {
            Some(from) => Ok(abi::address(from)),
            None => Ok(self.signer()?.address()),
        }
    }

    /// The account that an argument names, or the one that sends.
    pub(crate) fn account_or(&mut self, named: Option<EthAddress>) -> Result<Address, Failure> {
        match named {
            Some(account) => Ok(abi::address(account)),
            None => self.account(),
        }
    }

    /// Uses this key instead of that of the settings.
    pub(crate) fn use_key(&mut self, key: PrivateKeySigner) {
        self.signer = Some(key);
    }

    /// The sender with its journal.
    pub(crate) async fn sender(&mut self) -> Result<&TxSender, Failure> {
        Ok(&self.open().await?.sender)
    }

    /// Completes when the process is asked to stop.
    pub(crate) fn stopping(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Opens the journal, once.
    async fn open(&mut self) -> Result<&mut Open, Failure> {
        if let Some(open) = self.open.take() {
            return Ok(self.open.insert(open));
        }
        let config = SenderConfig {
            max_fee_limit_wei: u128::from(self.config.account.l1_max_fee_gwei) * WEI_PER_GWEI,
            poll_interval: Duration::from_millis(self.config.poll_ms),
            ..SenderConfig::default()
        };
        let signer = self.signer()?.clone();
        let lock = self.config.account.key().lock()?;
        let path = &self.config.account.intents;
        let sender = TxSender::open(self.client.clone(), signer, path, config).await?;
        let reported = Reported::open(path)?;
        Ok(self.open.insert(Open { sender, reported, _lock: lock }))
    }

    /// Whether an earlier run of the command has sent this, and its user has not seen the result. The state on L1
    /// may show its effect already, so that checks of that state would mislead.
    pub(crate) async fn is_continued(&mut self, order: &Order) -> Result<bool, Failure> {
        if self.config.dry_run {
            return Ok(false);
        }
        let open = self.open().await?;
        let (_, is_earlier) = attempt(open, order);
        Ok(is_earlier)
    }

    /// Sends a transaction, and waits until it is in a block. `None` with `--dry-run`, which prints it.
    ///
    /// # Errors
    /// With exit code [`SENT_UNKNOWN`] if it may be included later.
    pub(crate) async fn send(
        &mut self,
        economics: Option<&Economics>,
        order: &Order,
    ) -> Result<Option<Sent>, Failure> {
        let is_continued = self.is_continued(order).await?;
        let mut approval = None;
        if let (Some(spending), Some(economics), false) = (order.spends, economics, is_continued) {
            approval = self.approval(economics, spending).await?;
        }
        if self.config.dry_run {
            let account = self.account()?;
            self.show(account, approval.iter().chain([order])).await?;
            return Ok(None);
        }
        if !is_continued {
            self.confirm(&order.what)?;
        }
        if let Some(approval) = approval {
            self.deliver(&approval).await?;
        }
        self.deliver(order).await.map(Some)
    }

    /// The approval that spending needs before it, if the allowance is lower.
    async fn approval(
        &mut self,
        economics: &Economics,
        spending: Spending,
    ) -> Result<Option<Order>, Failure> {
        let account = self.account()?;
        let Spending { spender, amount } = spending;
        let owned = economics.balance(account).await?;
        if owned < amount {
            return Err(CliError::NotEnough { account, owned, needed: amount }.into());
        }
        let allowance = economics.allowance(account, spender).await?;
        Ok((allowance < amount).then(|| {
            let call = economics.approve(spender, amount);
            Order::recurring(format!("approve {amount} AZT for {spender}"), call)
        }))
    }

    /// Prints calls, and whether the first would succeed: the later ones depend on it.
    async fn show(
        &self,
        account: Address,
        orders: impl Iterator<Item = &Order>,
    ) -> Result<(), Failure> {
        let mut shown = Vec::new();
        for order in orders {
            let mut call = serde_json::json!({
                "what": order.what, "to": order.call.to.to_string(), "data": order.call.input,
            });
            if shown.is_empty() {
                let (to, input) = (order.call.to, order.call.input.clone());
                let outcome = self.client.call(account, to, input).await?;
                call["outcome"] = outcome
                    .map_or_else(|why| format!("reverts: {why}"), |_| "succeeds".to_owned())
                    .into();
            }
            shown.push(call);
        }
        let answer = Answer::new().with_text("from", account).with("call", shown);
        answer.with("sent", false).print(self.config.json);
        Ok(())
    }

    pub(crate) fn confirm(&self, what: &str) -> Result<(), Failure> {
        if self.config.yes || !std::io::stdin().is_terminal() {
            return Ok(());
        }
        eprint!("{what}? [y/N] ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        match ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            true => Ok(()),
            false => Err(CliError::NotConfirmed.into()),
        }
    }

    /// Sends one transaction by the journal, and waits until it is in a block.
    async fn deliver(&mut self, order: &Order) -> Result<Sent, Failure> {
        let (seconds, shutdown) = (self.config.wait_seconds, self.shutdown.clone());
        let open = self.open().await?;
        let purpose = order.purpose();
        let (attempt, is_earlier) = attempt(open, order);
        let request = TxRequest { attempt, ..TxRequest::of(purpose.clone(), order.call.clone()) };
        let sent = tokio::select! {
            sent = tokio::time::timeout(Duration::from_secs(seconds), open.sender.send(request)) => sent.ok(),
            () = shutdown.started() => None,
        };
        let is_open = matches!(
            open.sender.status(&purpose, attempt),
            Some(TxStatus::Pending { .. } | TxStatus::Included(_))
        );
        let what = order.what.clone();
        let unknown = |why: String| {
            let failure = CliError::OutcomeUnknown { what: what.clone(), why }.into();
            Failure::from(Exit { code: SENT_UNKNOWN, failure })
        };
        match sent {
            Some(Ok(receipt)) if receipt.succeeded => {
                let is_repeatable = order.is_repeatable;
                Ok(Sent { receipt, purpose, attempt, is_earlier, is_repeatable })
            }
            Some(Ok(receipt)) => {
                let (id, tx_hash) = (receipt.id, receipt.tx_hash);
                Err(L1Error::Reverted { id, tx_hash }.into())
            }
            Some(Err(error)) if is_open => Err(unknown(error.to_string())),
            Some(Err(error)) => Err(error.into()),
            None if is_open => Err(unknown(format!("stopped, or {seconds} s have passed"))),
            None => Err(CliError::NotSent { what, seconds }.into()),
        }
    }

    /// Records that the user sees the result now. Call it after printing.
    pub(crate) fn report(&mut self, sent: &Sent) {
        let Some(open) = self.open.as_mut().filter(|_| !sent.is_repeatable) else { return };
        // The transaction is on L1: the worst that follows is that it is shown once more.
        if let Err(error) = open.reported.record(&sent.purpose, sent.attempt) {
            tracing::warn!(%error, "result shown; the next run of this command shows it again");
        }
    }

    /// Sends an order, prints its transaction and what `more` adds, and records that the user saw it.
    pub(crate) async fn run(
        &mut self,
        economics: Option<&Economics>,
        order: &Order,
    ) -> Result<(), Failure> {
        if let Some(sent) = self.send(economics, order).await? {
            self.print(order, &sent, Answer::new());
        }
        Ok(())
    }

    /// Prints a transaction that is on L1, after `more`.
    pub(crate) fn print(&mut self, order: &Order, sent: &Sent, more: Answer) {
        if sent.is_earlier {
            eprintln!("sent by an earlier run of this command; run it again to send another");
        }
        let receipt = &sent.receipt;
        more.with("done", &order.what)
            .with_text("l1_tx", receipt.tx_hash)
            .with("l1_block", receipt.block_number)
            .with("gas", receipt.gas_used)
            .print(self.config.json);
        self.report(sent);
    }
}

/// The attempt to send now, and whether an earlier run has sent it.
fn attempt(open: &Open, order: &Order) -> (u32, bool) {
    let purpose = order.purpose();
    if order.is_repeatable {
        return (open.sender.attempt_for(&purpose), false);
    }
    let mut attempt = open.reported.next(&purpose);
    loop {
        match open.sender.status(&purpose, attempt) {
            Some(TxStatus::Included(receipt)) if !receipt.succeeded => attempt += 1,
            Some(TxStatus::Lost { .. }) => attempt += 1,
            Some(TxStatus::Pending { .. } | TxStatus::Included(_)) => return (attempt, true),
            // A dropped form may still be included; under the same nonce only one can.
            Some(TxStatus::Dropped { .. }) | None => return (attempt, false),
        }
    }
}

fn required(address: Option<EthAddress>, key: &'static str) -> Result<Address, CliError> {
    address.map(abi::address).ok_or(CliError::Unset { key })
}
