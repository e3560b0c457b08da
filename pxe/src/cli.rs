//! Settings and subcommands of the wallet.

pub(crate) mod contracts;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use rollmill_node_client::wire::DepositInfo;
use rollmill_protocol::field::from_hex;
use rollmill_protocol::{EthAddress, Fr};
use rollmill_pxe::keys::Address;
use rollmill_pxe::serve::origin::{self, Origins};
use rollmill_pxe::wallet::{EXPIRY_EPOCHS, FeePayer, IdempotencyKey, Order, Purpose};
use rollmill_service::{Secret, Settings, values};

/// Settings of the wallet.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Config {
    /// JSON-RPC URL of a node
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8560")]
    #[arg(value_parser = values::url, help_heading = "Connection")]
    pub(crate) node_url: String,

    /// File with the encrypted keys of the account
    #[arg(long, value_name = "FILE", default_value = "pxe-keystore.json")]
    #[arg(help_heading = "Account")]
    pub(crate) keystore: PathBuf,

    /// Database file with several accounts and their states, instead of --keystore and --state [default: none]
    #[arg(long, value_name = "FILE", help_heading = "Account")]
    pub(crate) store: Option<PathBuf>,

    /// Account of the store, rollmill1… [default: the only one]
    #[arg(long, value_name = "ADDRESS", help_heading = "Account")]
    pub(crate) account: Option<Address>,

    /// Password of the keystore or of the store [default: asked for on a terminal]
    #[arg(long, value_name = "file:PATH|env:NAME", help_heading = "Account")]
    pub(crate) password: Option<Secret>,

    /// File with the encrypted state of the wallet [default: beside the keystore, named by the account]
    #[arg(long, value_name = "FILE", help_heading = "Account")]
    pub(crate) state: Option<PathBuf>,

    /// Directory of proving keys and SRS [default: $ROLLMILL_CACHE/keys or ~/.cache/rollmill/keys]
    #[arg(long, value_name = "DIR", help_heading = "Proving")]
    pub(crate) keys_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) serve: ServeConfig,
}

impl Settings for Config {}

/// Settings of the service: the table `[serve]` of the file.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Service of the wallet")]
pub(crate) struct ServeConfig {
    /// Serve JSON-RPC on this loopback address; port 0 lets the system choose
    #[arg(id = "serve.listen", long, value_name = "IP:PORT", default_value = "127.0.0.1:8590")]
    #[arg(value_parser = loopback_address)]
    pub(crate) listen: String,

    /// Access token that clients must send [default: a new one at each start, in serve.token_file]
    ///
    /// It has 32 characters or more, such as the output of `openssl rand -hex 32`.
    #[arg(id = "serve.token", long, value_name = "file:PATH|env:NAME")]
    pub(crate) token: Option<Secret>,

    /// File for the access token that is made at each start [default: that of --store with the ending .token]
    #[arg(id = "serve.token_file", long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Serve pages of these origins too, such as https://shop.example [default: none]
    ///
    /// A page needs an access token besides. An origin is written as browsers write it: https:// and a host in lower case,
    /// http:// of this machine with its port, or a browser extension.
    #[arg(id = "serve.allow_origin", long, value_name = "ORIGIN,...")]
    #[arg(default_value = "", hide_default_value = true, value_parser = origin::origins)]
    pub(crate) allow_origin: Origins,

    /// JSON file of applications with access tokens of their own, and what they may do [default: none]
    ///
    /// Only its owner may be able to read it. It is read at the start.
    #[arg(id = "serve.apps", long, value_name = "FILE")]
    pub(crate) apps: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Commands {
    /// Create an account and its keystore file
    Keygen,
    /// Serve the accounts of --store to programs on this machine, by JSON-RPC
    ///
    /// Clients need the access token. Stop it with SIGTERM or SIGINT: transactions that are being sent are finished.
    Serve,
    /// Manage the database file of --store: accounts, seed phrases, password
    #[command(subcommand)]
    Store(StoreCommand),
    /// Manage the contracts of --store
    #[command(subcommand)]
    Contract(contracts::ContractCommand),
    /// Execute a call of a contract without a proof, and print what it would do
    ///
    /// The account of --account makes the call by its own contract, see `rollmill-pxe contract register --own`.
    Simulate(contracts::Call),
    /// Call a contract: execute the call, prove its transaction and send it
    ///
    /// The account of --account makes the call by its own contract, whose public balance pays the fee. The proofs take
    /// minutes. Exit codes are those of `rollmill-pxe transfer`.
    Call(contracts::SendCall),
    /// List the transactions of contracts that the account sent, with the outcome of each
    History,
    /// Print the address of the account
    Address {
        /// Print the field element that the contract FeePortal takes for it instead
        #[arg(long)]
        l1: bool,
    },
    /// Read the chain up to the pending tip
    Sync,
    /// Print the value of the notes by how certain it is, and the public balance
    Balance,
    /// List the notes of the account
    Notes,
    /// Send a private transfer
    ///
    /// Exit code 3 means that the transaction was sent, or may have been, and that its outcome is unknown. Do
    /// not send it again; ask `rollmill-pxe status HASH`.
    Transfer(Transfer),
    /// Claim a deposit on L1 and move its amount into a note
    ///
    /// Without `--index`, claim the oldest deposit of the account that the node can name. The public balance pays
    /// the fee; the deposit covers what it lacks. The transaction names the account. Exit codes are those of
    /// `rollmill-pxe transfer`.
    Claim(Claim),
    /// Withdraw value from notes to an account on L1
    ///
    /// Recipient and amount are public. Once the block is proven on L1, pass what `rollmill-pxe withdrawal-path
    /// HASH` prints to `rollmill-l1 withdraw`. Exit codes are those of `rollmill-pxe transfer`.
    Withdraw(Withdraw),
    /// Print what the contract FeePortal needs to pay out a withdrawal
    WithdrawalPath {
        /// Hash of the transaction, as `rollmill-pxe withdraw` prints it
        #[arg(value_name = "HASH", value_parser = transaction_hash)]
        hash: Fr,
    },
    /// Print the status of a transaction
    Status {
        /// Hash of the transaction, as `rollmill-pxe transfer` prints it
        #[arg(value_name = "HASH", value_parser = transaction_hash)]
        hash: Fr,
        #[command(flatten)]
        wait: Wait,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Create the database file with a seed and its first account
    Create,
    /// List the accounts: address, origin and label
    Accounts,
    /// Add the next account of a seed
    Add {
        /// Label of the account
        #[arg(long, value_name = "TEXT", default_value = "account")]
        label: String,
        /// Number of the seed
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::whole(1..=u32::MAX))]
        seed: u32,
    },
    /// Print the phrase that leads back to all accounts of a seed
    ///
    /// Whoever reads it can spend all that these accounts have.
    Phrase {
        /// Number of the seed
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::whole(1..=u32::MAX))]
        seed: u32,
    },
    /// Add the seed of a phrase and its first accounts
    ///
    /// The phrase is asked for on a terminal, or else read from standard input.
    Restore {
        /// Accounts to add
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::whole(1..=1000_u32))]
        accounts: u32,
        /// Label of the accounts
        #[arg(long, value_name = "TEXT", default_value = "restored")]
        label: String,
    },
    /// Take over the account of --keystore with its state
    ///
    /// The state file gets another name, so that no command continues from it. The keystore file stays.
    Import {
        /// Label of the account
        #[arg(long, value_name = "TEXT", default_value = "imported")]
        label: String,
        /// Password of the keystore file [default: asked for on a terminal]
        #[arg(long, value_name = "file:PATH|env:NAME")]
        keystore_password: Option<Secret>,
    },
    /// Change the password, and encrypt everything anew
    Password {
        /// New password [default: asked for on a terminal]
        #[arg(long, value_name = "file:PATH|env:NAME")]
        new_password: Option<Secret>,
    },
}

/// The arguments of `transfer`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Transfer {
    /// Address of the recipient, rollmill1…
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Address,
    /// Amount in units
    #[arg(long, value_name = "N", value_parser = values::whole(1..=u64::MAX))]
    pub(crate) amount: u64,
    #[command(flatten)]
    pub(crate) fee: FeeArguments,
    #[command(flatten)]
    pub(crate) repeat: Repeat,
    #[command(flatten)]
    pub(crate) sending: Sending,
}

/// The arguments of `claim`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Claim {
    /// Index of the deposit's message, as its event on L1 names it [default: the node finds a deposit]
    #[arg(long, value_name = "N", requires = "amount", value_parser = values::whole(0..=u64::MAX))]
    pub(crate) index: Option<u64>,
    /// Amount of the deposit in units; required with --index
    #[arg(long, value_name = "N", requires = "index", value_parser = values::whole(1..=u64::MAX))]
    pub(crate) amount: Option<u64>,
    /// Leave the amount in the public balance instead of moving it into a note
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) sending: Sending,
}

impl Claim {
    /// The deposit that the options name.
    pub(crate) fn deposit(&self) -> Option<DepositInfo> {
        Some(DepositInfo { index: self.index?, amount: self.amount? })
    }
}

/// The arguments of `withdraw`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Withdraw {
    /// Account on L1 that is paid, 0x and 40 hex digits
    #[arg(long, value_name = "ADDRESS", value_parser = l1_account)]
    pub(crate) to_l1: EthAddress,
    /// Amount in units
    #[arg(long, value_name = "N", value_parser = values::whole(1..=u64::MAX))]
    pub(crate) amount: u64,
    #[command(flatten)]
    pub(crate) fee: FeeArguments,
    #[command(flatten)]
    pub(crate) repeat: Repeat,
    #[command(flatten)]
    pub(crate) sending: Sending,
}

/// The arguments of each command that may be repeated.
#[derive(Debug, Clone, Args)]
pub(crate) struct Repeat {
    /// Key with which this command can be repeated without paying twice [default: none]
    ///
    /// 8 to 64 ASCII letters, digits, '-', '_', '.' or ':'. A repeated command prints the hash of the first one's
    /// transaction, and sends nothing. The wallet knows a key as long as it keeps the transaction, and 7 days longer.
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<IdempotencyKey>,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct FeeArguments {
    /// Who pays the fee
    #[arg(long, value_name = "PAYER", value_enum, default_value = "notes")]
    pub(crate) fee_payer: Payer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Payer {
    /// The notes: the transaction names nobody
    Notes,
    /// The public balance of the account, which the transaction names
    #[value(name = "self")]
    Account,
}

impl From<FeeArguments> for FeePayer {
    fn from(fee: FeeArguments) -> Self {
        match fee.fee_payer {
            Payer::Notes => Self::Notes,
            Payer::Account => Self::Account,
        }
    }
}

/// The arguments of each command that sends a transaction.
#[derive(Debug, Clone, Args)]
pub(crate) struct Sending {
    /// Send without asking for confirmation
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print amount and fee, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also spend notes of blocks that are not proven on L1
    #[arg(long)]
    pub(crate) spend_pending: bool,
    /// Whole epochs after the current one in which a block may include the transaction; after them its notes
    /// are free again
    #[arg(long, value_name = "N", default_value_t = EXPIRY_EPOCHS)]
    #[arg(value_parser = values::whole(1..=1_000_000_u64))]
    pub(crate) expiry_epochs: u64,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

impl Sending {
    /// The order for this purpose.
    pub(crate) fn order(&self, purpose: Purpose, fee_payer: FeePayer) -> Order {
        Order { purpose, fee_payer, expiry_epochs: self.expiry_epochs }
    }
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Wait {
    /// Wait until the transaction reaches this stage [default: no wait]
    #[arg(long, value_name = "STAGE", value_enum)]
    pub(crate) wait: Option<Stage>,
    /// Maximum time that --wait takes
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    #[arg(value_parser = values::whole(0..=604_800_u64))]
    pub(crate) wait_seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// In a block on L1
    Included,
    /// In a block that is proven on L1
    Proven,
    /// In a proven block that L1 has finalized
    Finalized,
}

impl Stage {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Included => "included",
            Self::Proven => "proven",
            Self::Finalized => "finalized",
        }
    }
}

/// Settings of a command that reads the chain.
const READS: &[&str] = &["node_url", "keystore", "store", "account", "password", "state"];
/// Settings of a command that sends a transaction.
const SENDS: &[&str] =
    &["node_url", "keystore", "store", "account", "password", "state", "keys_dir"];

impl rollmill_service::Commands for Commands {
    const IS_REQUIRED: bool = true;
    const USES: &'static [(&'static str, &'static [&'static str])] = &[
        ("keygen", &["keystore", "password"]),
        ("store", &["store", "keystore", "password", "state"]),
        ("contract", &["node_url", "store", "account", "password", "keys_dir"]),
        ("simulate", &["node_url", "store", "account", "password"]),
        ("call", &["node_url", "store", "account", "password", "keys_dir"]),
        ("history", &["node_url", "store", "account", "password"]),
        ("address", &["keystore", "store", "account", "password"]),
        ("sync", READS),
        ("balance", READS),
        ("notes", READS),
        ("transfer", SENDS),
        ("claim", SENDS),
        ("withdraw", SENDS),
        ("withdrawal-path", &["node_url"]),
        ("status", &["node_url"]),
    ];

    fn serves(&self) -> bool {
        matches!(self, Self::Serve)
    }
}

/// Only programs of this machine can use the wallet: its clients send the token without TLS.
fn loopback_address(text: &str) -> Result<String, String> {
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    match address {
        Some(_) => Ok(text.to_owned()),
        None => Err("expected IP:PORT of this machine, such as 127.0.0.1:8590".to_owned()),
    }
}

fn transaction_hash(text: &str) -> Result<Fr, String> {
    from_hex(text).map_err(|_| {
        "expected the hash of a transaction (0x and 64 hex digits), as `rollmill-pxe transfer` prints it"
            .to_owned()
    })
}

fn l1_account(text: &str) -> Result<EthAddress, String> {
    EthAddress::from_hex(text)
        .ok()
        .filter(|account| *account != EthAddress::default())
        .ok_or_else(|| "expected an account on L1 (0x and 40 hex digits), and not zero".to_owned())
}
