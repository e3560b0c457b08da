//! What no deployment owns: the token, the Governor, its timelock and the list of deployments. And what is voted on.

use rollmill_l1::abi::{self, Governance};
use rollmill_l1::alloy::primitives::aliases::U48;
use rollmill_l1::alloy::primitives::{Address, Bytes, U256, keccak256};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::sol_types::{SolCall, SolConstructor};
use rollmill_l1::{L1Client, L1Error, TxSender, deploy};

use crate::Error;
use crate::error::{getter, rpc};

/// Votes against a proposal and for it, as the Governor counts them.
pub(crate) const AGAINST: u8 = 0;
pub(crate) const FOR: u8 = 1;

/// The contracts that no deployment owns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common {
    pub token: Address,
    pub timelock: Address,
    pub governance: Address,
    pub deployments: Address,
}

/// How long a decision takes, and who can make one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voting {
    /// Seconds from a proposal to its vote.
    pub delay: u64,
    /// Seconds of the vote.
    pub period: u64,
    /// Seconds that what passed waits in the timelock.
    pub timelock_delay: u64,
    /// Percent of the supply that must take part in a vote.
    pub quorum_percent: u64,
}

/// Part of the supply that a proposer needs: one in so many tokens.
const PROPOSER_PART: u128 = 100;

/// Deploys the token, whose whole supply the sender has, the timelock, which alone can mint, the Governor, which alone
/// can use the timelock, and the list of deployments. The timelock names the Governor before it exists, so nobody has a
/// role for a while.
///
/// # Errors
/// [`Error::L1`] when L1 rejects one of them, or the sender used its account for something else meanwhile.
pub(crate) async fn deploy_common(
    l1: &L1Client,
    sender: &TxSender,
    supply: u128,
    voting: Voting,
) -> Result<Common, Error> {
    let holder = sender.account();
    let nonce = l1.provider().get_transaction_count(holder).await.map_err(rpc("nonce"))?;
    let governance = holder.create(nonce + 2);
    let timelock = abi::TimelockController::constructorCall {
        minDelay: U256::from(voting.timelock_delay),
        proposers: vec![governance],
        // Anybody may execute what has waited.
        executors: vec![Address::ZERO],
        admin: Address::ZERO,
    };
    let timelock =
        create(sender, "TimelockController", &abi::TimelockController::BYTECODE, &timelock).await?;
    let token =
        abi::AztToken::constructorCall { minter: timelock, holder, supply: U256::from(supply) };
    let token = create(sender, "AztToken", &abi::AztToken::BYTECODE, &token).await?;
    let governor = abi::Governance::constructorCall {
        token,
        timelock,
        delay: U48::saturating_from(voting.delay),
        period: u32::try_from(voting.period).unwrap_or(u32::MAX),
        threshold: U256::from(supply / PROPOSER_PART),
        percent: U256::from(voting.quorum_percent),
    };
    let made = create(sender, "Governance", &abi::Governance::BYTECODE, &governor).await?;
    if made != governance {
        let reason = format!("it is {made}, and the timelock obeys {governance}");
        return Err(L1Error::Decode { what: "address of the Governor", reason }.into());
    }
    let deployments = abi::Deployments::constructorCall { token, timelock };
    let deployments =
        create(sender, "Deployments", &abi::Deployments::BYTECODE, &deployments).await?;
    Ok(Common { token, timelock, governance, deployments })
}

/// Creates a contract with these constructor arguments.
///
/// # Errors
/// As [`deploy`].
pub(crate) async fn create(
    sender: &TxSender,
    id: &str,
    code: &[u8],
    arguments: &impl SolConstructor,
) -> Result<Address, L1Error> {
    Ok(deploy(sender, id, abi::creation(code, &arguments.abi_encode())).await?.address)
}

/// What is voted on: calls that the timelock makes, all or none.
#[derive(Debug, Clone)]
pub(crate) struct Motion {
    pub governance: Address,
    pub description: String,
    targets: Vec<Address>,
    calls: Vec<Bytes>,
}

impl Motion {
    pub(crate) fn new(common: &Common, description: &str) -> Self {
        let (targets, calls) = (Vec::new(), Vec::new());
        Self { governance: common.governance, description: description.to_owned(), targets, calls }
    }

    /// Adds a call.
    pub(crate) fn call(mut self, to: Address, call: &impl SolCall) -> Self {
        self.targets.push(to);
        self.calls.push(call.abi_encode().into());
        self
    }

    fn values(&self) -> Vec<U256> {
        vec![U256::ZERO; self.targets.len()]
    }

    pub(crate) fn propose(&self) -> Governance::proposeCall {
        Governance::proposeCall {
            targets: self.targets.clone(),
            values: self.values(),
            calldatas: self.calls.clone(),
            description: self.description.clone(),
        }
    }

    pub(crate) fn queue(&self) -> Governance::queueCall {
        Governance::queueCall {
            targets: self.targets.clone(),
            values: self.values(),
            calldatas: self.calls.clone(),
            descriptionHash: keccak256(&self.description),
        }
    }

    pub(crate) fn execute(&self) -> Governance::executeCall {
        Governance::executeCall {
            targets: self.targets.clone(),
            values: self.values(),
            calldatas: self.calls.clone(),
            descriptionHash: keccak256(&self.description),
        }
    }

    /// The proposal's number, which follows from what it is.
    ///
    /// # Errors
    /// [`Error::L1`].
    pub(crate) async fn id(&self, l1: &L1Client) -> Result<U256, Error> {
        let governance = Governance::new(self.governance, l1.provider().clone());
        let hash = keccak256(&self.description);
        let id = governance
            .hashProposal(self.targets.clone(), self.values(), self.calls.clone(), hash)
            .call()
            .await;
        id.map_err(getter("hashProposal"))
    }
}
