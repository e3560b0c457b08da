//! Stakes of validators, and the seeds that committees are drawn with.

use std::path::Path;

use rollmill_l1::abi::{Staking, staking};
use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::alloy::providers::RootProvider;
use rollmill_l1::alloy::sol_types::SolCall;
use rollmill_l1::economics::Call;
use rollmill_l1::evidence::Evidence;
use rollmill_l1::{Azt, L1Client, L1Error};
use rollmill_service::{Failure, Outcome};

use crate::answer::Answer;
use crate::args::Stake;
use crate::context::{Context, Deployment, Order, Spending};
use crate::error::CliError;

use staking::IStaking::Attester;

/// A stake's states, by their numbers in the contract.
const STATES: [&str; 4] = ["not staked", ACTIVE, EXITING, "slashed"];
const ACTIVE: &str = "active";
const EXITING: &str = "exiting";

fn state(attester: &Attester) -> &'static str {
    let state = STATES.get(usize::from(attester.status)).copied();
    state.unwrap_or("in a state of a later release")
}

/// What a call that changes the set of stakers may need beyond its simulation. Each of two lists of checkpoints gets an entry:
/// 22,100 gas for its word and 5,000 for the length (EIP-2200 and EIP-2929). A simulation in the second of the change
/// before writes over the entry of that one.
const CHECKPOINTS_GAS_SPARE: u64 = 2 * (22_100 + 5_000);

struct Stakes {
    deployment: Deployment,
    address: Address,
    instance: Staking::StakingInstance<RootProvider>,
}

impl Stakes {
    /// The stakes of a deployment.
    ///
    /// # Errors
    /// [`CliError::NoStaking`] if its committee is fixed.
    async fn of(client: &L1Client, deployment: Deployment) -> Result<Self, Failure> {
        let address = deployment.economics.contracts().selection;
        let instance = Staking::new(address, client.provider().clone());
        let rollup = deployment.rollup.address();
        // Only a contract with stakes has an exit delay.
        let call = Call::new(address, &Staking::EXIT_DELAYCall {});
        match client.call(Address::ZERO, address, call.input).await {
            Ok(Ok(word)) if !word.is_empty() => Ok(Self { deployment, address, instance }),
            Ok(_) => Err(CliError::NoStaking { rollup }.into()),
            // A contract without the function reverts without a reason.
            Err(L1Error::Answer { .. }) => Err(CliError::NoStaking { rollup }.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// A call that changes the set.
    fn change(&self, call: &impl SolCall) -> Call {
        Call { gas_spare: CHECKPOINTS_GAS_SPARE, ..Call::new(self.address, call) }
    }

    async fn attester(&self, validator: Address) -> Result<Attester, Failure> {
        let read = self.instance.attesterOf(validator).call().await;
        let read = read.map_err(L1Error::contract("attesterOf"))?;
        Ok(read)
    }
}

/// `rollmill-l1 stake …`.
pub(crate) async fn run(context: &mut Context, command: Stake) -> Outcome {
    let deployment = context.deployment().await?;
    let stakes = Stakes::of(&context.client, deployment).await?;
    match command {
        Stake::Status { validator } => {
            let validator = context.account_or(validator)?;
            status(context, &stakes, validator).await
        }
        Stake::Deposit { amount, validator, withdrawer } => {
            let validator = context.account_or(validator)?;
            let withdrawer = context.account_or(withdrawer)?;
            deposit(context, &stakes, validator, withdrawer, amount).await
        }
        Stake::Exit { validator } => {
            let validator = context.account_or(validator)?;
            exit(context, &stakes, validator).await
        }
        Stake::Finalize { validator } => {
            let validator = context.account_or(validator)?;
            finalize(context, &stakes, validator).await
        }
        Stake::Report { file } => {
            let evidence = read(&file, &stakes, context.client.chain_id())?;
            report(context, &stakes, &evidence).await
        }
    }
}

async fn status(context: &Context, stakes: &Stakes, validator: Address) -> Outcome {
    let attester = stakes.attester(validator).await?;
    let exit_at: u64 = attester.exitAt.to();
    Answer::new()
        .with_text("validator", validator)
        .with("state", state(&attester))
        .with("stake_azt", Azt::new(attester.stake.to()))
        .with_text("withdrawer", attester.withdrawer)
        .with("exit_at", (exit_at != 0).then_some(exit_at))
        .print(context.config.json);
    Ok(())
}

async fn deposit(
    context: &mut Context,
    stakes: &Stakes,
    validator: Address,
    withdrawer: Address,
    amount: Azt,
) -> Outcome {
    let economics = &stakes.deployment.economics;
    let call = Staking::depositCall { attester: validator, withdrawer, amount: amount.word() };
    let order = Order {
        spends: Some(Spending { spender: stakes.address, amount }),
        ..Order::new(
            format!("stake {amount} AZT for {validator}, which {withdrawer} can take back"),
            stakes.change(&call),
        )
    };
    if !context.is_continued(&order).await? {
        let attester = stakes.attester(validator).await?;
        if state(&attester) != STATES[0] {
            let why = format!("is {}; stake for another key", state(&attester));
            return Err(CliError::Stake { validator, why }.into());
        }
        let least = Azt::new(economics.rates().await?.minStake.to());
        if amount < least {
            let why = format!("needs a stake of {least} AZT at least, {amount} AZT were given");
            return Err(CliError::Stake { validator, why }.into());
        }
    }
    context.run(Some(economics), &order).await
}

async fn exit(context: &mut Context, stakes: &Stakes, validator: Address) -> Outcome {
    let call = Staking::initiateExitCall { attester: validator };
    let order = Order::new(format!("exit {validator}"), stakes.change(&call));
    if !context.is_continued(&order).await? {
        let attester = stakes.attester(validator).await?;
        if state(&attester) != ACTIVE {
            let why = format!("is {}; only an active one can exit", state(&attester));
            return Err(CliError::Stake { validator, why }.into());
        }
        let account = context.account()?;
        if attester.withdrawer != account {
            let why = format!("can be taken out by {} only, not by {account}", attester.withdrawer);
            return Err(CliError::Stake { validator, why }.into());
        }
    }
    let Some(sent) = context.send(None, &order).await? else { return Ok(()) };
    let exit_at: u64 = stakes.attester(validator).await?.exitAt.to();
    context.print(&order, &sent, Answer::new().with("exit_at", exit_at));
    Ok(())
}

async fn finalize(context: &mut Context, stakes: &Stakes, validator: Address) -> Outcome {
    let call = Staking::finalizeExitCall { attester: validator };
    let order =
        Order::new(format!("finalize the exit of {validator}"), Call::new(stakes.address, &call));
    if !context.is_continued(&order).await? {
        let attester = stakes.attester(validator).await?;
        if state(&attester) != EXITING {
            let why = format!("is {}; exit first", state(&attester));
            return Err(CliError::Stake { validator, why }.into());
        }
        let now = context.client.latest().await?.timestamp;
        let exit_at: u64 = attester.exitAt.to();
        if now < exit_at {
            let why = format!(
                "can leave from Unix second {exit_at} on, in {} s; run this again then",
                exit_at - now
            );
            return Err(CliError::Stake { validator, why }.into());
        }
    }
    context.run(None, &order).await
}

/// Reads evidence of the deployment.
fn read(file: &Path, stakes: &Stakes, chain_id: u64) -> Result<Evidence, CliError> {
    let failed = |why: String| CliError::Evidence { file: file.display().to_string(), why };
    let text = std::fs::read_to_string(file)
        .map_err(|error| failed(rollmill_errors::InWords(&error).to_string()))?;
    let evidence = Evidence::read(&text).map_err(failed)?;
    let rollup = stakes.deployment.rollup.address();
    match (evidence.chain_id, evidence.rollup) == (chain_id, rollup) {
        true => Ok(evidence),
        false => Err(failed(format!(
            "it is of the rollup {} on chain {}, not of {rollup} on chain {chain_id}",
            evidence.rollup, evidence.chain_id
        ))),
    }
}

async fn report(context: &mut Context, stakes: &Stakes, evidence: &Evidence) -> Outcome {
    let Evidence { attester: validator, slot, .. } = *evidence;
    let what = format!("report {validator} for two blocks of slot {slot}");
    let call = Call { gas_spare: CHECKPOINTS_GAS_SPARE, ..evidence.report(stakes.address) };
    let order = Order::new(what, call);
    if !context.is_continued(&order).await? {
        let attester = stakes.attester(validator).await?;
        let state = state(&attester);
        if state != ACTIVE && state != EXITING {
            let why = format!("is {state}; there is no stake to lose");
            return Err(CliError::Stake { validator, why }.into());
        }
    }
    context.run(None, &order).await
}

/// `rollmill-l1 seed`.
pub(crate) async fn seed(context: &mut Context) -> Outcome {
    let deployment = context.deployment().await?;
    let epoch = deployment.info.epoch(deployment.rollup.current_slot().await?);
    let stakes = Stakes::of(&context.client, deployment).await?;
    let call = Call::new(stakes.address, &Staking::recordSeedCall {});
    let order = Order::recurring("seed of the present epoch", call);
    let Some(sent) = context.send(None, &order).await? else { return Ok(()) };
    context.print(&order, &sent, Answer::new().with("epoch", epoch));
    Ok(())
}
