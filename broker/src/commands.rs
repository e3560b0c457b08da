//! The broker's subcommands, as clap knows them.

use clap::{Args, Subcommand, ValueEnum};
use rollmill_broker_client::{
    AUDIT_MAX, AgentId, BATCH_MAX, CERTIFICATE_NAME, EpochOutcome, JobId, JobState,
    OVERLAP_SECONDS_MAX, Role, TOKEN_LIMIT_MAX, TokenLabel, VALIDITY_SECONDS_MAX,
};
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
    /// Add, list, rotate, revoke or resume access tokens
    ///
    /// These commands ask the broker that runs in the data directory, or the one at `--url`, and else work on the database.
    #[command(subcommand)]
    Tokens(Tokens),
    /// Print who changed what, the newest first
    Audit {
        /// Only entries before this number, as the last line says [default: all]
        #[arg(long, value_name = "N", value_parser = values::whole(1..=EPOCH_MAX))]
        before: Option<u64>,
        /// Maximum number of entries [default: 100]
        #[arg(long, value_name = "N", value_parser = values::whole(1..=AUDIT_MAX))]
        limit: Option<u32>,
        #[command(flatten)]
        output: Output,
    },
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
    /// Cancel unfinished jobs: no agent works on them, and their producer learns that they are cancelled
    Cancel {
        /// Jobs, as `rollmill-broker jobs` prints them
        #[arg(value_name = "JOB", required = true)]
        ids: Vec<JobId>,
    },
    /// List, close, open or drop epochs
    #[command(subcommand)]
    Epochs(Epochs),
    /// List, replay or drop dead-lettered jobs
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Ask agents to leave
    #[command(subcommand)]
    Agents(Agents),
    /// End the quarantine of an agent
    Pardon {
        /// Name of the agent, as `rollmill-broker status` prints it
        agent: AgentId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Agents {
    /// Ask an agent to leave: it takes no more jobs, ends what it holds, and exits
    ///
    /// It is granted nothing from now on. It finishes what it proves within its `drain_seconds`, returns the rest, and
    /// exits with 0. When it is started again it is free, without `--undo`.
    Drain {
        /// Name of the agent, as `rollmill-broker status` prints it
        agent: AgentId,
        /// Take it back: the agent gets jobs again, if it has not left yet
        #[arg(long)]
        undo: bool,
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
        #[arg(long, value_name = "OUTCOME", value_enum, default_value_t = Why::GivenUp)]
        outcome: Why,
    },
    /// Open an epoch that is closing or gone
    Open {
        /// Number of the epoch
        #[arg(value_name = "EPOCH", value_parser = values::whole(0..=EPOCH_MAX))]
        epoch: u64,
    },
    /// Delete an epoch at once with its jobs and artifacts, as if it had never been
    ///
    /// Its producer enqueues again what it still needs, and that opens the epoch anew.
    Drop {
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
    /// Create a token and print its secret once
    Add(NewToken),
    /// Print tokens: label, role, tenant, state, agent and end
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Give a token another secret and print it once
    Rotate {
        /// Label of the token
        label: TokenLabel,
        /// How long the secret before stays valid
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        #[arg(value_parser = values::whole(0..=OVERLAP_SECONDS_MAX))]
        overlap_seconds: u64,
        /// End the token after this many days [default: as before]
        #[arg(long, value_name = "DAYS", value_parser = values::whole(1..=DAYS_MAX))]
        valid_days: Option<u64>,
    },
    /// Revoke a token
    Revoke {
        /// Label of the token
        label: TokenLabel,
    },
    /// End the suspension of a token
    Resume {
        /// Label of the token
        label: TokenLabel,
    },
}

/// Longest validity of a token, in days.
const DAYS_MAX: u64 = VALIDITY_SECONDS_MAX / 86_400;

#[derive(Debug, Args)]
pub(crate) struct NewToken {
    /// Label to list, rotate and revoke the token by
    label: String,
    /// What the bearer may do
    #[arg(value_enum)]
    role: RoleName,
    /// Tenant whose jobs the bearer sees
    #[arg(default_value = "default", value_parser = tenant)]
    tenant: String,
    /// Name of the agent, for the role agent [default: the label]
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentId>,
    /// Create it without a secret: a client's certificate with this DNS name stands for it [default: none]
    ///
    /// The certificate is of an authority of the broker's `--listen-client-ca`. It can be renewed as often as needed; the name
    /// stays. Not for the role operator.
    #[arg(long, value_name = "NAME", value_parser = certificate)]
    certificate: Option<String>,
    /// End the token after this many days [default: no end]
    #[arg(long, value_name = "DAYS", value_parser = values::whole(1..=DAYS_MAX))]
    valid_days: Option<u64>,
    /// Requests per second at each broker; for a fleet those of each agent [default: 50, producers 2000]
    #[arg(long, value_name = "N", value_parser = values::whole(1..=TOKEN_LIMIT_MAX))]
    requests_per_second: Option<u32>,
    /// Open connections at each broker; for a fleet those of each agent [default: 64, fleets 4]
    #[arg(long, value_name = "N", value_parser = values::whole(1..=TOKEN_LIMIT_MAX))]
    connections: Option<u32>,
}

/// Days as seconds.
pub(crate) fn days(days: Option<u64>) -> Option<u64> {
    days.map(|days| days.saturating_mul(86_400))
}

impl NewToken {
    /// As the broker takes it.
    pub(crate) fn to_wire(&self) -> rollmill_broker_client::NewToken {
        rollmill_broker_client::NewToken {
            label: self.label.clone(),
            role: self.role.into(),
            tenant: Some(self.tenant.clone()),
            agent: self.agent.clone(),
            certificate: self.certificate.clone(),
            valid_seconds: days(self.valid_days),
            requests_per_second: self.requests_per_second,
            connections: self.connections,
        }
    }
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
    /// Claim jobs and report results, as one agent
    Agent,
    /// Claim jobs and report results, as any number of agents
    Fleet,
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
            RoleName::Fleet => Self::Fleet,
            RoleName::Operator => Self::Operator,
            RoleName::Reader => Self::Reader,
        }
    }
}

/// Settings of a command that asks the running broker.
const ASKS: &[&str] = &["url", "token", "data_dir"];

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
        ("status", ASKS),
        ("autoscale", ASKS),
        ("jobs", ASKS),
        ("history", ASKS),
        ("cancel", ASKS),
        ("epochs", ASKS),
        ("dead-letters", ASKS),
        ("agents", ASKS),
        ("pardon", ASKS),
        ("tokens", &["url", "token", "database_url", "data_dir", "postgres_bin"]),
        ("audit", ASKS),
        ("bench", &["url", "token", "requests_max", "database_url", "postgres_bin"]),
        (
            "doctor",
            &[
                "listen_tls_cert",
                "listen_tls_key",
                "listen_client_ca",
                "url",
                "token",
                "database_url",
                "data_dir",
                "postgres_bin",
                "disk_free_min_percent",
            ],
        ),
    ];

    fn serves(&self) -> bool {
        matches!(self, Self::Serve)
    }
}

fn certificate(text: &str) -> Result<String, String> {
    match CERTIFICATE_NAME.accepts(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected {}", CERTIFICATE_NAME.says())),
    }
}

fn tenant(text: &str) -> Result<String, String> {
    let simple = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match !text.is_empty() && text.len() <= 60 && text.chars().all(simple) {
        true => Ok(text.to_owned()),
        false => Err("expected 1 to 60 characters of A-Z a-z 0-9 . _ -".to_owned()),
    }
}
