//! Settings and subcommands.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use rollmill_l1::Azt;
use rollmill_l1::alloy::primitives::U256;
use rollmill_node::config::{AccountConfig, eth_address};
use rollmill_protocol::{EthAddress, Fr, field};
use rollmill_pxe::keys::Address;
use rollmill_service::{Common, Conflict, Fact, Secret, Settings, values};

/// Settings of the program.
#[derive(Clone, Debug, clap::Args)]
#[command(mut_arg("intents", |arg| arg.default_value("l1-intents.json")))]
pub(crate) struct Config {
    /// RPC URLs of L1, tried in order
    #[arg(long, value_name = "URL,...", default_value = "http://127.0.0.1:8545")]
    #[arg(value_parser = values::some_urls, help_heading = "L1")]
    pub(crate) l1_urls: values::Urls,

    /// Chain ID of L1; an endpoint with another chain ID is rejected
    #[arg(long, value_name = "ID", default_value_t = 31337, help_heading = "L1")]
    #[arg(value_parser = values::whole(1..=values::CHAIN_ID_MAX))]
    pub(crate) chain_id: u64,

    /// Address of the rollup contract; required by each command about a deployment
    #[arg(long, value_name = "ADDRESS", value_parser = eth_address, help_heading = "L1")]
    pub(crate) rollup: Option<EthAddress>,

    /// Address of the contract Governance; required by each command about proposals
    #[arg(long, value_name = "ADDRESS", value_parser = eth_address, help_heading = "L1")]
    pub(crate) governance: Option<EthAddress>,

    /// Address of the contract Deployments; required by proposals about the list of deployments
    #[arg(long, value_name = "ADDRESS", value_parser = eth_address, help_heading = "L1")]
    pub(crate) deployments: Option<EthAddress>,

    /// L1 block from which proposals are searched for
    #[arg(long, value_name = "BLOCK", default_value_t = 0, help_heading = "L1")]
    #[arg(value_parser = values::whole(0..=u64::from(u32::MAX)))]
    pub(crate) l1_start: u64,

    /// L1 polling interval
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000, help_heading = "L1")]
    #[arg(value_parser = values::whole(10..=600_000_u64))]
    pub(crate) poll_ms: u64,

    #[command(flatten)]
    pub(crate) account: AccountConfig,

    /// Print the calls and whether they would succeed now, and send nothing
    #[arg(long, help_heading = "Sending")]
    pub(crate) dry_run: bool,

    /// Account that --dry-run assumes as the sender [default: the account of the key]
    #[arg(long, value_name = "ADDRESS", value_parser = eth_address, help_heading = "Sending")]
    pub(crate) from: Option<EthAddress>,

    /// Send without asking for confirmation
    #[arg(long, help_heading = "Sending")]
    pub(crate) yes: bool,

    /// Maximum time that a command waits for each of its transactions
    #[arg(long, value_name = "SECONDS", default_value_t = 600, help_heading = "Sending")]
    #[arg(value_parser = values::whole(1..=604_800_u64))]
    pub(crate) wait_seconds: u64,

    /// Print the result as one JSON object
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

impl Settings for Config {
    const DEPLOYMENT: &'static [Fact] = &[
        Fact::identity("chain_id", "chain_id"),
        Fact::identity("rollup", "contracts.rollup"),
        Fact::identity("governance", "contracts.governance"),
        Fact::identity("deployments", "contracts.deployments"),
        Fact::default("l1_start", "l1_start"),
    ];

    fn check(&self, _common: &Common) -> Result<(), Conflict> {
        if self.from.is_some() && !self.dry_run {
            let why = "the key says who sends; `from` is for dry_run only";
            return Err(Conflict::new(&["from", "dry_run"], why));
        }
        self.account.check()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Commands {
    /// Deploy the contracts of a rollup, and write the file that its programs take by --deployment
    ///
    /// Tries everything on L1's state first, sends what is not on L1 yet, and reads it all back. A run that ended early
    /// is continued by the same command. With --dry-run it only prints the steps with their gas.
    Deploy(Deploy),
    /// Show what a deployment fixes, its contracts, rates, tips and deadlines
    Deployment,
    /// Deposit AZT for an account on L2
    ///
    /// Approves the exact amount first if the allowance is lower. Prints the block that appends the deposit; the
    /// account can claim it with `rollmill-pxe claim` from the block after that.
    Deposit(Deposit),
    /// Have a withdrawal from L2 paid out to its recipient
    ///
    /// Anybody may send it; the tokens go to the recipient that the withdrawal names.
    Withdraw {
        /// File with what `rollmill-pxe withdrawal-path HASH` prints; `-` reads it from standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Show, deposit or withdraw a proposer's bond
    #[command(subcommand)]
    Bond(Bond),
    /// Show or collect what provers, proposers and attesters have earned
    #[command(subcommand)]
    Rewards(Rewards),
    /// Credit the proof of an epoch that is over, and return or forfeit its bond
    Settle {
        /// Number of the epoch
        #[arg(value_name = "EPOCH", value_parser = values::whole(0..=u64::MAX))]
        epoch: u64,
    },
    /// Drop the blocks that nobody has proven in time
    Prune,
    /// Show, deposit or exit a validator's stake
    #[command(subcommand)]
    Stake(Stake),
    /// Record the seed of the present epoch, with which the committee of the epoch after the next is drawn
    Seed,
    /// Delegate the votes of the account's tokens
    Delegate {
        /// Account that votes [default: the account itself]
        #[arg(value_name = "ACCOUNT", value_parser = eth_address)]
        to: Option<EthAddress>,
    },
    /// List proposals with their calls, states and votes
    Proposals {
        /// Number of one proposal [default: the newest]
        #[arg(value_name = "PROPOSAL", value_parser = number)]
        id: Option<U256>,
        /// Maximum proposals to list
        #[arg(long, value_name = "N", default_value_t = 20)]
        #[arg(value_parser = values::whole(1..=10_000_usize))]
        newest: usize,
    },
    /// Propose an action of governance
    Propose(Propose),
    /// Vote on a proposal
    Vote {
        /// Number of the proposal, as `rollmill-l1 proposals` prints it
        #[arg(value_name = "PROPOSAL", value_parser = number)]
        id: U256,
        /// What to vote
        #[arg(value_name = "VOTE", value_enum)]
        vote: Support,
    },
    /// Put a proposal that passed into the timelock
    Queue {
        /// Number of the proposal, as `rollmill-l1 proposals` prints it
        #[arg(value_name = "PROPOSAL", value_parser = number)]
        id: U256,
    },
    /// Execute a proposal whose delay in the timelock is over
    Execute {
        /// Number of the proposal, as `rollmill-l1 proposals` prints it
        #[arg(value_name = "PROPOSAL", value_parser = number)]
        id: U256,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Deploy {
    /// TOML file with the facts of the deployment; --sample prints one
    #[arg(value_name = "FILE", required_unless_present = "sample")]
    pub(crate) facts: Option<PathBuf>,
    /// Print a file of facts with a comment on every key, and exit
    #[arg(long)]
    pub(crate) sample: bool,
    /// Directory of the deployment: its files, and the journal that a later run continues
    #[arg(long, value_name = "DIR", default_value = "deployment")]
    pub(crate) out: PathBuf,
    /// Private key of the account that deploys [default: that of --l1-keystore or --l1-key-env]
    #[arg(long, value_name = "file:PATH|env:NAME")]
    pub(crate) key: Option<Secret>,
    /// Directory of proving keys [default: $ROLLMILL_CACHE/keys or ~/.cache/rollmill/keys]
    #[arg(long, value_name = "DIR")]
    pub(crate) keys_dir: Option<PathBuf>,
    /// Directory with the verifier contracts of other keys than the release's: NAME.sol and NAME.json [default: those
    /// of the release]
    #[arg(long, value_name = "DIR")]
    pub(crate) verifiers: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Deposit {
    /// Account on L2: rollmill1…, or the field element that `rollmill-pxe address --l1` prints
    #[arg(long, value_name = "ADDRESS", value_parser = l2_account)]
    pub(crate) to: Fr,
    /// Amount in AZT, with at most nine decimals
    #[arg(long, value_name = "AZT", value_parser = positive)]
    pub(crate) amount: Azt,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bond {
    /// Print the free and the locked part of a bond
    Status {
        /// Proposer [default: the account of the key]
        #[arg(value_name = "ACCOUNT", value_parser = eth_address)]
        account: Option<EthAddress>,
    },
    /// Add to the free part of a bond
    ///
    /// Approves the exact amount first if the allowance is lower.
    Deposit {
        /// Amount in AZT
        #[arg(long, value_name = "AZT", value_parser = positive)]
        amount: Azt,
        /// Proposer whose bond it is [default: the account of the key]
        #[arg(long = "for", value_name = "ADDRESS", value_parser = eth_address)]
        proposer: Option<EthAddress>,
    },
    /// Take back the free part of the account's own bond, or a part of it
    Withdraw {
        /// Amount in AZT [default: all that is free]
        #[arg(long, value_name = "AZT", value_parser = positive)]
        amount: Option<Azt>,
    },
    /// Send lost bonds to Rewards
    Collect,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rewards {
    /// Print what an account is owed, and epochs that are not settled or claimed yet
    Status {
        /// Who is paid [default: the account of the key]
        #[arg(value_name = "ACCOUNT", value_parser = eth_address)]
        account: Option<EthAddress>,
        #[command(flatten)]
        scan: Scan,
    },
    /// Settle epochs, claim the fees of their blocks, and pay what the account is owed
    ///
    /// Anybody may send it; the tokens go to the account.
    Claim {
        /// Who is paid [default: the account of the key]
        #[arg(value_name = "ACCOUNT", value_parser = eth_address)]
        account: Option<EthAddress>,
        #[command(flatten)]
        scan: Scan,
    },
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Scan {
    /// Proven epochs to look through, from the newest back; 0 claims only what is credited
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = values::whole(0..=100_000_usize))]
    pub(crate) epochs: usize,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Stake {
    /// Print the stake of a validator
    Status {
        /// Validator [default: the account of the key]
        #[arg(value_name = "VALIDATOR", value_parser = eth_address)]
        validator: Option<EthAddress>,
    },
    /// Stake for a validator, which then sits in committees
    ///
    /// Approves the exact amount first if the allowance is lower. A validator is staked for once; a slashed one never
    /// again.
    Deposit {
        /// Amount in AZT
        #[arg(long, value_name = "AZT", value_parser = positive)]
        amount: Azt,
        /// Validator: the account whose key signs blocks [default: the account of the key]
        #[arg(long, value_name = "ADDRESS", value_parser = eth_address)]
        validator: Option<EthAddress>,
        /// Account that may exit and gets the stake back [default: the account of the key]
        #[arg(long, value_name = "ADDRESS", value_parser = eth_address)]
        withdrawer: Option<EthAddress>,
    },
    /// Leave the set of validators; the withdrawer sends it
    Exit {
        /// Validator [default: the account of the key]
        #[arg(value_name = "VALIDATOR", value_parser = eth_address)]
        validator: Option<EthAddress>,
    },
    /// Pay the stake to its withdrawer once the exit delay is over
    Finalize {
        /// Validator [default: the account of the key]
        #[arg(value_name = "VALIDATOR", value_parser = eth_address)]
        validator: Option<EthAddress>,
    },
    /// Report a validator that signed two blocks of a slot: it loses its stake, and a tenth goes to the account of the key
    Report {
        /// Evidence, as another validator keeps it in the folder `evidence` beside its record of signatures
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Propose {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Description {
    /// Reason for the proposal, which voters read; two proposals with the same calls need different ones
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: String,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Action {
    /// Set rates of the deployment; those that are not given stay
    SetRates(Box<SetRates>),
    /// Create tokens
    Mint {
        /// Account that gets them
        #[arg(long, value_name = "ADDRESS", value_parser = eth_address)]
        to: EthAddress,
        /// Amount in AZT
        #[arg(long, value_name = "AZT", value_parser = positive)]
        amount: Azt,
        #[command(flatten)]
        about: Description,
    },
    /// Send tokens of the timelock to the Rewards of a listed deployment
    Fund {
        /// Number of the deployment in the list
        #[arg(value_name = "DEPLOYMENT", value_parser = values::whole(0..=u64::from(u32::MAX)))]
        id: u64,
        /// Amount in AZT
        #[arg(long, value_name = "AZT", value_parser = positive)]
        amount: Azt,
        /// Create the tokens first
        #[arg(long)]
        mint: bool,
        #[command(flatten)]
        about: Description,
    },
    /// Add the deployment of --rollup to the list
    Add {
        /// Name of the deployment
        #[arg(long, value_name = "NAME")]
        name: String,
        #[command(flatten)]
        about: Description,
    },
    /// Name the deployment that new users should take
    SetCanonical {
        /// Number of the deployment in the list
        #[arg(value_name = "DEPLOYMENT", value_parser = values::whole(0..=u64::from(u32::MAX)))]
        id: u64,
        #[command(flatten)]
        about: Description,
    },
}

impl Action {
    pub(crate) fn description(&self) -> &str {
        match self {
            Self::SetRates(rates) => &rates.about.description,
            Self::Mint { about, .. }
            | Self::Fund { about, .. }
            | Self::Add { about, .. }
            | Self::SetCanonical { about, .. } => &about.description,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SetRates {
    /// AZT for one charged row of a proof [default: as it is]
    #[arg(long, value_name = "AZT")]
    pub(crate) fee_per_constraint: Option<Azt>,
    /// AZT for the coinbase of each proven block [default: as it is]
    #[arg(long, value_name = "AZT")]
    pub(crate) block_reward: Option<Azt>,
    /// Part of a block's fees for the coinbase, in ten-thousandths [default: as it is]
    #[arg(long, value_name = "BPS", value_parser = values::whole(0..=10_000_u16))]
    pub(crate) proposer_bps: Option<u16>,
    /// Part of a block's fees for the signers, in ten-thousandths [default: as it is]
    #[arg(long, value_name = "BPS", value_parser = values::whole(0..=10_000_u16))]
    pub(crate) attester_bps: Option<u16>,
    /// Part of a block's fees for the prover, in ten-thousandths [default: as it is]
    #[arg(long, value_name = "BPS", value_parser = values::whole(0..=10_000_u16))]
    pub(crate) prover_bps: Option<u16>,
    /// Part of a bond that late proofs of a whole epoch earn, in ten-thousandths [default: as it is]
    #[arg(long, value_name = "BPS", value_parser = values::whole(0..=10_000_u16))]
    pub(crate) challenge_share_bps: Option<u16>,
    /// Members of a sampled committee [default: as it is]
    #[arg(long, value_name = "N", value_parser = values::whole(4..=64_u8))]
    pub(crate) committee_size: Option<u8>,
    /// AZT that the first block of an epoch locks [default: as it is]
    #[arg(long, value_name = "AZT")]
    pub(crate) bond_amount: Option<Azt>,
    /// Least AZT of a stake [default: as it is]
    #[arg(long, value_name = "AZT")]
    pub(crate) min_stake: Option<Azt>,
    #[command(flatten)]
    pub(crate) about: Description,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Support {
    /// For the proposal
    For,
    /// Against it
    Against,
    /// Neither; counts towards the quorum
    Abstain,
}

impl Support {
    /// As the Governor counts it.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Against => 0,
            Self::For => 1,
            Self::Abstain => 2,
        }
    }
}

/// Settings of an account and of sending, which each command that sends has.
macro_rules! sending {
    ($($more:literal),*) => {
        &[
            $($more,)* "l1_urls", "chain_id", "poll_ms", "l1_key_env", "l1_keystore", "l1_password_file",
            "intents", "l1_max_fee_gwei", "dry_run", "from", "yes", "wait_seconds", "json",
        ]
    };
}

impl rollmill_service::Commands for Commands {
    const IS_REQUIRED: bool = true;
    const USES: &'static [(&'static str, &'static [&'static str])] = &[
        ("deploy", sending!()),
        (
            "deployment",
            &["rollup", "deployments", "l1_urls", "chain_id", "json", "service.deployment"],
        ),
        ("deposit", sending!("service.deployment", "rollup")),
        ("withdraw", sending!("service.deployment", "rollup")),
        ("bond", sending!("service.deployment", "rollup")),
        ("rewards", sending!("service.deployment", "rollup")),
        ("settle", sending!("service.deployment", "rollup")),
        ("prune", sending!("service.deployment", "rollup")),
        ("stake", sending!("service.deployment", "rollup")),
        ("seed", sending!("service.deployment", "rollup")),
        ("delegate", sending!("service.deployment", "rollup", "governance")),
        (
            "proposals",
            &[
                "governance",
                "rollup",
                "deployments",
                "l1_start",
                "l1_urls",
                "chain_id",
                "json",
                "service.deployment",
            ],
        ),
        ("propose", sending!("service.deployment", "governance", "rollup", "deployments")),
        ("vote", sending!("service.deployment", "governance")),
        ("queue", sending!("service.deployment", "governance", "l1_start")),
        ("execute", sending!("service.deployment", "governance", "l1_start")),
    ];
}

/// A number of the Governor, decimal or hexadecimal.
fn number(text: &str) -> Result<U256, String> {
    text.parse().map_err(|_| "expected the number of a proposal".to_owned())
}

/// An amount that is not 0.
fn positive(text: &str) -> Result<Azt, String> {
    match text.parse::<Azt>() {
        Ok(amount) if amount.is_zero() => Err("expected more than 0".to_owned()),
        Ok(amount) => Ok(amount),
        Err(error) => Err(error.to_string()),
    }
}

/// An account on L2, by its text or by the field element that owns its notes.
fn l2_account(text: &str) -> Result<Fr, String> {
    if text.starts_with("0x") {
        return field::from_hex(text).map_err(|_| {
            "expected 0x and 64 hex digits of a field element, as `rollmill-pxe address --l1` prints it"
                .to_owned()
        });
    }
    match text.parse::<Address>() {
        Ok(address) => Ok(address.to_field()),
        Err(error) => Err(error.to_string()),
    }
}
