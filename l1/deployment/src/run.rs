//! Sends a plan: all of it is tried first, what is on L1 is not sent again, and everything is read back.

use std::path::{Path, PathBuf};

use rollmill_l1::abi;
use rollmill_l1::alloy::eips::BlockId;
use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::rpc::types::TransactionRequest;
use rollmill_l1::alloy::rpc::types::simulate::{SimBlock, SimulatePayload};
use rollmill_l1::{GAS_LIMIT_MAX, L1Client, L1Error, TxReceipt, TxRequest, TxSender, TxStatus};
use rollmill_service::failpoint;

use crate::journal::Done;
use crate::verify::verify;
use crate::{DeployError, DeploymentFile, Facts, Journal, Plan, Roots, Step};

/// What a deployment reports while it is made.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// L1 accepted the whole rest of the plan when it was tried, with this gas.
    Tried { gas: u64 },
    /// L1 has no `eth_simulateV1`, so that each step is only tried when it is its turn.
    NotTried { why: &'a str },
    /// A step is in a block; an earlier run may have sent it.
    Done { step: &'a Step, number: usize, of: usize, is_earlier: bool },
}

/// A deployment that is on L1 as it was asked for.
#[derive(Debug, Clone)]
pub struct Deployed {
    pub plan: Plan,
    pub file: DeploymentFile,
    /// Path of the file.
    pub path: PathBuf,
    /// L1's head before the first step.
    pub l1_start: u64,
    /// L1's head after the last one.
    pub l1_ready: u64,
    /// Gas of all steps.
    pub gas: u64,
}

/// What L1 says of steps that it tried one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Simulated {
    /// Gas of each step.
    Gas(Vec<u64>),
    /// The endpoint cannot try transactions that build on each other.
    Unavailable(String),
}

/// Deploys what the facts ask for, by the sender's account, and writes the files of the deployment into `folder`. A run
/// that ended early is continued by the same call.
///
/// # Errors
/// [`DeployError`]; with [`DeployError::WouldRevert`] before the first step nothing was sent.
pub async fn deploy(
    sender: &TxSender,
    facts: &Facts,
    roots: &Roots,
    client_key: &[u8],
    folder: &Path,
    report: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<Deployed, DeployError> {
    facts.check()?;
    let (client, account) = (sender.client(), sender.account());
    require_chain(facts, client)?;
    rollmill_files::make_folder(folder).map_err(DeployError::file("create", folder))?;
    let (plan, mut journal) = match Journal::open(folder)? {
        Some(journal) => {
            journal.require_account(client.chain_id(), account)?;
            let plan = Plan::new(facts, roots, account, journal.first_nonce())?;
            journal.require(&plan)?;
            (plan, journal)
        }
        None => {
            let plan = Plan::new(facts, roots, account, free_nonce(client, account).await?)?;
            // Tried before there is a journal: wrong facts can then be corrected in place.
            report_trial(try_rest(client, &plan, 0).await?, report);
            let l1_start = client.latest().await?.number;
            let journal = Journal::begin(folder, client.chain_id(), &plan, l1_start)?;
            failpoint!("deploy.begun");
            (plan, journal)
        }
    };
    let of = plan.steps.len();
    for (i, step) in plan.steps.iter().enumerate() {
        let is_earlier = journal.done(i).is_some();
        if !is_earlier {
            require_turn(sender, &plan, i).await?;
            let done = send(sender, step, account).await?;
            failpoint!("deploy.mined");
            journal.record(i, done)?;
            failpoint!("deploy.recorded");
        }
        report(Event::Done { step, number: i + 1, of, is_earlier });
    }
    settle(sender, &plan, &mut journal).await?;
    verify(client, facts, &plan, &journal).await?;
    let file = DeploymentFile::of(facts, &plan, journal.l1_start());
    let path = file.write(folder, &plan.genesis.to_json(), client_key)?;
    let gas = (0..of).filter_map(|i| journal.done(i)).map(|done| done.gas).sum();
    let (l1_start, l1_ready) = (journal.l1_start(), client.latest().await?.number);
    Ok(Deployed { plan, file, path, l1_start, l1_ready, gas })
}

/// Requires that the facts are for the chain of this client.
///
/// # Errors
/// [`DeployError::Fact`]
pub fn require_chain(facts: &Facts, client: &L1Client) -> Result<(), DeployError> {
    match facts.chain_id == client.chain_id() {
        true => Ok(()),
        false => {
            let why = format!(
                "{}, L1 is connected with --chain-id {}",
                facts.chain_id,
                client.chain_id()
            );
            Err(DeployError::fact("chain_id", why))
        }
    }
}

async fn nonce_at(client: &L1Client, account: Address, at: BlockId) -> Result<u64, L1Error> {
    let count = client.provider().get_transaction_count(account).block_id(at).await;
    count.map_err(L1Error::rpc("nonce"))
}

/// The account's next nonce, when nothing of it waits for a block.
async fn free_nonce(client: &L1Client, account: Address) -> Result<u64, DeployError> {
    let included = nonce_at(client, account, BlockId::latest()).await?;
    let sent = nonce_at(client, account, BlockId::pending()).await?;
    match sent.saturating_sub(included) {
        0 => Ok(included),
        count => Err(DeployError::Busy { account, count }),
    }
}

/// The attempt of a step that counts: the last one, or the one after it if that reverted. No address depends on a call,
/// so a call is sent again under a later nonce; of all its attempts at most one lands. The creation of a contract has
/// one attempt.
fn attempt(sender: &TxSender, step: &Step) -> u32 {
    if step.creates.is_some() {
        return 0;
    }
    let purpose = &step.request.purpose;
    let next = sender.attempt_for(purpose);
    let Some(last) = next.checked_sub(1) else { return 0 };
    match sender.status(purpose, last) {
        Some(TxStatus::Included(receipt)) if receipt.succeeded => last,
        Some(TxStatus::Lost { .. }) => last,
        _ => next,
    }
}

/// Requires that a step takes the nonce for which it is planned, and that it cannot be on L1 already: what the sender does
/// not know it would send, a payment a second time and a contract to another address.
async fn require_turn(sender: &TxSender, plan: &Plan, step: usize) -> Result<(), DeployError> {
    let attempt = |step: &Step| attempt(sender, step);
    let is_known = |step: &Step| match sender.status(&step.request.purpose, attempt(step)) {
        None | Some(TxStatus::Dropped { .. }) => false,
        Some(TxStatus::Pending { .. } | TxStatus::Included(_) | TxStatus::Lost { .. }) => true,
    };
    let Some(this) = plan.steps.get(step).filter(|step| !is_known(step)) else { return Ok(()) };
    let account = plan.account;
    let included = nonce_at(sender.client(), account, BlockId::latest()).await?;
    let sent = nonce_at(sender.client(), account, BlockId::pending()).await?;
    // Attempts that reverted have used nonces, too.
    let reverted: u64 = plan.steps.iter().take(step + 1).map(|step| u64::from(attempt(step))).sum();
    let planned = plan.first_nonce + step as u64 + reverted;
    // A reorg may have dropped steps before this one, which the sender sends again.
    let before = plan.steps.iter().take(step).rev().take_while(|step| is_known(step));
    let before: u64 = before.map(|step| 1 + u64::from(attempt(step))).sum();
    let before = before + u64::from(attempt(this));
    if !(planned - before..=planned).contains(&included) {
        let step = this.id.clone();
        return Err(DeployError::Nonce { step, account, planned, found: included });
    }
    match sent.saturating_sub(planned) {
        0 => Ok(()),
        count => Err(DeployError::Busy { account, count }),
    }
}

/// Waits for the steps that a reorg dropped from their blocks meanwhile, and records where each of them is now.
async fn settle(sender: &TxSender, plan: &Plan, journal: &mut Journal) -> Result<(), DeployError> {
    sender.tick().await?;
    for (i, step) in plan.steps.iter().enumerate() {
        // What has been final for long is no longer known, and stays where it is.
        let attempt = attempt(sender, step);
        let Some(status) = sender.status(&step.request.purpose, attempt) else { continue };
        let is_where = |at: &TxReceipt| {
            journal
                .done(i)
                .is_some_and(|done| (done.tx_hash, done.l1_block) == (at.tx_hash, at.block_number))
        };
        if !matches!(&status, TxStatus::Included(at) if is_where(at)) {
            let done = send(sender, step, plan.account).await?;
            journal.record(i, done)?;
        }
    }
    Ok(())
}

/// Sends a step and waits until it is in a block. One that reverted before is sent again, unless it creates a contract.
async fn send(sender: &TxSender, step: &Step, account: Address) -> Result<Done, DeployError> {
    let request = TxRequest { attempt: attempt(sender, step), ..step.request.clone() };
    let receipt = match sender.send(request).await {
        Err(L1Error::WouldRevert { reason, .. }) => {
            return Err(DeployError::WouldRevert { step: step.id.clone(), why: reason });
        }
        sent => sent?,
    };
    let (id, tx_hash) = (step.id.clone(), receipt.tx_hash);
    if !receipt.succeeded {
        let fix = match step.creates {
            None => "look it up on L1, and run the same command again to send the step once more",
            Some(_) => {
                "its nonce is used and all addresses follow from it: deploy anew into another folder"
            }
        };
        return Err(DeployError::Reverted { step: id, tx_hash, fix });
    }
    match (step.creates, receipt.contract_address) {
        (Some(planned), Some(made)) if made != planned => {
            Err(DeployError::Elsewhere { step: id, made, planned, account })
        }
        _ => Ok(Done { tx_hash, l1_block: receipt.block_number, gas: receipt.gas_used }),
    }
}

/// Tries the steps from `first` on.
async fn try_rest(client: &L1Client, plan: &Plan, first: usize) -> Result<Simulated, DeployError> {
    simulate(client, plan.account, plan.steps.get(first..).unwrap_or_default()).await
}

fn report_trial(simulated: Simulated, report: &mut (dyn FnMut(Event<'_>) + Send)) {
    match simulated {
        Simulated::Gas(gas) => report(Event::Tried { gas: gas.iter().sum() }),
        Simulated::Unavailable(why) => report(Event::NotTried { why: &why }),
    }
}

/// Tries steps one after the other on L1's newest state (`eth_simulateV1`). Nothing is sent, and the account needs no
/// ether.
///
/// # Errors
/// [`DeployError::WouldRevert`] for the first step that fails; [`DeployError::L1`] if L1 does not respond.
pub async fn simulate(
    client: &L1Client,
    account: Address,
    steps: &[Step],
) -> Result<Simulated, DeployError> {
    if steps.is_empty() {
        // Nothing to ask, and an endpoint may reject an empty question.
        return Ok(Simulated::Gas(Vec::new()));
    }
    let call = |step: &Step| {
        let mut tx = TransactionRequest::default().from(account).gas_limit(GAS_LIMIT_MAX);
        tx.to = Some(step.request.to.into());
        SimBlock::default().call(tx.input(step.request.input.clone().into()))
    };
    // A block for each: together they need more gas than one has.
    let blocks: Vec<SimBlock> = steps.iter().map(call).collect();
    let payload = SimulatePayload {
        block_state_calls: blocks,
        trace_transfers: false,
        validation: false,
        return_full_transactions: false,
    };
    let tried = match client.provider().simulate(&payload).await {
        Ok(tried) => tried,
        Err(error) if error.as_error_resp().is_some() => {
            return Ok(Simulated::Unavailable(error.to_string()));
        }
        Err(error) => return Err(L1Error::rpc("simulation")(error).into()),
    };
    let mut gas = Vec::new();
    for (step, block) in steps.iter().zip(tried) {
        let Some(result) = block.calls.first() else {
            return Ok(Simulated::Unavailable("a simulated block has no result".to_owned()));
        };
        if !result.status {
            let said = || result.error.as_ref().map(|error| error.message.clone());
            let why = abi::describe_revert(&result.return_data).or_else(said).unwrap_or_default();
            return Err(DeployError::WouldRevert { step: step.id.clone(), why });
        }
        gas.push(result.gas_used);
    }
    match gas.len() == steps.len() {
        true => Ok(Simulated::Gas(gas)),
        false => Ok(Simulated::Unavailable(format!("{} of {} results", gas.len(), steps.len()))),
    }
}
