//! Settings and subcommands of the wallet.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use rollmill_protocol::Fr;
use rollmill_protocol::field::from_hex;
use rollmill_pxe::keys::Address;
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

    /// Password of the keystore; required by each command that opens it
    #[arg(long, value_name = "file:PATH|env:NAME", help_heading = "Account")]
    pub(crate) password: Option<Secret>,

    /// File with the encrypted state of the wallet [default: beside the keystore, named by the account]
    #[arg(long, value_name = "FILE", help_heading = "Account")]
    pub(crate) state: Option<PathBuf>,

    /// Directory of proving keys and SRS [default: $ROLLMILL_CACHE/keys or ~/.cache/rollmill/keys]
    #[arg(long, value_name = "DIR", help_heading = "Proving")]
    pub(crate) keys_dir: Option<PathBuf>,
}

impl Settings for Config {}

#[derive(Debug, Subcommand)]
pub(crate) enum Commands {
    /// Create an account and its keystore file
    Keygen,
    /// Print the address of the account
    Address,
    /// Read the chain up to the pending tip
    Sync,
    /// Print the spendable value and the fee balance
    Balance,
    /// List the notes of the account
    Notes,
    /// Send a private transfer
    ///
    /// Exit code 3 means that the transaction was sent, or may have been, and that its outcome is unknown. Do
    /// not send it again; ask `rollmill-pxe status HASH`.
    Transfer(Transfer),
    /// Print the status of a transaction
    Status {
        /// Hash of the transaction, as `rollmill-pxe transfer` prints it
        #[arg(value_name = "HASH", value_parser = transaction_hash)]
        hash: Fr,
        #[command(flatten)]
        wait: Wait,
    },
}

/// The arguments of `transfer`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Transfer {
    /// Address of the recipient, rollmill1…
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Address,
    /// Amount in the smallest unit
    #[arg(long, value_name = "N", value_parser = values::whole(1..=u64::MAX))]
    pub(crate) amount: u64,
    /// Send without asking for confirmation
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print amount and fee, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also spend notes of blocks that are not proven on L1
    #[arg(long)]
    pub(crate) spend_pending: bool,
    /// Send even if the recipient has no fee balance and therefore cannot spend the value
    #[arg(long)]
    pub(crate) allow_unspendable: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
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

impl rollmill_service::Commands for Commands {
    const IS_REQUIRED: bool = true;
    const USES: &'static [(&'static str, &'static [&'static str])] = &[
        ("keygen", &["keystore", "password"]),
        ("address", &["keystore", "password"]),
        ("sync", &["node_url", "keystore", "password", "state"]),
        ("balance", &["node_url", "keystore", "password", "state"]),
        ("notes", &["node_url", "keystore", "password", "state"]),
        ("transfer", &["node_url", "keystore", "password", "state", "keys_dir"]),
        ("status", &["node_url"]),
    ];
}

fn transaction_hash(text: &str) -> Result<Fr, String> {
    from_hex(text).map_err(|_| {
        "expected the hash of a transaction (0x and 64 hex digits), as `rollmill-pxe transfer` prints it"
            .to_owned()
    })
}
