//! The broker's settings.

use std::path::PathBuf;
use std::time::Duration;

use rollmill_service::{Secret, Settings};
use serde::{Deserialize, Serialize};

use crate::store::Rules;

/// See `HELP` below for each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: String,
    pub database_url: Option<Secret>,
    pub data_dir: PathBuf,
    pub postgres_bin: Option<PathBuf>,
    pub lease_seconds: u64,
    pub hard_limit_seconds: u64,
    pub rejections_max: u32,
    pub artifact_bytes_max: usize,
    pub requests_max: usize,
    /// For the subcommands that ask a running broker.
    pub url: Option<String>,
    pub token: Option<Secret>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8551".into(),
            database_url: None,
            data_dir: "var/broker".into(),
            postgres_bin: None,
            lease_seconds: 30,
            hard_limit_seconds: 3600,
            rejections_max: 3,
            artifact_bytes_max: 64 << 20,
            requests_max: 256,
            url: None,
            token: None,
        }
    }
}

impl Settings for Config {
    const HELP: &'static [(&'static str, &'static str)] = &[
        ("listen", "address to serve on; loopback only, until there is a token"),
        ("database_url", "postgres://… as file:PATH or env:NAME; a private Postgres when unset"),
        ("data_dir", "directory of the private Postgres and of large artifacts"),
        ("postgres_bin", "directory of initdb and postgres; searched for when unset"),
        ("lease_seconds", "a lease runs out after this long without a heartbeat"),
        ("hard_limit_seconds", "longest one agent may hold a job that names no limit"),
        ("rejections_max", "wrong proofs after which an agent may claim no more"),
        ("artifact_bytes_max", "largest artifact accepted"),
        ("requests_max", "requests worked on at once; more are answered 503"),
        ("url", "broker that status, jobs, dead-letters and agents ask; --listen when unset"),
        ("token", "bearer token for the same, as file:PATH or env:NAME"),
    ];

    fn check(&self) -> Result<(), String> {
        if self.lease_seconds == 0 || self.hard_limit_seconds < self.lease_seconds {
            return Err("lease_seconds must be at least 1 and at most hard_limit_seconds".into());
        }
        if self.rejections_max == 0 || self.requests_max == 0 || self.artifact_bytes_max == 0 {
            return Err(
                "rejections_max, requests_max and artifact_bytes_max must be at least 1".into()
            );
        }
        Ok(())
    }
}

impl Config {
    /// The limits that the database's statements need.
    pub fn rules(&self) -> Rules {
        Rules {
            lease: Duration::from_secs(self.lease_seconds),
            hard_limit: Duration::from_secs(self.hard_limit_seconds),
            rejections_max: self.rejections_max,
            ..Rules::default()
        }
    }

    /// Where the subcommands find the broker.
    pub fn url(&self) -> String {
        self.url.clone().unwrap_or_else(|| format!("http://{}", self.listen))
    }
}
