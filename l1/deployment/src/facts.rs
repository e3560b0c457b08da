//! What a deployer decides: a TOML file, read strictly and checked before anything is sent.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use rollmill_l1::Azt;
use rollmill_l1::abi;
use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::alloy::primitives::aliases::U96;
use rollmill_protocol::config::SLOTS_PER_EPOCH_MAX;
use rollmill_protocol::gas::{DA_GAS_PER_TX, L2_GAS_PER_TX, MAX_TXS_PER_BLOCK};
use rollmill_protocol::genesis::GENESIS_ITEMS_MAX;
use rollmill_protocol::message::MESSAGE_SUBTREE_HEIGHT;
use rollmill_protocol::{Config, EthAddress, Fr, field};
use rollmill_pxe::keys::Address as L2Address;
use serde::Deserialize;

use crate::DeployError;

/// A file of facts with a comment on every key.
pub const SAMPLE: &str = include_str!("../../../docs/config/deployment-facts.toml");

/// Ten-thousandths that the shares of a block's fees sum up to.
const BPS: u16 = 10_000;
/// Most members of a fixed committee.
const MEMBERS_MAX: usize = 64;
/// The bounds that `Registry` has for amounts, in base units.
const FEE_PER_CONSTRAINT_MAX: u128 = 10_u128.pow(15);
const BLOCK_REWARD_MAX: u128 = 10_u128.pow(22);
const AMOUNT_MAX: u128 = 10_u128.pow(24);
/// Most epochs that `Rollup` allows to be unproven.
const UNPROVEN_EPOCHS_MAX: u64 = 128;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(pub $inner);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let parse: fn(&str) -> Result<$inner, String> = $parse;
                parse(&text).map(Self).map_err(|why| format!("`{text}`: {why}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

text! {
    /// An amount of AZT, written as text so that no digit is lost.
    Amount, Azt, |text| text.parse::<Azt>().map_err(|error| error.to_string())
}
text! {
    /// An account on L1.
    EthAccount, Address, |text| EthAddress::from_hex(text)
        .map(abi::address)
        .map_err(|_| "expected a 20-byte address (0x and 40 hex digits)".to_owned())
}
text! {
    /// An account on L2.
    L2Account, L2Address, |text| text.parse::<L2Address>().map_err(|error| error.to_string())
}
text! {
    /// A contract on L2.
    L2Contract, Fr, |text| field::from_hex(text)
        .map_err(|_| "expected the address of a contract (0x and 64 hex digits)".to_owned())
}

/// The facts of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Name of the deployment, for people and for the journal.
    pub name: String,
    /// Chain id of L1.
    pub chain_id: u64,
    pub schedule: Schedule,
    pub blocks: Blocks,
    #[serde(default)]
    pub existing: Existing,
    /// The new token; absent if one exists.
    pub token: Option<Token>,
    /// The new timelock and who decides; absent if a timelock exists.
    pub governance: Option<Governance>,
    pub committee: Committee,
    pub rates: Rates,
    #[serde(default)]
    pub funds: Funds,
    /// Bonds to post.
    #[serde(default, rename = "bond")]
    pub bonds: Vec<Bond>,
    /// Accounts that have something on L2 from the first block on.
    #[serde(default, rename = "account")]
    pub accounts: Vec<Account>,
    /// Contracts that have a public balance from the first block on.
    #[serde(default, rename = "contract")]
    pub contracts: Vec<ContractBalance>,
}

/// Times, in seconds unless named otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Start of slot 0, in seconds since 1970.
    pub genesis_time: u64,
    pub slot_seconds: u64,
    pub slots_per_epoch: u64,
    pub proof_window_seconds: u32,
    pub challenge_seconds: u32,
    pub proof_grace_seconds: u32,
    pub max_unproven_epochs: u16,
}

/// Sizes of blocks and prices of gas.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blocks {
    /// Transactions that a block's limits of gas admit.
    pub max_txs: u64,
    /// Transactions of a block at which prices stay.
    pub target_txs: u64,
    /// Least price of a unit of gas, in units of L2.
    pub min_fee_per_gas: u64,
    /// The first prices, in units of L2.
    pub first_fee_per_l2_gas: u64,
    pub first_fee_per_da_gas: u64,
}

/// Contracts of an earlier deployment that this one uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Existing {
    pub token: Option<EthAccount>,
    pub timelock: Option<EthAccount>,
    /// Verifiers of ranges of one block, and of more.
    pub verifiers: Option<[EthAccount; 2]>,
    /// Only written into the deployment's file.
    pub governance: Option<EthAccount>,
    pub deployments: Option<EthAccount>,
}

/// A new token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub supply_azt: Amount,
    /// Who gets what the deployment does not use; the deployer if absent.
    pub holder: Option<EthAccount>,
}

/// Who decides about rates and new tokens: either `owner` or `vote`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Governance {
    /// Time that a decision waits in the timelock.
    pub timelock_seconds: u64,
    /// Account that alone decides.
    pub owner: Option<EthAccount>,
    /// The token's holders decide.
    pub vote: Option<Vote>,
}

/// How the token's holders vote.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    pub delay_seconds: u64,
    pub period_seconds: u32,
    /// Votes that a proposer needs.
    pub threshold_azt: Amount,
    /// Part of the supply that must take part.
    pub quorum_percent: u64,
}

/// Who signs blocks: `members`, or whoever stakes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Committee {
    #[serde(default)]
    pub members: Vec<EthAccount>,
    #[serde(default)]
    pub staking: bool,
}

/// What L1 pays and asks for at first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    pub fee_per_constraint_azt: Amount,
    pub block_reward_azt: Amount,
    pub proposer_bps: u16,
    pub attester_bps: u16,
    pub prover_bps: u16,
    pub challenge_share_bps: u16,
    pub committee_size: u8,
    pub bond_azt: Amount,
    pub min_stake_azt: Amount,
}

/// What the deployer sends to contracts besides bonds and the backing of genesis.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Funds {
    /// Pays for proofs and blocks.
    pub rewards_azt: Option<Amount>,
}

/// A bond of a proposer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bond {
    pub account: EthAccount,
    pub amount_azt: Amount,
}

/// What an account has on L2 at genesis.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub address: L2Account,
    /// One note for each amount.
    #[serde(default)]
    pub notes_azt: Vec<Amount>,
    /// The public balance, which pays fees.
    pub public_azt: Option<Amount>,
}

/// What a contract has on L2 at genesis: a public balance, with which it pays fees for others.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContractBalance {
    pub address: L2Contract,
    pub public_azt: Amount,
}

/// Whether a balance of genesis is more than nothing and a whole number of units.
fn check_units(key: String, amount: &Amount) -> Result<(), DeployError> {
    if !amount.0.is_zero() && amount.0.units().is_some() {
        return Ok(());
    }
    let why = format!(
        "{} AZT is no whole number of units: more than 0 and at most nine decimals expected",
        amount.0
    );
    Err(DeployError::fact(key, why))
}

impl Facts {
    /// Reads and checks a file's text.
    ///
    /// # Errors
    /// [`DeployError::Fact`] names the key.
    pub fn parse(text: &str) -> Result<Self, DeployError> {
        let facts: Self = toml::from_str(text).map_err(|error| {
            let place =
                error.span().map_or_else(|| "file".to_owned(), |span| key_at(text, span.start));
            DeployError::fact(place, error.message())
        })?;
        facts.check()?;
        Ok(facts)
    }

    /// Checks every bound that the contracts have, and that proposals cannot stall before a prune is due.
    ///
    /// # Errors
    /// [`DeployError::Fact`] names the key.
    pub fn check(&self) -> Result<(), DeployError> {
        if self.name.is_empty()
            || self.name.len() > 32
            || !self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            let why = "1 to 32 lower-case letters, digits and hyphens expected";
            return Err(DeployError::fact("name", why));
        }
        within("chain_id", self.chain_id, 1..=(1 << 53) - 1)?;
        self.check_times()?;
        self.check_owners()?;
        self.check_rates()?;
        self.check_accounts()?;
        self.check_threshold()
    }

    fn check_times(&self) -> Result<(), DeployError> {
        let (times, blocks) = (&self.schedule, &self.blocks);
        within("schedule.genesis_time", times.genesis_time, 1..=(1 << 40) - 1)?;
        within("schedule.slot_seconds", times.slot_seconds, 1..=(1 << 16) - 1)?;
        within("schedule.slots_per_epoch", times.slots_per_epoch, 1..=SLOTS_PER_EPOCH_MAX)?;
        for (key, seconds) in [
            ("schedule.proof_window_seconds", times.proof_window_seconds),
            ("schedule.challenge_seconds", times.challenge_seconds),
            ("schedule.proof_grace_seconds", times.proof_grace_seconds),
        ] {
            within(key, seconds.into(), times.slot_seconds..=u64::from(u32::MAX))?;
        }
        let (grace, challenge) = (times.proof_grace_seconds, times.challenge_seconds);
        within("schedule.proof_grace_seconds", grace.into(), 1..=challenge.into())?;
        let unproven = u64::from(times.max_unproven_epochs);
        within("schedule.max_unproven_epochs", unproven, 2..=UNPROVEN_EPOCHS_MAX)?;
        self.check_unproven()?;
        within("blocks.max_txs", blocks.max_txs, 1..=MAX_TXS_PER_BLOCK as u64)?;
        within("blocks.target_txs", blocks.target_txs, 1..=blocks.max_txs)?;
        within("blocks.min_fee_per_gas", blocks.min_fee_per_gas, 1..=(1 << 41) - 1)?;
        self.config().check().map_err(|error| {
            DeployError::fact("schedule and blocks", rollmill_errors::uncoded(&error.to_string()))
        })
    }

    /// Requires that so many epochs can be unproven as start until the oldest one without a proof can be pruned. The
    /// contract accepts fewer; then one missing proof stops all proposals for the rest of that time.
    fn check_unproven(&self) -> Result<(), DeployError> {
        let times = &self.schedule;
        let accepted = u64::from(times.proof_window_seconds) + u64::from(times.challenge_seconds);
        let epoch = times.slot_seconds.saturating_mul(times.slots_per_epoch);
        let (got, needed) =
            (u64::from(times.max_unproven_epochs), accepted.div_ceil(epoch.max(1)) + 2);
        if got >= needed {
            return Ok(());
        }
        let fix = match needed <= UNPROVEN_EPOCHS_MAX {
            true => "raise it",
            false => "shorten the proof window or the challenge period, or lengthen the epochs",
        };
        let why = format!(
            "at least {needed} expected, got {got}: proof window and challenge period last {accepted} s, an epoch \
             {epoch} s, and with less an epoch without a proof stops all proposals before it can be pruned; {fix}"
        );
        Err(DeployError::fact("schedule.max_unproven_epochs", why))
    }

    fn check_owners(&self) -> Result<(), DeployError> {
        let existing = &self.existing;
        let one_of = |a: &str, b: &str, has_a: bool, has_b: bool| match has_a == has_b {
            false => Ok(()),
            true if has_a => {
                Err(DeployError::fact(b, format!("{a} is set too; remove one of them")))
            }
            true => Err(DeployError::fact(b, format!("missing; set it, or {a}"))),
        };
        one_of("existing.token", "token", existing.token.is_some(), self.token.is_some())?;
        let (old, new) = (existing.timelock.is_some(), self.governance.is_some());
        one_of("existing.timelock", "governance", old, new)?;
        // The token's minter is the timelock, for good.
        if old != existing.token.is_some() {
            let why = "a token and its timelock are either both new or both existing";
            return Err(DeployError::fact("existing", why));
        }
        if let Some(governance) = &self.governance {
            let (owner, vote) = (governance.owner.is_some(), governance.vote.is_some());
            one_of("governance.vote", "governance.owner", vote, owner)?;
            within("governance.timelock_seconds", governance.timelock_seconds, 0..=(1 << 32) - 1)?;
            if let Some(vote) = &governance.vote {
                check_vote(governance.timelock_seconds, vote)?;
            }
            if governance.owner.is_some_and(|owner| owner.0.is_zero()) {
                return Err(DeployError::fact(
                    "governance.owner",
                    "the zero address decides nothing",
                ));
            }
        }
        let members: Vec<Address> = self.committee.members.iter().map(|member| member.0).collect();
        match (members.is_empty(), self.committee.staking) {
            (true, false) => {
                let why = "missing; list the members, or set committee.staking = true";
                return Err(DeployError::fact("committee.members", why));
            }
            (false, true) => {
                let why = "committee.members is set too; remove one of them";
                return Err(DeployError::fact("committee.staking", why));
            }
            _ => {}
        }
        if members.len() > MEMBERS_MAX {
            let why = format!("at most {MEMBERS_MAX} expected, got {}", members.len());
            return Err(DeployError::fact("committee.members", why));
        }
        let distinct: BTreeSet<_> = members.iter().collect();
        if distinct.len() != members.len() || members.iter().any(|member| member.is_zero()) {
            let why = "a member is listed twice, or is the zero address";
            return Err(DeployError::fact("committee.members", why));
        }
        Ok(())
    }

    fn check_rates(&self) -> Result<(), DeployError> {
        let rates = &self.rates;
        let sum = u32::from(rates.proposer_bps)
            + u32::from(rates.attester_bps)
            + u32::from(rates.prover_bps);
        if sum != u32::from(BPS) {
            let why = format!("with rates.attester_bps and rates.prover_bps {sum}, {BPS} expected");
            return Err(DeployError::fact("rates.proposer_bps", why));
        }
        within("rates.challenge_share_bps", rates.challenge_share_bps.into(), 0..=BPS.into())?;
        within("rates.committee_size", rates.committee_size.into(), 4..=64)?;
        for (key, amount, min, max) in [
            (
                "rates.fee_per_constraint_azt",
                rates.fee_per_constraint_azt,
                0,
                FEE_PER_CONSTRAINT_MAX,
            ),
            ("rates.block_reward_azt", rates.block_reward_azt, 0, BLOCK_REWARD_MAX),
            ("rates.bond_azt", rates.bond_azt, 0, AMOUNT_MAX),
            ("rates.min_stake_azt", rates.min_stake_azt, 1, AMOUNT_MAX),
        ] {
            if !(min..=max).contains(&amount.0.base_units()) {
                let (min, max) = (Azt::new(min), Azt::new(max));
                let why = format!("{min} to {max} AZT expected, got {}", amount.0);
                return Err(DeployError::fact(key, why));
            }
        }
        Ok(())
    }

    fn check_accounts(&self) -> Result<(), DeployError> {
        let mut seen = BTreeSet::new();
        let mut notes = 0;
        for (i, account) in self.accounts.iter().enumerate() {
            let key = |name| format!("account[{i}].{name}");
            if !seen.insert(account.address.0.to_string()) {
                return Err(DeployError::fact(key("address"), "it is listed twice"));
            }
            notes += account.notes_azt.len();
            let amounts = account.notes_azt.iter().map(|amount| ("notes_azt", amount));
            for (name, amount) in
                amounts.chain(account.public_azt.iter().map(|it| ("public_azt", it)))
            {
                check_units(key(name), amount)?;
            }
        }
        let owners = self.accounts.iter().map(|account| account.address.0.to_field());
        let mut taken: BTreeSet<Fr> = owners.collect();
        for (i, contract) in self.contracts.iter().enumerate() {
            let key = |name| format!("contract[{i}].{name}");
            if !taken.insert(contract.address.0) {
                return Err(DeployError::fact(key("address"), "it is listed twice"));
            }
            check_units(key("public_azt"), &contract.public_azt)?;
        }
        let balances = self.accounts.len() + self.contracts.len();
        if balances.max(notes) > GENESIS_ITEMS_MAX {
            let why = format!(
                "at most {GENESIS_ITEMS_MAX} accounts and contracts, and as many notes, expected"
            );
            return Err(DeployError::fact("account", why));
        }
        for (i, bond) in self.bonds.iter().enumerate() {
            if bond.amount_azt.0.is_zero() || bond.amount_azt.0.base_units() > AMOUNT_MAX {
                let why = format!("more than 0 and at most {} AZT expected", Azt::new(AMOUNT_MAX));
                return Err(DeployError::fact(format!("bond[{i}].amount_azt"), why));
            }
        }
        let needed = self.spent();
        match &self.token {
            Some(token) if token.supply_azt.0 < needed => {
                let why = format!("{} AZT, the facts spend {needed} AZT", token.supply_azt.0);
                Err(DeployError::fact("token.supply_azt", why))
            }
            _ => Ok(()),
        }
    }

    /// With a threshold above the supply nobody can ever propose anything.
    fn check_threshold(&self) -> Result<(), DeployError> {
        let vote = self.governance.as_ref().and_then(|governance| governance.vote.as_ref());
        let (Some(token), Some(vote)) = (&self.token, vote) else { return Ok(()) };
        let (threshold, supply) = (vote.threshold_azt.0, token.supply_azt.0);
        if threshold <= supply {
            return Ok(());
        }
        let why = format!("at most the supply of {supply} AZT expected, got {threshold}");
        Err(DeployError::fact("governance.vote.threshold_azt", why))
    }

    /// What the deployer's account needs of the token.
    pub fn spent(&self) -> Azt {
        let rewards = self.funds.rewards_azt.map_or(Azt::ZERO, |amount| amount.0);
        rewards.plus(self.bonded()).plus(self.backing())
    }

    /// The sum of all bonds.
    pub fn bonded(&self) -> Azt {
        self.bonds.iter().fold(Azt::ZERO, |sum, bond| sum.plus(bond.amount_azt.0))
    }

    /// What the FeePortal must hold for what genesis creates on L2.
    pub fn backing(&self) -> Azt {
        let amounts = self.accounts.iter().flat_map(|it| it.notes_azt.iter().chain(&it.public_azt));
        let amounts = amounts.chain(self.contracts.iter().map(|contract| &contract.public_azt));
        amounts.fold(Azt::ZERO, |sum, amount| sum.plus(amount.0))
    }

    /// The parameters that circuits and contracts share.
    pub fn config(&self) -> Config {
        let (times, blocks) = (&self.schedule, &self.blocks);
        Config {
            genesis_time: times.genesis_time,
            slot_seconds: times.slot_seconds,
            slots_per_epoch: times.slots_per_epoch,
            l2_gas_limit: blocks.max_txs * L2_GAS_PER_TX,
            l2_gas_target: blocks.target_txs * L2_GAS_PER_TX,
            da_gas_limit: blocks.max_txs * DA_GAS_PER_TX,
            da_gas_target: blocks.target_txs * DA_GAS_PER_TX,
            min_fee_per_gas: blocks.min_fee_per_gas,
            message_subtree_height: MESSAGE_SUBTREE_HEIGHT as u64,
        }
    }
}

impl Rates {
    /// As the contract takes them.
    pub fn to_l1(&self) -> abi::Rates {
        // The bounds are below the types' ends.
        let word = |amount: Amount| U96::saturating_from(amount.0.base_units());
        abi::Rates {
            feePerConstraint: self
                .fee_per_constraint_azt
                .0
                .base_units()
                .try_into()
                .unwrap_or(u64::MAX),
            blockReward: word(self.block_reward_azt),
            proposerBps: self.proposer_bps,
            attesterBps: self.attester_bps,
            proverBps: self.prover_bps,
            challengeShareBps: self.challenge_share_bps,
            committeeSize: self.committee_size,
            bondAmount: word(self.bond_azt),
            minStake: word(self.min_stake_azt),
        }
    }
}

/// Rejects votes that protect nobody, which the contracts accept.
fn check_vote(timelock_seconds: u64, vote: &Vote) -> Result<(), DeployError> {
    let most: u64 = (1 << 32) - 1;
    // Without a delay what passed takes effect before anybody can leave.
    within("governance.timelock_seconds", timelock_seconds, 1..=most)?;
    within("governance.vote.delay_seconds", vote.delay_seconds, 0..=most)?;
    within("governance.vote.period_seconds", vote.period_seconds.into(), 1..=most)?;
    // At 0 the smallest part of a token decides alone, if nobody else votes.
    within("governance.vote.quorum_percent", vote.quorum_percent, 1..=100)
}

fn within(key: &str, got: u64, range: RangeInclusive<u64>) -> Result<(), DeployError> {
    match range.contains(&got) {
        true => Ok(()),
        false => {
            let why = format!("{} to {} expected, got {got}", range.start(), range.end());
            Err(DeployError::fact(key, why))
        }
    }
}

/// The key, with its table, that was being read at a byte of the text.
fn key_at(text: &str, at: usize) -> String {
    let end = text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |more| at + more);
    let read = text.get(..end).unwrap_or(text);
    let line = text.get(..at).unwrap_or(text).bytes().filter(|byte| *byte == b'\n').count() + 1;
    let mut key = None;
    for row in read.lines().rev().map(str::trim) {
        if let Some(table) =
            row.strip_prefix('[').filter(|row| row.contains(']') && !row.contains(['"', ',']))
        {
            let table = table.trim_matches(['[', ']', ' ']);
            return match key {
                Some(key) => format!("{table}.{key} (line {line})"),
                None => format!("[{table}] (line {line})"),
            };
        }
        if key.is_none() {
            key = row
                .split_once('=')
                .map(|(name, _)| name.trim().to_owned())
                .filter(|it| !it.starts_with('#'));
        }
    }
    key.map_or_else(|| format!("line {line}"), |key| format!("{key} (line {line})"))
}
