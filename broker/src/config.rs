//! The broker's settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use rollmill_service::{Common, Conflict, Secret, Settings, TraceSettings, values};

use crate::aztec;
use crate::error::BrokerError;
use crate::objects::{self, Address, Objects};
use crate::store::{Retention, Rules};

rollmill_service::listener_settings! {
    /// Settings that protect the address of the HTTP API.
    pub struct ListenerConfig: "", "Connection"
}

/// Several headers, as they were written. The alias keeps clap's derive from reading the list as an option that is
/// repeated.
pub type AztecHeaders = Vec<String>;

/// The broker's settings.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Serve the HTTP API on this address
    ///
    /// Without tokens the broker accepts only a loopback address, and makes a token at its first start.
    /// `rollmill-broker tokens add` creates others.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8551")]
    #[arg(value_parser = values::listen_address, help_heading = "Connection")]
    pub listen: String,

    #[command(flatten)]
    pub listener: ListenerConfig,

    /// Let every program of this machine do everything until there is a token
    ///
    /// For tests, and for machines that nobody else uses. Without it a broker that has no token makes one of the role
    /// operator, and writes it to `first.token` in `data_dir`. On an address that other machines reach a token is
    /// required in any case.
    #[arg(long, help_heading = "Connection")]
    pub open_on_loopback: bool,

    /// Maximum concurrent requests; further requests get 503
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = values::whole(1..=100_000_usize))]
    #[arg(help_heading = "Connection")]
    pub requests_max: usize,

    /// URL of the running broker, for commands such as `rollmill-broker status` [default: http:// or https://, and --listen]
    #[arg(long, value_name = "URL", value_parser = values::url, help_heading = "Connection")]
    pub url: Option<String>,

    /// Bearer token for commands that ask the running broker, such as `rollmill-broker status` [default: none, or
    /// without `url` the one in `data_dir`]
    #[arg(long, value_name = "file:PATH|env:NAME", help_heading = "Connection")]
    pub token: Option<Secret>,

    /// URL of the PostgreSQL to use [default: run a private PostgreSQL in `data_dir`]
    ///
    /// The URL, postgres://USER:PASSWORD@HOST/DATABASE, is a secret: `file:PATH` names a file that holds it,
    /// `env:NAME` an environment variable.
    #[arg(long, value_name = "file:PATH|env:NAME", help_heading = "Storage")]
    pub database_url: Option<Secret>,

    /// Directory of the private PostgreSQL and, unless `object_store` names another place, of large artifacts
    #[arg(long, value_name = "DIR", default_value = "var/broker", help_heading = "Storage")]
    pub data_dir: PathBuf,

    /// Directory with `initdb` and `postgres` [default: search PATH and known locations]
    #[arg(long, value_name = "DIR", help_heading = "Storage")]
    pub postgres_bin: Option<PathBuf>,

    /// Where large artifacts are stored: file:///DIRECTORY, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER
    /// [default: the folder `artifacts` in `data_dir`]
    ///
    /// Every replica of a broker needs the same store. Credentials of a bucket come from the usual environment variables,
    /// such as AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or GOOGLE_SERVICE_ACCOUNT.
    #[arg(long, value_name = "URL", value_parser = objects::object_store, help_heading = "Storage")]
    pub object_store: Option<Address>,

    /// URL of a server that speaks S3, other than Amazon's [default: AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL", value_parser = values::url, help_heading = "Storage")]
    pub object_store_endpoint: Option<String>,

    /// Region of the bucket [default: AWS_REGION, or us-east-1]
    #[arg(long, value_name = "NAME", help_heading = "Storage")]
    pub object_store_region: Option<String>,

    /// Size of the largest artifact that is accepted
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20, help_heading = "Storage")]
    #[arg(value_parser = values::whole(1..=1_usize << 40))]
    pub artifact_bytes_max: usize,

    /// Read stored artifacts of open epochs again at this rate, and look for damage; 0: never
    ///
    /// It is the rate of all replicas together, on average: one artifact is read at once. A pass over all artifacts begins
    /// once a day at most. Results that are damaged are made again.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, help_heading = "Storage")]
    #[arg(value_parser = values::whole(0..=1_u64 << 40))]
    pub scrub_bytes_per_second: u64,

    /// Lease duration; a lease expires if no heartbeat arrives in this time
    ///
    /// It may be at most `hard_limit_seconds`.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, help_heading = "Jobs")]
    #[arg(value_parser = values::whole(1..=86_400_u64))]
    pub lease_seconds: u64,

    /// Maximum time an agent may hold a job, unless the job sets its own limit
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, help_heading = "Jobs")]
    #[arg(value_parser = values::whole(1..=604_800_u64))]
    pub hard_limit_seconds: u64,

    /// Quarantine an agent after this many wrong proofs
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Jobs")]
    #[arg(value_parser = values::whole(1..=1_000_000_u32))]
    pub rejections_max: u32,

    /// Most agents, as a share of those that are live, that may work on jobs that another agent works on; 0: none
    ///
    /// While an epoch may miss its deadline and agents have nothing else to do, a job that runs for longer than
    /// 95 of 100 of its type is given to a second agent. The first result is taken. It is at least one agent unless 0.
    #[arg(long, value_name = "PERCENT", default_value_t = 10, help_heading = "Jobs")]
    #[arg(value_parser = values::whole(0..=100_u32))]
    pub second_leases_max_percent: u32,

    /// Price of an agent per hour, in cents of a dollar, for the web page; 0: unknown
    ///
    /// The page then shows what the live agents cost, and what each epoch has cost.
    #[arg(long, value_name = "CENTS", default_value_t = 0, help_heading = "Jobs")]
    #[arg(value_parser = values::whole(0..=1_000_000_u32))]
    pub agent_cents_per_hour: u32,

    /// How long a final epoch is kept after its producer closed it
    #[arg(long, value_name = "SECONDS", default_value_t = 86400, help_heading = "Retention")]
    #[arg(value_parser = values::whole(0..=3_155_760_000_u64))]
    pub keep_final_seconds: u64,

    /// How long an epoch is kept that was superseded or given up, after its producer closed it
    #[arg(long, value_name = "SECONDS", default_value_t = 259200, help_heading = "Retention")]
    #[arg(value_parser = values::whole(0..=3_155_760_000_u64))]
    pub keep_given_up_seconds: u64,

    /// How long an open epoch is kept without a word from its producer, after its last job, result, upload
    /// or deadline
    #[arg(long, value_name = "SECONDS", default_value_t = 604800, help_heading = "Retention")]
    #[arg(value_parser = values::whole(1..=3_155_760_000_u64))]
    pub keep_silent_seconds: u64,

    /// Least time between the closing of an epoch and its deletion; until then its producer can open it again
    #[arg(long, value_name = "SECONDS", default_value_t = 600, help_heading = "Retention")]
    #[arg(value_parser = values::whole(0..=3_155_760_000_u64))]
    pub epoch_grace_seconds: u64,

    /// How long the broker remembers that an epoch is gone
    #[arg(long, value_name = "SECONDS", default_value_t = 2592000, help_heading = "Retention")]
    #[arg(value_parser = values::whole(0..=3_155_760_000_u64))]
    pub tombstone_seconds: u64,

    /// How long an agent is kept that is not seen; one in quarantine stays
    #[arg(long, value_name = "SECONDS", default_value_t = 604800, help_heading = "Retention")]
    #[arg(value_parser = values::whole(3600..=3_155_760_000_u64))]
    pub keep_agents_seconds: u64,

    /// How long the record of what operators and producers did is kept
    #[arg(long, value_name = "SECONDS", default_value_t = 34560000, help_heading = "Retention")]
    #[arg(value_parser = values::whole(3600..=3_155_760_000_u64))]
    pub keep_audit_seconds: u64,

    /// Most epochs that a tenant may have open
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Retention")]
    #[arg(value_parser = values::whole(1..=10_000_u32))]
    pub epochs_open_max: u32,

    /// Take no artifacts and jobs while less of the disk of `data_dir` is free, and less than 64 GiB; 0: never
    ///
    /// Final epochs are then deleted early.
    #[arg(long, value_name = "PERCENT", default_value_t = 15, help_heading = "Retention")]
    #[arg(value_parser = values::whole(0..=90_u32))]
    pub disk_free_min_percent: u32,

    /// Token in whose name `POST /` serves Aztec's provers that cannot have a path in their URL
    /// [default: off]
    ///
    /// Aztec's programs of version 4 drop the path of PROVER_BROKER_HOST. Whoever reaches the broker then
    /// acts as the bearer of this token, so let only such programs reach it.
    #[arg(long, value_name = "file:PATH|env:NAME", help_heading = "Aztec")]
    pub aztec_root_token: Option<Secret>,

    /// Largest body of an Aztec request, once decompressed
    ///
    /// It also bounds what one answer holds of proofs.
    #[arg(long, value_name = "BYTES", default_value_t = 50 << 20, help_heading = "Aztec")]
    #[arg(value_parser = values::whole(1 << 20..=256_usize << 20))]
    pub aztec_body_bytes_max: usize,

    /// Epochs of Aztec jobs to keep behind a tenant's newest one
    ///
    /// Jobs of older epochs are deleted, and new ones of them rejected.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Aztec")]
    #[arg(value_parser = values::whole(0..=1_000_000_u32))]
    pub aztec_epochs_kept: u32,

    /// How long a request of an idle Aztec agent waits for a job
    #[arg(long, value_name = "SECONDS", default_value_t = 5, help_heading = "Aztec")]
    #[arg(value_parser = values::whole(0..=30_u64))]
    pub aztec_wait_seconds: u64,

    /// Headers `x-aztec-NAME` in the answers to the Aztec programs of a tenant [default: none]
    ///
    /// NAME is l1ChainId, l1RollupAddress, rollupVersion, l2ProtocolContractsHash, l2CircuitsVkTreeRoot or packageVersion.
    /// Aztec's programs stop where a value is not their own, so none of another version claims a job of the tenant.
    #[arg(
        long,
        value_name = "TENANT/NAME=VALUE,...",
        default_value = "",
        hide_default_value = true
    )]
    #[arg(value_parser = aztec::headers, help_heading = "Aztec")]
    pub aztec_headers: AztecHeaders,

    #[command(flatten)]
    pub traces: TraceSettings,
}

impl Default for Config {
    fn default() -> Self {
        rollmill_service::defaults()
    }
}

impl Settings for Config {
    fn check(&self, _common: &Common) -> Result<(), Conflict> {
        self.listener.check()?;
        let is_bucket =
            self.object_store.as_ref().is_some_and(|at| at.as_str().starts_with("s3://"));
        for (name, is_set) in [
            ("object_store_endpoint", self.object_store_endpoint.is_some()),
            ("object_store_region", self.object_store_region.is_some()),
        ] {
            if is_set && !is_bucket {
                return Err(Conflict::new(
                    &[name, "object_store"],
                    "only a store in a bucket of S3 has it; set object_store to s3://BUCKET/FOLDER, or leave it out",
                ));
            }
        }
        match self.lease_seconds > self.hard_limit_seconds {
            true => Err(Conflict::new(
                &["lease_seconds", "hard_limit_seconds"],
                "a lease may not outlast the hard limit; lower lease_seconds or raise hard_limit_seconds",
            )),
            false => Ok(()),
        }
    }

    fn traces(&self) -> Option<&TraceSettings> {
        Some(&self.traces)
    }
}

impl Config {
    /// The limits that the database's statements need.
    pub fn rules(&self) -> Rules {
        Rules {
            lease: Duration::from_secs(self.lease_seconds),
            hard_limit: Duration::from_secs(self.hard_limit_seconds),
            rejections_max: self.rejections_max,
            epochs_open_max: self.epochs_open_max,
            retention: Retention {
                final_epochs: Duration::from_secs(self.keep_final_seconds),
                given_up_epochs: Duration::from_secs(self.keep_given_up_seconds),
                silent_epochs: Duration::from_secs(self.keep_silent_seconds),
                grace: Duration::from_secs(self.epoch_grace_seconds),
                tombstones: Duration::from_secs(self.tombstone_seconds),
                agents: Duration::from_secs(self.keep_agents_seconds),
                audit: Duration::from_secs(self.keep_audit_seconds),
            },
            ..Rules::default()
        }
    }

    /// Opens the object store. A bucket is not contacted yet.
    ///
    /// # Errors
    /// [`BrokerError::ObjectsAddress`] for settings that make no store, and [`BrokerError::Objects`] when the
    /// directory cannot be created.
    pub fn objects(&self) -> Result<Objects, BrokerError> {
        let (endpoint, region) =
            (self.object_store_endpoint.as_deref(), self.object_store_region.as_deref());
        match &self.object_store {
            Some(address) => address.open(endpoint, region),
            None => Objects::in_directory(&self.data_dir.join("artifacts")),
        }
    }

    /// Where the subcommands find the broker.
    pub fn url(&self) -> String {
        let scheme = self.listener.protection().scheme();
        self.url.clone().unwrap_or_else(|| format!("{scheme}://{}", reachable(&self.listen)))
    }
}

/// Where a program on the same machine reaches what listens on this address. One that listens on all addresses is
/// reached over loopback, where a token needs no TLS.
fn reachable(listen: &str) -> String {
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            let here = match address.is_ipv4() {
                true => IpAddr::from(Ipv4Addr::LOCALHOST),
                false => IpAddr::from(Ipv6Addr::LOCALHOST),
            };
            SocketAddr::new(here, address.port()).to_string()
        }
        _ => listen.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_listens_on_all_addresses_is_found_over_loopback() {
        for (listen, url) in [
            ("127.0.0.1:8551", "http://127.0.0.1:8551"),
            ("0.0.0.0:8551", "http://127.0.0.1:8551"),
            ("[::]:8551", "http://[::1]:8551"),
            ("192.0.2.1:8551", "http://192.0.2.1:8551"),
            ("broker:8551", "http://broker:8551"),
        ] {
            assert_eq!(Config { listen: listen.to_owned(), ..Config::default() }.url(), url);
        }
    }
}
