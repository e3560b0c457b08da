//! One scenario's L1: an anvil of its own, accounts, time, and transactions that must land or must be rejected.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::alloy::primitives::{Address, Bytes, U256, keccak256};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::providers::ext::AnvilApi;
use rollmill_l1::alloy::rpc::types::TransactionRequest;
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::alloy::sol_types::{SolCall, SolError};
use rollmill_l1::blob::Sidecar;
use rollmill_l1::{L1Client, L1Error, SenderConfig, TxReceipt, TxRequest, TxSender};

use super::Scenario;
use super::book::Book;
use super::report::ScenarioReport;
pub(crate) use crate::error::{getter, rpc};
use crate::reorg::reorganise;
use crate::{ANVIL_CHAIN_ID, Error};

/// Wei of each account, for gas.
const WEALTH: u128 = 1_000_000_000_000_000_000_000;
/// Gas of every transaction but creations: more than any call here uses. An estimate would not do: it is made at the
/// time of the newest block, and a call may cost more a second later, when a deadline is over or a vote's checkpoint is
/// a new one.
const GAS_LIMIT: u64 = 10_000_000;

/// Who takes part. Each has a key of its own, which is public: it is derived from the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Has the first supply, deploys, and pays whatever sets the stage.
    Holder,
    /// Holds a part of the supply and votes against.
    Voter,
    /// Proposes and signs.
    Member(u8),
    /// Proves whole epochs.
    Prover,
    /// Proves a part, or too late.
    Rival,
    /// Proves what others left unproven.
    Challenger,
    /// Reports equivocation.
    Reporter,
    /// Has funds on L2.
    User,
    /// Anybody: sends what anyone may send.
    Anyone,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Holder => "holder",
            Self::Voter => "voter",
            Self::Member(i) => return write!(f, "member {i}"),
            Self::Prover => "prover",
            Self::Rival => "rival",
            Self::Challenger => "challenger",
            Self::Reporter => "reporter",
            Self::User => "user",
            Self::Anyone => "anyone",
        })
    }
}

impl Role {
    /// The key, which anybody can derive: good for a development L1 only.
    pub(crate) fn signer(self) -> Result<PrivateKeySigner, Error> {
        let key = keccak256(format!("rollmill-devnet economics {self}"));
        PrivateKeySigner::from_bytes(&key).map_err(|_| Error::L1Key)
    }

    pub(crate) fn address(self) -> Result<Address, Error> {
        Ok(self.signer()?.address())
    }
}

/// A call of a contract.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub to: Address,
    pub input: Bytes,
    pub sidecar: Option<Arc<Sidecar>>,
}

impl Call {
    pub(crate) fn new(to: Address, call: &impl SolCall) -> Self {
        Self { to, input: call.abi_encode().into(), sidecar: None }
    }
}

/// The L1 of one scenario and what was done on it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub scenario: Scenario,
    pub client: L1Client,
    pub book: Book,
    pub report: ScenarioReport,
    folder: PathBuf,
    senders: BTreeMap<Role, Arc<TxSender>>,
    sent: u64,
}

impl Stage {
    /// A scenario on an anvil that mines a block for each transaction and no others. From here on, only the scenario
    /// moves its time, but for one second per block. Journals of transactions go to `folder`.
    pub(crate) async fn open(
        scenario: Scenario,
        l1_url: String,
        folder: PathBuf,
    ) -> Result<Self, Error> {
        let client = L1Client::connect(&[l1_url], ANVIL_CHAIN_ID).await?;
        let interval = client.provider().anvil_set_block_timestamp_interval(1).await;
        interval.map_err(rpc("block timestamp interval"))?;
        Ok(Self {
            scenario,
            client,
            book: Book::default(),
            report: ScenarioReport::new(scenario),
            folder,
            senders: BTreeMap::new(),
            sent: 0,
        })
    }

    /// Notes what happened, for the output.
    pub(crate) fn say(&mut self, step: impl Into<String>) {
        self.report.steps.push(step.into());
    }

    /// The sender of a role, whose account is funded with wei on first use.
    pub(crate) async fn sender(&mut self, role: Role) -> Result<Arc<TxSender>, Error> {
        if let Some(sender) = self.senders.get(&role) {
            return Ok(Arc::clone(sender));
        }
        let signer = role.signer()?;
        let account = signer.address();
        self.book.name(account, role.to_string());
        let funded = self.client.provider().anvil_set_balance(account, U256::from(WEALTH)).await;
        funded.map_err(rpc("balance of a development account"))?;
        std::fs::create_dir_all(&self.folder).map_err(Error::file("create", &self.folder))?;
        let path = self.folder.join(format!("{role}.json").replace(' ', "-"));
        let poll_interval = Duration::from_millis(10);
        let config = SenderConfig { poll_interval, ..SenderConfig::default() };
        let sender = TxSender::open(self.client.clone(), signer, &path, config).await?;
        let sender = Arc::new(sender);
        self.senders.insert(role, Arc::clone(&sender));
        Ok(sender)
    }

    fn request(&mut self, step: &str, call: Call) -> TxRequest {
        self.sent += 1;
        let id = format!("{:03}/{step}", self.sent);
        let request = TxRequest::call(id, call.to, call.input);
        TxRequest { sidecar: call.sidecar, gas_limit: Some(GAS_LIMIT), ..request }
    }

    /// What a call would do on the newest block: succeed, or revert with this data.
    async fn simulate(&self, from: Address, call: &Call) -> Result<Option<Bytes>, Error> {
        let input = call.input.clone().into();
        let mut request = TransactionRequest::default().from(from).to(call.to).input(input);
        request.blob_versioned_hashes =
            call.sidecar.as_ref().map(|sidecar| vec![sidecar.versioned_hash().into()]);
        match self.client.provider().call(request).await {
            Ok(_) => Ok(None),
            Err(error) => {
                let data = error.as_error_resp().and_then(|payload| payload.as_revert_data());
                data.map(Some).ok_or_else(|| rpc("call")(error))
            }
        }
    }

    /// Fails if a call would revert, with the contract's reason.
    async fn require_call(&self, from: Address, step: &str, call: &Call) -> Result<(), Error> {
        let Some(data) = self.simulate(from, call).await? else { return Ok(()) };
        let (scenario, step) = (self.scenario.name(), step.to_owned());
        Err(Error::EconomicsStep { scenario, step, reason: described(&data) })
    }

    /// Sends a transaction that must succeed.
    pub(crate) async fn send(
        &mut self,
        by: Role,
        step: &str,
        call: Call,
    ) -> Result<TxReceipt, Error> {
        let sender = self.sender(by).await?;
        self.require_call(sender.account(), step, &call).await?;
        let request = self.request(step, call);
        let receipt = sender.send(request).await.map_err(|error| self.failed(step, error))?;
        self.require_success(step, receipt)
    }

    /// Sends a transaction, lets L1 drop its block, and requires that its sender lands it again, under the same
    /// nonce in another block. Its fees may be others, and so its hash.
    pub(crate) async fn send_through_reorg(
        &mut self,
        by: Role,
        step: &str,
        call: Call,
    ) -> Result<(), Error> {
        let sender = self.sender(by).await?;
        self.require_call(sender.account(), step, &call).await?;
        let request = self.request(step, call);
        let first = sender.send(request.clone()).await.map_err(|error| self.failed(step, error))?;
        let first = self.require_success(step, first)?;
        let depth = self.client.latest().await?.number + 1 - first.block_number;
        reorganise(&self.client, depth).await.map_err(rpc("reorg"))?;
        let receipt = self.client.provider().get_transaction_receipt(first.tx_hash).await;
        let is_gone = receipt.map_err(rpc("receipt"))?.is_none();
        self.require(&format!("{step}: the reorg dropped the transaction"), true, is_gone)?;
        let again = sender.send(request).await.map_err(|error| self.failed(step, error))?;
        let again = self.require_success(step, again)?;
        self.require(&format!("{step}: nonce of what landed again"), first.nonce, again.nonce)?;
        self.require(
            &format!("{step}: it is in another block"),
            true,
            first.block_hash != again.block_hash,
        )?;
        self.say(format!("{step}: dropped by a reorg of L1, landed again"));
        Ok(())
    }

    fn require_success(&self, step: &str, receipt: TxReceipt) -> Result<TxReceipt, Error> {
        if receipt.succeeded {
            return Ok(receipt);
        }
        let (id, tx_hash) = (receipt.id, receipt.tx_hash);
        Err(self.failed(step, L1Error::Reverted { id, tx_hash }))
    }

    fn failed(&self, step: &str, error: L1Error) -> Error {
        let reason = match error {
            L1Error::WouldRevert { reason, .. } => reason,
            L1Error::Reverted { tx_hash, .. } => format!("transaction {tx_hash} reverted"),
            other => return other.into(),
        };
        Error::EconomicsStep { scenario: self.scenario.name(), step: step.to_owned(), reason }
    }

    /// Requires that the contract rejects a call with the error `E`: in a simulation, whose answer is compared by
    /// selector, and as a transaction, which must revert.
    pub(crate) async fn rejected<E: SolError>(
        &mut self,
        by: Role,
        step: &str,
        call: Call,
    ) -> Result<(), Error> {
        let sender = self.sender(by).await?;
        let got = match self.simulate(sender.account(), &call).await? {
            None => "success".to_owned(),
            Some(data) if data.starts_with(&E::SELECTOR) => E::SIGNATURE.to_owned(),
            Some(data) => described(&data),
        };
        self.require_rejection(step, E::SIGNATURE, got)?;
        let request = self.request(step, call);
        let receipt = sender.send(request).await.map_err(|error| self.failed(step, error))?;
        let got = match receipt.succeeded {
            true => "a transaction that succeeded",
            // That would be another reason.
            false if receipt.gas_used >= GAS_LIMIT => "a transaction that ran out of gas",
            false => E::SIGNATURE,
        };
        self.require_rejection(step, E::SIGNATURE, got.to_owned())?;
        self.report.rejected(step, E::SIGNATURE);
        Ok(())
    }

    fn require_rejection(&self, step: &str, expected: &str, got: String) -> Result<(), Error> {
        if expected == got {
            return Ok(());
        }
        let (scenario, step) = (self.scenario.name(), step.to_owned());
        Err(Error::EconomicsRejection { scenario, step, expected: expected.to_owned(), got })
    }

    /// Requires a state of L1 other than an amount.
    pub(crate) fn require<T: PartialEq + std::fmt::Debug>(
        &self,
        what: &str,
        expected: T,
        got: T,
    ) -> Result<(), Error> {
        if expected == got {
            return Ok(());
        }
        let (expected, got) = (format!("{expected:?}"), format!("{got:?}"));
        Err(Error::EconomicsState {
            scenario: self.scenario.name(),
            what: what.to_owned(),
            expected,
            got,
        })
    }

    /// Requires an amount of base units, or of units if `what` says so.
    pub(crate) fn require_amount(
        &self,
        what: &str,
        expected: u128,
        got: U256,
    ) -> Result<(), Error> {
        if U256::from(expected) == got {
            return Ok(());
        }
        Err(Error::EconomicsAmount {
            scenario: self.scenario.name(),
            what: what.to_owned(),
            expected: expected.to_string(),
            got: got.to_string(),
        })
    }

    /// The time of L1's newest block.
    pub(crate) async fn now(&self) -> Result<u64, Error> {
        Ok(self.client.latest().await?.timestamp)
    }

    /// Lets time pass to this second, by one block. Does nothing if it is over.
    pub(crate) async fn until(&self, second: u64) -> Result<(), Error> {
        if self.now().await? >= second {
            return Ok(());
        }
        let provider = self.client.provider();
        provider.anvil_set_next_block_timestamp(second).await.map_err(rpc("time"))?;
        provider.anvil_mine(Some(1), None).await.map_err(rpc("mine"))
    }
}

/// A contract's reason in words, or its data.
fn described(data: &Bytes) -> String {
    rollmill_l1::abi::describe_revert(data).unwrap_or_else(|| format!("revert data {data}"))
}
