//! Every transaction of a deployment with every address, before any of them exists.

use rollmill_l1::abi;
use rollmill_l1::alloy::primitives::aliases::U48;
use rollmill_l1::alloy::primitives::{Address, Bytes, U256, keccak256};
use rollmill_l1::alloy::sol_types::{SolCall, SolConstructor};
use rollmill_l1::{Azt, Chosen, Terms, TxRequest, root_key};
use rollmill_protocol::genesis::{GENESIS_FORMAT, GenesisBalance, GenesisNote};
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::{EthAddress, Fr, Genesis};

use crate::facts::Amount;
use crate::{DeployError, Facts, Roots};

/// A transaction of the deployment.
#[derive(Debug, Clone)]
pub struct Step {
    /// Name in the journal: `alpha/rollup`.
    pub id: String,
    /// What it does, in words.
    pub what: String,
    /// The contract that it creates.
    pub creates: Option<Address>,
    pub request: TxRequest,
}

impl Step {
    /// Digest of recipient and input, by which a journal knows the step again.
    pub fn digest(&self) -> String {
        let to = self.request.to.unwrap_or_default();
        keccak256([to.as_slice(), &self.request.input[..]].concat()).to_string()
    }
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    pub rollup: Address,
    pub tied: abi::Contracts,
    pub token: Address,
    pub timelock: Address,
    pub governance: Option<Address>,
    pub deployments: Option<Address>,
    /// Verifiers of ranges of one block, and of more.
    pub verifiers: [Address; 2],
}

/// A deployment by one account from one nonce on.
#[derive(Debug, Clone)]
pub struct Plan {
    pub account: Address,
    pub first_nonce: u64,
    pub steps: Vec<Step>,
    pub addresses: Addresses,
    pub genesis: Genesis,
    pub terms: Terms,
}

/// Collects steps, each of which takes the next nonce.
struct Steps<'a> {
    name: &'a str,
    account: Address,
    first_nonce: u64,
    all: Vec<Step>,
}

impl Steps<'_> {
    fn nonce(&self) -> u64 {
        self.first_nonce + self.all.len() as u64
    }

    /// The address of the contract that is created `after` this many further ones.
    fn address(&self, after: u64) -> Address {
        self.account.create(self.nonce() + after)
    }

    /// The name in the account's own journal, which may have another deployment of the same name.
    fn purpose(&self, of: &str) -> String {
        format!("{}@{}/{of}", self.name, self.first_nonce)
    }

    fn create(&mut self, contract: &str, code: Bytes) -> Address {
        let address = self.address(0);
        let id = format!("{}/{contract}", self.name);
        let request = TxRequest::create(self.purpose(contract), code);
        let what = format!("create {contract}");
        self.all.push(Step { id, what, creates: Some(address), request });
        address
    }

    fn built(&mut self, contract: &str, code: &[u8], arguments: &impl SolConstructor) -> Address {
        self.create(contract, abi::creation(code, &arguments.abi_encode()))
    }

    fn call(&mut self, id: &str, what: String, to: Address, call: &impl SolCall) {
        let purpose = self.purpose(id);
        let id = format!("{}/{id}", self.name);
        let request = TxRequest::call(purpose, to, Bytes::from(call.abi_encode()));
        self.all.push(Step { id, what, creates: None, request });
    }

    /// A transfer of tokens; none if there is nothing to transfer.
    fn pay(&mut self, id: &str, whom: &str, token: Address, to: Address, amount: Azt) {
        if !amount.is_zero() {
            let transfer = abi::AztToken::transferCall { to, value: amount.word() };
            self.call(id, format!("send {amount} AZT to {whom} {to}"), token, &transfer);
        }
    }
}

impl Plan {
    /// Plans a deployment. Nothing is read or sent.
    ///
    /// # Errors
    /// [`DeployError::Genesis`] for accounts that no genesis may have.
    pub fn new(
        facts: &Facts,
        roots: &Roots,
        account: Address,
        first_nonce: u64,
    ) -> Result<Self, DeployError> {
        let mut steps = Steps { name: &facts.name, account, first_nonce, all: Vec::new() };
        let verifiers = match facts.existing.verifiers {
            Some([one, more]) => [one.0, more.0],
            None => {
                let [one, more] = &roots.roots;
                [
                    steps.create(&one.name, one.code.clone()),
                    steps.create(&more.name, more.code.clone()),
                ]
            }
        };
        let data = steps.create("BlobAvailability", abi::BlobAvailability::BYTECODE.clone());
        let selection = match facts.committee.staking {
            true => Chosen::Staking,
            false => {
                let members = facts.committee.members.iter().map(|member| member.0).collect();
                let committee = abi::FixedCommittee::constructorCall { members };
                let code = &abi::FixedCommittee::BYTECODE;
                Chosen::Existing(steps.built("FixedCommittee", code, &committee))
            }
        };
        let [token, timelock, governance, deployments] = common(facts, &mut steps);
        let (token, timelock) = (token.unwrap_or_default(), timelock.unwrap_or_default());

        let tied = rollmill_l1::Plan::at(account, steps.nonce());
        let rollup = tied.rollup();
        let genesis = genesis(facts, roots.vk_root, EthAddress(rollup.into_array()));
        let archive_root = genesis.build(MemoryStore::default())?.state.archive_root;
        let times = &facts.schedule;
        let key = |place: usize| {
            let root = &roots.roots[place];
            root_key(verifiers[place], root.charged_rows, &root.path)
        };
        let terms = Terms {
            genesis_archive_root: archive_root,
            vk_root: roots.vk_root,
            config: facts.config(),
            one_block: key(0)?,
            more_blocks: key(1)?,
            proof_window_seconds: times.proof_window_seconds,
            challenge_seconds: times.challenge_seconds,
            proof_grace_seconds: times.proof_grace_seconds,
            max_unproven_epochs: times.max_unproven_epochs,
            data_availability: data,
            token,
            timelock,
            selection,
            rates: facts.rates.to_l1(),
        };
        for (contract, code) in tied.creations(&terms)? {
            steps.create(contract, code);
        }
        let contracts = tied.contracts(&terms);
        fund(facts, &mut steps, token, &contracts);
        let addresses = Addresses {
            rollup,
            tied: contracts,
            token,
            timelock,
            governance,
            deployments,
            verifiers,
        };
        Ok(Self { account, first_nonce, steps: steps.all, addresses, genesis, terms })
    }
}

/// Token, timelock, Governor and list of deployments: those that exist, or new ones.
fn common(facts: &Facts, steps: &mut Steps<'_>) -> [Option<Address>; 4] {
    let existing = &facts.existing;
    let old = |account: Option<crate::EthAccount>| account.map(|it| it.0);
    let (Some(governance), Some(token)) = (&facts.governance, &facts.token) else {
        let (one, two) = (old(existing.token), old(existing.timelock));
        return [one, two, old(existing.governance), old(existing.deployments)];
    };
    // The timelock names the Governor, which is created after the token.
    let decides = match governance.owner {
        Some(owner) => owner.0,
        None => steps.address(2),
    };
    let timelock = abi::TimelockController::constructorCall {
        minDelay: U256::from(governance.timelock_seconds),
        proposers: vec![decides],
        // Anybody may execute what has waited.
        executors: vec![Address::ZERO],
        admin: Address::ZERO,
    };
    let code = &abi::TimelockController::BYTECODE;
    let timelock = steps.built("TimelockController", code, &timelock);
    let supply = token.supply_azt.0;
    let made = abi::AztToken::constructorCall {
        minter: timelock,
        holder: steps.account,
        supply: supply.word(),
    };
    let token = steps.built("AztToken", &abi::AztToken::BYTECODE, &made);
    let governor = governance.vote.as_ref().map(|vote| {
        let governor = abi::Governance::constructorCall {
            token,
            timelock,
            delay: U48::saturating_from(vote.delay_seconds),
            period: vote.period_seconds,
            threshold: vote.threshold_azt.0.word(),
            percent: U256::from(vote.quorum_percent),
        };
        steps.built("Governance", &abi::Governance::BYTECODE, &governor)
    });
    let deployments = abi::Deployments::constructorCall { token, timelock };
    let deployments = steps.built("Deployments", &abi::Deployments::BYTECODE, &deployments);
    [Some(token), Some(timelock), governor, Some(deployments)]
}

/// What the deployer pays: the backing of genesis, Rewards, bonds, and the rest of a new token's supply to its holder.
fn fund(facts: &Facts, steps: &mut Steps<'_>, token: Address, contracts: &abi::Contracts) {
    steps.pay("backing", "FeePortal", token, contracts.feePortal, facts.backing());
    let rewards = facts.funds.rewards_azt.map_or(Azt::ZERO, |amount| amount.0);
    steps.pay("rewards-funds", "Rewards", token, contracts.rewards, rewards);
    let (vault, bonded) = (contracts.bondVault, facts.bonded());
    if !bonded.is_zero() {
        let approve = abi::AztToken::approveCall { spender: vault, value: bonded.word() };
        steps.call("approve", format!("approve {bonded} AZT for BondVault"), token, &approve);
    }
    for (i, bond) in facts.bonds.iter().enumerate() {
        let (account, amount) = (bond.account.0, bond.amount_azt.0);
        let what = format!("post a bond of {amount} AZT for {account}");
        let deposit = abi::BondVault::depositCall { account, amount: amount.word() };
        steps.call(&format!("bond/{i}"), what, vault, &deposit);
    }
    if let Some(new) = &facts.token
        && let Some(holder) = new.holder
        && holder.0 != steps.account
    {
        let rest = new.supply_azt.0.less(facts.spent());
        steps.pay("holder", "the holder", token, holder.0, rest);
    }
}

/// The genesis of a rollup at this address.
fn genesis(facts: &Facts, vk_root: Fr, rollup: EthAddress) -> Genesis {
    let units = |amount: &Amount| amount.0.units().unwrap_or_default();
    let owned = facts.accounts.iter().flat_map(|account| {
        let owner = account.address.0.to_field();
        account.notes_azt.iter().map(move |amount| (owner, units(amount)))
    });
    let notes = owned.zip(1u64..).map(|((owner, value), number)| GenesisNote {
        owner,
        value,
        // Public in any case, as the whole file is; different, so that no two notes are equal.
        randomness: Fr::from(number),
    });
    let balances = facts.accounts.iter().filter_map(|account| {
        let (address, amount) = (account.address.0.to_field(), units(account.public_azt.as_ref()?));
        Some(GenesisBalance { address, amount })
    });
    let balances = balances.chain(facts.contracts.iter().map(|contract| GenesisBalance {
        address: contract.address.0,
        amount: units(&contract.public_azt),
    }));
    Genesis {
        format: GENESIS_FORMAT,
        chain_id: facts.chain_id,
        rollup,
        vk_root,
        config: facts.config(),
        fee_per_l2_gas: facts.blocks.first_fee_per_l2_gas,
        fee_per_da_gas: facts.blocks.first_fee_per_da_gas,
        notes: notes.collect(),
        fee_balances: balances.collect(),
    }
}
