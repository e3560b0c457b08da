//! Proposals: what governance can do as typed actions, votes, and the way through the timelock.

use rollmill_l1::abi::{AztToken, Deployments, Governance, Rates, Registry};
use rollmill_l1::alloy::primitives::aliases::U96;
use rollmill_l1::alloy::primitives::{Address, Bytes, U256, keccak256};
use rollmill_l1::alloy::providers::{Provider, RootProvider};
use rollmill_l1::alloy::rpc::types::Filter;
use rollmill_l1::alloy::sol_types::{SolEvent, SolInterface};
use rollmill_l1::economics::Call;
use rollmill_l1::{Azt, L1Error, abi};
use rollmill_protocol::EthAddress;
use rollmill_service::{Failure, Outcome};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::args::{Action, SetRates, Support};
use crate::context::{Context, Order};
use crate::deployment;
use crate::error::CliError;

/// L1 blocks whose events are asked for at once: endpoints limit the range.
const BLOCKS_A_REQUEST: u64 = 5_000;
/// The Governor's states, by their numbers.
const STATES: [&str; 8] =
    ["pending", "active", "canceled", "defeated", "succeeded", "queued", "expired", "executed"];
const ACTIVE: &str = STATES[1];
const SUCCEEDED: &str = STATES[4];
const QUEUED: &str = STATES[5];

type Instance = Governance::GovernanceInstance<RootProvider>;
type Created = Governance::ProposalCreated;

fn instance(context: &Context) -> Result<Instance, CliError> {
    Ok(Governance::new(context.governance()?, context.client.provider().clone()))
}

async fn state(governance: &Instance, id: U256) -> Result<&'static str, Failure> {
    let state = governance.state(id).call().await.map_err(L1Error::contract("state"))?;
    Ok(STATES.get(usize::from(state)).copied().unwrap_or("in a state of a later release"))
}

/// Requires a state, and says what to do about another.
fn require(id: U256, got: &'static str, wanted: &'static str) -> Result<(), CliError> {
    if got == wanted {
        return Ok(());
    }
    let why = match got {
        "pending" => "its vote has not started; see `starts` of `rollmill-l1 proposals`",
        "active" => "its vote is not over; see `ends` of `rollmill-l1 proposals`",
        "succeeded" => "put it into the timelock first with `rollmill-l1 queue`",
        "queued" => "it is in the timelock; `rollmill-l1 execute` executes it",
        "executed" => "nothing is left to do",
        _ => "propose it again if it is still wanted",
    };
    Err(CliError::ProposalState { id, state: got, why: why.to_owned() })
}

/// Newest first, up to `most` of those that `wanted` takes.
async fn search(
    context: &Context,
    wanted: impl Fn(&Created) -> bool,
    most: usize,
) -> Result<Vec<Created>, Failure> {
    let governance = context.governance()?;
    let start = context.config.l1_start;
    let mut found = Vec::new();
    let mut end = context.client.latest().await?.number;
    loop {
        let from = end.saturating_sub(BLOCKS_A_REQUEST - 1).max(start);
        let filter = Filter::new().address(governance).event_signature(Created::SIGNATURE_HASH);
        let filter = filter.from_block(from).to_block(end);
        let logs = context.client.provider().get_logs(&filter).await;
        for log in logs.map_err(L1Error::rpc("events of Governance"))?.iter().rev() {
            let event = Created::decode_log(&log.inner).map_err(|error| L1Error::Decode {
                what: "ProposalCreated",
                reason: error.to_string(),
            })?;
            if wanted(&event.data) {
                found.push(event.data);
            }
            if found.len() == most {
                return Ok(found);
            }
        }
        if from <= start {
            return Ok(found);
        }
        end = from - 1;
    }
}

async fn find(context: &Context, id: U256) -> Result<Created, Failure> {
    let found = search(context, |created| created.proposalId == id, 1).await?;
    let unknown = || CliError::ProposalUnknown { id, from: context.config.l1_start }.into();
    found.into_iter().next().ok_or_else(unknown)
}

/// The contracts that a call of a proposal may name.
struct Known(Vec<(Address, &'static str)>);

impl Known {
    async fn of(context: &Context, governance: &Instance) -> Result<Self, Failure> {
        let token = governance.token().call().await.map_err(L1Error::contract("token"))?;
        let timelock = governance.timelock().call().await.map_err(L1Error::contract("timelock"))?;
        let mut known =
            vec![(token, "token"), (timelock, "timelock"), (*governance.address(), "governance")];
        known.extend(context.deployments().ok().map(|address| (address, "deployments")));
        if context.config.rollup.is_some() {
            let contracts = context.deployment().await?.info.contracts;
            known.push((contracts.registry, "registry"));
            known.push((contracts.rewards, "rewards"));
        }
        Ok(Self(known))
    }

    fn name(&self, address: Address) -> Option<&'static str> {
        self.0.iter().find(|(known, _)| *known == address).map(|(_, name)| *name)
    }
}

/// A call in words. The words follow from the input alone: whether the target is the contract that they mean, the
/// name of the target says.
fn describe(input: &Bytes) -> String {
    use AztToken::AztTokenCalls as Token;
    use Deployments::DeploymentsCalls as List;
    use Registry::RegistryCalls as Rated;
    if let Ok(Rated::setRates(call)) = Rated::abi_decode(input) {
        return format!("set rates {}", deployment::rates(&call.next));
    }
    match Token::abi_decode(input) {
        Ok(Token::mint(call)) => {
            return format!("mint {} AZT for {}", Azt::from_word(call.amount), call.to);
        }
        Ok(Token::approve(call)) => {
            return format!("approve {} AZT for {}", Azt::from_word(call.value), call.spender);
        }
        Ok(Token::transfer(call)) => {
            return format!("transfer {} AZT to {}", Azt::from_word(call.value), call.to);
        }
        _ => {}
    }
    match List::abi_decode(input) {
        Ok(List::add(call)) => format!("add deployment `{}` of {}", call.name, call.registry),
        Ok(List::fund(call)) => {
            format!("fund deployment {} with {} AZT", call.id, Azt::from_word(call.amount))
        }
        Ok(List::setCanonical(call)) => format!("make deployment {} canonical", call.id),
        _ => format!("call {input}"),
    }
}

/// `rollmill-l1 proposals`.
pub(crate) async fn list(context: &mut Context, id: Option<U256>, newest: usize) -> Outcome {
    let governance = instance(context)?;
    let known = Known::of(context, &governance).await?;
    let found = match id {
        Some(id) => vec![find(context, id).await?],
        None => search(context, |_| true, newest).await?,
    };
    let mut shown = Vec::new();
    for created in found {
        shown.push(one(&governance, &known, &created).await?);
    }
    Answer::new().with("proposal", shown).print(context.config.json);
    Ok(())
}

async fn one(governance: &Instance, known: &Known, created: &Created) -> Result<Value, Failure> {
    let id = created.proposalId;
    let votes = governance.proposalVotes(id).call().await;
    let votes = votes.map_err(L1Error::contract("proposalVotes"))?;
    // The supply at the snapshot is known once that has passed.
    let quorum = governance.quorum(created.voteStart).call().await.ok();
    let eta = governance.proposalEta(id).call().await.map_err(L1Error::contract("proposalEta"))?;
    let calls = created.targets.iter().zip(&created.calldatas).zip(&created.values);
    let calls: Vec<Value> = calls
        .map(|((target, input), value)| {
            json!({
                "to": target.to_string(), "contract": known.name(*target).unwrap_or("unknown"),
                "does": describe(input), "wei": value.to_string(),
            })
        })
        .collect();
    let eta: u64 = eta.saturating_to();
    Ok(json!({
        "id": id.to_string(), "state": state(governance, id).await?,
        "description": created.description, "proposer": created.proposer.to_string(),
        "calls": calls,
        "starts": created.voteStart.saturating_to::<u64>(),
        "ends": created.voteEnd.saturating_to::<u64>(),
        "for_azt": Azt::from_word(votes.forVotes), "against_azt": Azt::from_word(votes.againstVotes),
        "abstain_azt": Azt::from_word(votes.abstainVotes), "quorum_azt": quorum.map(Azt::from_word),
        "executable_at": (eta != 0).then_some(eta),
    }))
}

/// `rollmill-l1 propose …`.
pub(crate) async fn propose(context: &mut Context, action: &Action) -> Outcome {
    let governance = instance(context)?;
    let calls = calls(context, &governance, action).await?;
    let description = action.description().to_owned();
    let call = Governance::proposeCall {
        targets: calls.iter().map(|call| call.to).collect(),
        values: vec![U256::ZERO; calls.len()],
        calldatas: calls.iter().map(|call| call.input.clone()).collect(),
        description,
    };
    let words: Vec<String> = calls.iter().map(|call| describe(&call.input)).collect();
    let what = format!("propose: {}", words.join(", then "));
    let order = Order::new(what, Call::new(*governance.address(), &call));
    if !context.is_continued(&order).await? {
        require_votes(context, &governance).await?;
    }
    let Some(sent) = context.send(None, &order).await? else { return Ok(()) };
    let created: Created =
        sent.event(&context.client, *governance.address(), "the proposal").await?;
    let answer = Answer::new()
        .with_text("proposal", created.proposalId)
        .with("starts", created.voteStart.saturating_to::<u64>())
        .with("ends", created.voteEnd.saturating_to::<u64>());
    context.print(&order, &sent, answer);
    Ok(())
}

/// Requires the votes that a proposal needs.
async fn require_votes(context: &mut Context, governance: &Instance) -> Result<(), Failure> {
    let account = context.account()?;
    let before = U256::from(context.client.latest().await?.timestamp.saturating_sub(1));
    let votes = governance.getVotes(account, before).call().await;
    let votes = Azt::from_word(votes.map_err(L1Error::contract("getVotes"))?);
    let needed = governance.proposalThreshold().call().await;
    let needed = Azt::from_word(needed.map_err(L1Error::contract("proposalThreshold"))?);
    match votes < needed {
        true => Err(CliError::TooFewVotes { account, votes, needed }.into()),
        false => Ok(()),
    }
}

/// The calls of an action, as the timelock will make them. One that would revert then is found now.
async fn calls(
    context: &Context,
    governance: &Instance,
    action: &Action,
) -> Result<Vec<Call>, Failure> {
    let token = governance.token().call().await.map_err(L1Error::contract("token"))?;
    let timelock = governance.timelock().call().await.map_err(L1Error::contract("timelock"))?;
    let mint =
        |to, amount: Azt| Call::new(token, &AztToken::mintCall { to, amount: amount.word() });
    let calls = match action {
        Action::SetRates(change) => {
            let deployment = context.deployment().await?;
            let next = changed(&deployment.economics.rates().await?, change)?;
            vec![Call::new(deployment.info.contracts.registry, &Registry::setRatesCall { next })]
        }
        Action::Mint { to, amount, .. } => vec![mint(abi::address(*to), *amount)],
        Action::Add { name, .. } => {
            let registry = context.deployment().await?.info.contracts.registry;
            let call = Deployments::addCall { name: name.clone(), registry };
            vec![Call::new(context.deployments()?, &call)]
        }
        Action::SetCanonical { id, .. } => {
            let call = Deployments::setCanonicalCall { id: U256::from(*id) };
            vec![Call::new(context.deployments()?, &call)]
        }
        Action::Fund { id, amount, mint: is_minted, .. } => {
            let (list, id) = (context.deployments()?, U256::from(*id));
            let read = Deployments::new(list, context.client.provider().clone());
            read.deployment(id).call().await.map_err(L1Error::contract("deployment"))?;
            let approve = AztToken::approveCall { spender: list, value: amount.word() };
            let fund = Deployments::fundCall { id, amount: amount.word() };
            let minted = is_minted.then(|| mint(timelock, *amount));
            minted.into_iter().chain([Call::new(token, &approve), Call::new(list, &fund)]).collect()
        }
    };
    // A later call may depend on an earlier one, so only the first can be tried alone.
    if let Some(first) = calls.first() {
        let tried = context.client.call(timelock, first.to, first.input.clone()).await?;
        tried.map_err(|why| CliError::ActionReverts { what: describe(&first.input), why })?;
    }
    Ok(calls)
}

/// The rates with those that are given in place of the present ones.
fn changed(now: &Rates, change: &SetRates) -> Result<Rates, CliError> {
    let narrow = |key, azt: Option<Azt>, now: U96| match azt {
        None => Ok(now),
        Some(azt) => U96::try_from(azt.base_units()).map_err(|_| CliError::RateTooLarge { key }),
    };
    let fee =
        narrow("fee-per-constraint", change.fee_per_constraint, U96::from(now.feePerConstraint))?;
    Ok(Rates {
        feePerConstraint: u64::try_from(fee)
            .map_err(|_| CliError::RateTooLarge { key: "fee-per-constraint" })?,
        blockReward: narrow("block-reward", change.block_reward, now.blockReward)?,
        proposerBps: change.proposer_bps.unwrap_or(now.proposerBps),
        attesterBps: change.attester_bps.unwrap_or(now.attesterBps),
        proverBps: change.prover_bps.unwrap_or(now.proverBps),
        challengeShareBps: change.challenge_share_bps.unwrap_or(now.challengeShareBps),
        committeeSize: change.committee_size.unwrap_or(now.committeeSize),
        bondAmount: narrow("bond-amount", change.bond_amount, now.bondAmount)?,
        minStake: narrow("min-stake", change.min_stake, now.minStake)?,
    })
}

/// `rollmill-l1 vote`.
pub(crate) async fn vote(context: &mut Context, id: U256, vote: Support) -> Outcome {
    let governance = instance(context)?;
    let call = Governance::castVoteCall { proposalId: id, support: vote.number() };
    let what = format!("vote {} proposal {id}", format!("{vote:?}").to_lowercase());
    let order = Order::new(what, Call::new(*governance.address(), &call));
    if !context.is_continued(&order).await? {
        let state = state(&governance, id).await?;
        require(id, state, ACTIVE)?;
        let account = context.account()?;
        let has_voted = governance.hasVoted(id, account).call().await;
        if has_voted.map_err(L1Error::contract("hasVoted"))? {
            let why = format!("account {account} has voted already");
            return Err(CliError::ProposalState { id, state, why }.into());
        }
        let snapshot = governance.proposalSnapshot(id).call().await;
        let snapshot = snapshot.map_err(L1Error::contract("proposalSnapshot"))?;
        let votes = governance.getVotes(account, snapshot).call().await;
        if votes.map_err(L1Error::contract("getVotes"))?.is_zero() {
            let why = format!(
                "account {account} had no votes at Unix second {snapshot}; votes must be delegated before that"
            );
            return Err(CliError::ProposalState { id, state, why }.into());
        }
    }
    context.run(None, &order).await
}

/// The arguments by which `queue` and `execute` name a proposal.
macro_rules! named {
    ($call:ident, $created:expr) => {
        Governance::$call {
            targets: $created.targets.clone(),
            values: $created.values.clone(),
            calldatas: $created.calldatas.clone(),
            descriptionHash: keccak256($created.description.as_bytes()),
        }
    };
}

/// `rollmill-l1 queue`.
pub(crate) async fn queue(context: &mut Context, id: U256) -> Outcome {
    let governance = instance(context)?;
    let created = find(context, id).await?;
    let call = named!(queueCall, created);
    let order = Order::new(format!("queue proposal {id}"), Call::new(*governance.address(), &call));
    if !context.is_continued(&order).await? {
        require(id, state(&governance, id).await?, SUCCEEDED)?;
    }
    let Some(sent) = context.send(None, &order).await? else { return Ok(()) };
    let queued: Governance::ProposalQueued =
        sent.event(&context.client, *governance.address(), "the queued proposal").await?;
    let eta: u64 = queued.etaSeconds.saturating_to();
    context.print(&order, &sent, Answer::new().with("executable_at", eta));
    Ok(())
}

/// `rollmill-l1 execute`.
pub(crate) async fn execute(context: &mut Context, id: U256) -> Outcome {
    let governance = instance(context)?;
    let created = find(context, id).await?;
    let call = named!(executeCall, created);
    let order =
        Order::new(format!("execute proposal {id}"), Call::new(*governance.address(), &call));
    if !context.is_continued(&order).await? {
        let state = state(&governance, id).await?;
        require(id, state, QUEUED)?;
        let eta = governance.proposalEta(id).call().await;
        let eta: u64 = eta.map_err(L1Error::contract("proposalEta"))?.saturating_to();
        let now = context.client.latest().await?.timestamp;
        if now < eta {
            let why = format!("it can be executed from Unix second {eta} on, in {} s", eta - now);
            return Err(CliError::ProposalState { id, state, why }.into());
        }
    }
    context.run(None, &order).await
}

/// `rollmill-l1 delegate`.
pub(crate) async fn delegate(context: &mut Context, to: Option<EthAddress>) -> Outcome {
    let token = match context.config.governance {
        Some(_) => {
            let token = instance(context)?.token().call().await;
            token.map_err(L1Error::contract("token"))?
        }
        None => context.deployment().await?.economics.token(),
    };
    let delegatee = context.account_or(to)?;
    let call = Call::new(token, &AztToken::delegateCall { delegatee });
    context.run(None, &Order::recurring(format!("delegate votes to {delegatee}"), call)).await
}
