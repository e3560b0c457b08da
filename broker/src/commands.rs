//! The broker's subcommands, as clap knows them.

use clap::{Args, Subcommand, ValueEnum};
use rollmill_broker_client::{AgentId, BATCH_MAX, EpochOutcome, JobId, JobState, Role};
use rollmill_service::values;

/// The largest number that the database holds.
const EPOCH_MAX: u64 = i64::MAX as u64;

fn label(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("expected NAME=VALUE, such as rollup=0x…".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Commands {
    /// Run the broker (default command)
    Serve,
    /// Create or upgrade the database schema
    Migrate,
    /// Use the object store of the settings for the database, in place of one that is lost
    ///
    /// Works on the database: stop every broker of it first. Artifacts that the new store does not have are lost; jobs
    /// that need them are made again.
    AdoptStore,
    #[command(flatten)]
    Ask(Request),
    /// Add, list or revoke access tokens
    ///
    /// These commands work on the database. Stop a broker with a private PostgreSQL first.
    #[command(subcommand)]
    Tokens(Tokens),
    /// Measure brokers with fake agents
    ///
    /// Starts brokers of this program over a private PostgreSQL in a temporary directory, enqueues jobs,
    /// lets fake agents complete them, and prints lifecycles per second, latencies, rejected requests and what each
    /// job cost the database. With `--url` it drives a running broker instead, in an epoch of its own
    /// that it drops at the end; `--token` then needs the role operator, and `--database-url` adds
    /// the database's counts. Example: rollmill-broker bench --jobs 100000 --agents 1000
    Bench(crate::bench::Bench),
    /// Check settings, PostgreSQL, schema and broker, and say how to repair them
    Doctor,
}

/// What is asked of a running broker.
#[derive(Debug, Subcommand)]
pub(crate) enum Request {
    /// Print queue, agents and the number of dead letters
    Status {
        #[command(flatten)]
        output: Output,
    },
    /// Print how many agents should be there, and which may be stopped
    Autoscale {
        #[command(flatten)]
        output: Output,
    },
    /// Print the newest jobs
    Jobs {
        /// Only jobs in this state [default: all]
        #[arg(long, value_name = "STATE", value_enum)]
        state: Option<State>,
        /// Only jobs of this epoch [default: all]
        #[arg(long, value_name = "EPOCH", value_parser = values::whole(0..=EPOCH_MAX))]
        epoch: Option<u64>,
        /// Only jobs with this label, such as rollup=0x… of one deployment [default: all]
        #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
        label: Option<String>,
        /// Maximum number of jobs [default: 100]
        #[arg(long, value_name = "N", value_parser = values::whole(1..=BATCH_MAX as u32))]
        limit: Option<u32>,
        #[command(flatten)]
        output: Output,
    },
    /// Print every attempt at a job
    History {
        /// Job, as `rollmill-broker jobs` prints it
        #[arg(value_name = "JOB")]
        id: JobId,
        #[command(flatten)]
        output: Output,
    },
    /// List, close or open epochs
    #[command(subcommand)]
    Epochs(Epochs),
    /// List, replay or drop dead-lettered jobs
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// End the quarantine of an agent
    Pardon {
        /// Name of the agent, as `rollmill-broker status` prints it
        agent: AgentId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Epochs {
    /// Print the newest epochs and their states
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Close an epoch: cancel its unfinished jobs, and delete it after the time that its outcome keeps it
    Close {
        /// Number of the epoch
        #[arg(value_name = "EPOCH", value_parser = values::whole(0..=EPOCH_MAX))]
        epoch: u64,
        /// Why it is closed
        #[arg(long, value_enum, default_value_t = Why::GivenUp)]
        outcome: Why,
    },
    /// Open an epoch that is closing or gone
    Open {
        /// Number of the epoch
        #[arg(value_name = "EPOCH", value_parser = values::whole(0..=EPOCH_MAX))]
        epoch: u64,
    },
}

/// Why somebody closes an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Why {
    /// All that it was for is final
    Final,
    /// Somebody else's result made its own worthless
    Superseded,
    /// It is not wanted any more
    GivenUp,
}

impl From<Why> for EpochOutcome {
    fn from(why: Why) -> Self {
        match why {
            Why::Final => Self::Final,
            Why::Superseded => Self::Superseded,
            Why::GivenUp => Self::GivenUp,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    /// Print dead-lettered jobs
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Make dead-lettered jobs ready again, with a new budget of attempts
    Replay {
        /// Jobs, as `rollmill-broker dead-letters list` prints them
        #[arg(value_name = "JOB", required = true)]
        ids: Vec<JobId>,
    },
    /// Cancel dead-lettered jobs
    Drop {
        /// Jobs, as `rollmill-broker dead-letters list` prints them
        #[arg(value_name = "JOB", required = true)]
        ids: Vec<JobId>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tokens {
    /// Create a token and print it once
    Add {
        /// Label to list and revoke the token by
        label: String,
        /// What the bearer may do
        #[arg(value_enum)]
        role: RoleName,
        /// Tenant whose jobs the bearer sees
        #[arg(default_value = "default", value_parser = tenant)]
        tenant: String,
    },
    /// Print tokens: label, role, tenant and state
    List,
    /// Revoke a token
    Revoke {
        /// Label of the token
        label: String,
    },
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The states of a job, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(pub(crate) JobState);

impl ValueEnum for State {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [State; JobState::ALL.len()] = {
            let mut all = [State(JobState::Ready); JobState::ALL.len()];
            let mut i = 0;
            while i < all.len() {
                all[i] = State(JobState::ALL[i]);
                i += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.as_str()))
    }
}

/// The roles of a token, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// Enqueue, read, reject and cancel jobs: for prover nodes
    Producer,
    /// Claim jobs and report results: for agents
    Agent,
    /// Everything
    Operator,
    /// Read only
    Reader,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Producer => Self::Producer,
            RoleName::Agent => Self::Agent,
            RoleName::Operator => Self::Operator,
            RoleName::Reader => Self::Reader,
        }
    }
}

impl rollmill_service::Commands for Commands {
    const USES: &'static [(&'static str, &'static [&'static str])] = &[
        ("migrate", &["database_url", "data_dir", "postgres_bin"]),
        (
            "adopt-store",
            &[
                "database_url",
                "data_dir",
                "postgres_bin",
                "object_store",
                "object_store_endpoint",
                "object_store_region",
            ],
        ),
        ("status", &["url", "token"]),
        ("autoscale", &["url", "token"]),
        ("jobs", &["url", "token"]),
        ("history", &["url", "token"]),
        ("epochs", &["url", "token"]),
        ("dead-letters", &["url", "token"]),
        ("pardon", &["url", "token"]),
        ("tokens", &["database_url", "data_dir", "postgres_bin"]),
        ("bench", &["url", "token", "requests_max", "database_url", "postgres_bin"]),
        ("doctor", &["url", "token", "database_url", "data_dir", "postgres_bin"]),
    ];

    fn serves(&self) -> bool {
        matches!(self, Self::Serve)
    }
}

fn tenant(text: &str) -> Result<String, String> {
    let simple = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match !text.is_empty() && text.len() <= 60 && text.chars().all(simple) {
        true => Ok(text.to_owned()),
        false => Err("expected 1 to 60 characters of A-Z a-z 0-9 . _ -".to_owned()),
    }
}
