//! Reads a deployment back from L1 and compares it with what was asked for.

use rollmill_l1::abi;
use rollmill_l1::alloy::consensus::Transaction as _;
use rollmill_l1::alloy::primitives::{Address, B256, U256, keccak256};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::{Azt, L1Client, L1Error};
use rollmill_protocol::field::to_hex;

use crate::{DeployError, Facts, Journal, Plan};

/// Compares code and parameters on L1 with the plan and the facts.
///
/// # Errors
/// [`DeployError::Differs`] for the first difference.
pub(crate) async fn verify(
    client: &L1Client,
    facts: &Facts,
    plan: &Plan,
    journal: &Journal,
) -> Result<(), DeployError> {
    code(client, plan, journal).await?;
    let (at, terms) = (&plan.addresses, &plan.terms);
    let rollup = client.rollup(at.rollup).await?;
    let info = rollup.info().await?;
    same("key root", &to_hex(&terms.vk_root), &to_hex(&info.vk_root))?;
    same("config hash", &to_hex(&terms.config.hash()), &to_hex(&info.config_hash))?;
    let root = "genesis archive root";
    same(root, &to_hex(&terms.genesis_archive_root), &to_hex(&info.genesis_archive_root))?;
    same("version", &plan.genesis.version(), &info.version)?;
    same_debug("contracts", &at.tied, &info.contracts)?;
    let times = &info.schedule;
    for (what, asked, found) in [
        ("proofWindowSeconds", terms.proof_window_seconds, times.proofWindowSeconds),
        ("challengeSeconds", terms.challenge_seconds, times.challengeSeconds),
        ("proofGraceSeconds", terms.proof_grace_seconds, times.proofGraceSeconds),
        ("maxUnprovenEpochs", terms.max_unproven_epochs.into(), times.maxUnprovenEpochs.into()),
    ] {
        same(what, &asked, &found)?;
    }
    let economics = rollup.economics(&info).await?;
    same("token", &at.token, &economics.token())?;
    same_debug("rates", &terms.rates, &economics.rates().await?)?;
    if !facts.committee.staking {
        let members: Vec<Address> = facts.committee.members.iter().map(|it| it.0).collect();
        same_debug("committee", &members, &rollup.selection(&info).committee(0).await?)?;
    }
    governance(client, facts, plan).await?;
    // Once there are blocks, fees and proofs move what was paid in.
    if rollup.tips().await?.pending == 0 {
        let backing = economics.balance(at.tied.feePortal).await?;
        at_least("balance of FeePortal", facts.backing(), backing)?;
        let rewards = facts.funds.rewards_azt.map_or(Azt::ZERO, |amount| amount.0);
        at_least("balance of Rewards", rewards, economics.balance(at.tied.rewards).await?)?;
        let bonds = economics.balance(at.tied.bondVault).await?;
        at_least("balance of BondVault", facts.bonded(), bonds)?;
    }
    Ok(())
}

/// Every contract was created by the planned bytes, and is there.
async fn code(client: &L1Client, plan: &Plan, journal: &Journal) -> Result<(), DeployError> {
    let provider = client.provider();
    for (i, step) in plan.steps.iter().enumerate() {
        let Some(done) = journal.done(i) else { continue };
        let sent = provider.get_transaction_by_hash(done.tx_hash).await;
        let sent = sent.map_err(L1Error::rpc("transaction"))?;
        let asked = keccak256(&step.request.input);
        let found = sent.map_or(B256::ZERO, |sent| keccak256(sent.input()));
        same(&format!("input of step {}", step.id), &asked, &found)?;
        if let Some(address) = step.creates {
            require_code(client, &step.id, address).await?;
        }
    }
    for (name, address) in
        ["verifier of one block", "verifier of more blocks"].iter().zip(plan.addresses.verifiers)
    {
        require_code(client, name, address).await?;
    }
    Ok(())
}

async fn require_code(client: &L1Client, what: &str, address: Address) -> Result<(), DeployError> {
    let code = client.provider().get_code_at(address).await.map_err(L1Error::rpc("code"))?;
    match code.is_empty() {
        false => Ok(()),
        true => {
            let (what, asked) = (format!("{what} at {address}"), "a contract".to_owned());
            Err(DeployError::Differs { what, asked, found: "no contract".to_owned() })
        }
    }
}

/// The timelock obeys whom the facts name, and alone can mint.
async fn governance(client: &L1Client, facts: &Facts, plan: &Plan) -> Result<(), DeployError> {
    let (at, provider) = (&plan.addresses, client.provider());
    let registry = abi::Registry::new(at.tied.registry, provider.clone());
    let obeys = registry.TIMELOCK().call().await.map_err(L1Error::contract("TIMELOCK"))?;
    same("timelock of the Registry", &at.timelock, &obeys)?;
    let token = abi::AztToken::new(at.token, provider.clone());
    let minter = token.MINTER().call().await.map_err(L1Error::contract("MINTER"))?;
    same("minter of the token", &at.timelock, &minter)?;
    let Some(asked) = &facts.governance else { return Ok(()) };
    let timelock = abi::TimelockController::new(at.timelock, provider.clone());
    let delay = timelock.getMinDelay().call().await.map_err(L1Error::contract("getMinDelay"))?;
    same("delay of the timelock", &U256::from(asked.timelock_seconds), &delay)?;
    let decides = asked.owner.map(|owner| owner.0).or(at.governance).unwrap_or_default();
    let role = timelock.PROPOSER_ROLE().call().await.map_err(L1Error::contract("PROPOSER_ROLE"))?;
    let has = timelock.hasRole(role, decides).call().await.map_err(L1Error::contract("hasRole"))?;
    same(&format!("right of {decides} to schedule"), &true, &has)?;
    let (Some(vote), Some(governor)) = (&asked.vote, at.governance) else { return Ok(()) };
    let governor = abi::Governance::new(governor, provider.clone());
    let threshold = governor.proposalThreshold().call().await;
    let threshold = threshold.map_err(L1Error::contract("proposalThreshold"))?;
    same("votes that a proposer needs", &vote.threshold_azt.0.word(), &threshold)?;
    let period = governor.votingPeriod().call().await.map_err(L1Error::contract("votingPeriod"))?;
    same("period of a vote", &U256::from(vote.period_seconds), &period)?;
    let delay = governor.votingDelay().call().await.map_err(L1Error::contract("votingDelay"))?;
    same("delay of a vote", &U256::from(vote.delay_seconds), &delay)?;
    // Of the getters of this name, `_0` takes a time in the past and `_1` reads the present value, in hundredths.
    let quorum = governor.quorumNumerator_1().call().await;
    let quorum = quorum.map_err(L1Error::contract("quorumNumerator"))?;
    same("percentage of the supply that must vote", &U256::from(vote.quorum_percent), &quorum)
}

fn same<T: PartialEq + std::fmt::Display>(
    what: &str,
    asked: &T,
    found: &T,
) -> Result<(), DeployError> {
    match asked == found {
        true => Ok(()),
        false => {
            let (asked, found) = (asked.to_string(), found.to_string());
            Err(DeployError::Differs { what: what.to_owned(), asked, found })
        }
    }
}

fn same_debug<T: PartialEq + std::fmt::Debug>(
    what: &str,
    asked: &T,
    found: &T,
) -> Result<(), DeployError> {
    match asked == found {
        true => Ok(()),
        false => {
            let (asked, found) = (format!("{asked:?}"), format!("{found:?}"));
            Err(DeployError::Differs { what: what.to_owned(), asked, found })
        }
    }
}

fn at_least(what: &str, asked: Azt, found: Azt) -> Result<(), DeployError> {
    match found >= asked {
        true => Ok(()),
        false => {
            let (asked, found) = (format!("{asked} AZT"), format!("{found} AZT"));
            Err(DeployError::Differs { what: what.to_owned(), asked, found })
        }
    }
}
