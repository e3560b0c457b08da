//! The brokers and the PostgreSQL that a run starts for itself.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use rollmill_broker::embedded::{Options as PostgresOptions, PrivatePostgres};
use rollmill_broker::{BrokerError, Config};
use rollmill_broker_client::{Client, Options};
use rollmill_service::Failure;
use serde::Serialize;
use sqlx::postgres::PgConnectOptions;
use tokio::process::{Child, Command};

/// How long a broker may take to serve.
const START: Duration = Duration::from_secs(60);
/// How long a broker may take to stop.
const STOP: Duration = Duration::from_secs(20);
/// The variable that passes the database's address to the brokers.
const DATABASE: &str = "ROLLMILL_BENCH_DATABASE_URL";
/// Loaded at the server's start where it is installed: counts statements.
const STATEMENTS: &str = "shared_preload_libraries=pg_stat_statements";

/// CPU and memory of a broker.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Usage {
    /// User and system time.
    pub(super) cpu_seconds: f64,
    /// Resident memory at the end.
    pub(super) memory_bytes: u64,
    /// Most resident memory.
    pub(super) memory_bytes_max: u64,
}

impl Usage {
    pub(super) fn since(self, start: Self) -> Self {
        Self { cpu_seconds: self.cpu_seconds - start.cpu_seconds, ..self }
    }
}

/// Brokers over one private PostgreSQL.
#[derive(Debug)]
pub(super) struct Servers {
    folder: PathBuf,
    postgres: PrivatePostgres,
    brokers: Mutex<Vec<(String, Child)>>,
}

impl Servers {
    /// Starts `count` brokers with these settings besides those of a run.
    pub(super) async fn start(
        config: &Config,
        count: usize,
        settings: &[&str],
    ) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("rollmill-bench-{}", std::process::id()));
        let options = PostgresOptions {
            data_dir: folder.clone(),
            bin_dir: config.postgres_bin.clone(),
            throwaway: false,
        };
        // Without the library the server does not start, and statements are not counted.
        let postgres = match PrivatePostgres::start_with(&options, &[STATEMENTS]).await {
            Ok(postgres) => postgres,
            Err(_) => PrivatePostgres::start(&options).await?,
        };
        let servers = Self { folder, postgres, brokers: Mutex::default() };
        for _ in 0..count {
            if let Err(error) = servers.start_broker(config, settings).await {
                servers.stop().await;
                return Err(error);
            }
        }
        Ok(servers)
    }

    async fn start_broker(&self, config: &Config, settings: &[&str]) -> Result<(), Failure> {
        // The system chooses a free port, which the broker takes a moment later.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("--listen")
            .arg(port.to_string())
            .arg("--data-dir")
            .arg(&self.folder)
            // Both are of this run alone.
            .arg("--open-on-loopback")
            // What is measured does not depend on how full the disk is.
            .args(["--disk-free-min-percent", "0"])
            .args(["--log-level", "warn", "--database-url", &format!("env:{DATABASE}")])
            .args(["--requests-max", &config.requests_max.to_string()])
            .args(settings)
            .env(DATABASE, self.postgres.url(&[]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let broker = command.spawn()?;
        let url = format!("http://{port}");
        self.brokers.lock().push((url.clone(), broker));
        let client =
            Client::new(&url, None, Options { patience: Duration::ZERO, ..Options::default() })?;
        let start = Instant::now();
        loop {
            match client.status().await {
                Ok(_) => return Ok(()),
                Err(error) if start.elapsed() > START => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
            let mut brokers = self.brokers.lock();
            if let Some((_, broker)) = brokers.last_mut()
                && let Some(status) = broker.try_wait()?
            {
                let reason = format!("a broker of the run did not start ({status})");
                return Err(BrokerError::Bench { reason }.into());
            }
        }
    }

    /// Where database and object store lie.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.brokers.lock().iter().map(|(url, _)| url.clone()).collect()
    }

    pub(super) fn connect_options(&self) -> PgConnectOptions {
        self.postgres.connect_options()
    }

    /// As `kill -9` would.
    pub(super) fn kill_first(&self) {
        if let Some((_, broker)) = self.brokers.lock().first_mut() {
            let _ = broker.start_kill();
        }
    }

    /// Of each broker, zeros for one that is gone.
    pub(super) fn usage(&self) -> Vec<Usage> {
        let brokers = self.brokers.lock();
        brokers
            .iter()
            .map(|(_, broker)| broker.id().and_then(usage_of).unwrap_or_default())
            .collect()
    }

    /// Stops the brokers in order; their connections pass on what PostgreSQL counted.
    pub(super) async fn stop_brokers(&self) {
        let brokers = std::mem::take(&mut *self.brokers.lock());
        for (_, mut broker) in brokers {
            if let Some(pid) = broker.id().and_then(|id| i32::try_from(id).ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            if tokio::time::timeout(STOP, broker.wait()).await.is_err() {
                let _ = broker.kill().await;
            }
        }
    }

    pub(super) async fn stop(self) {
        self.stop_brokers().await;
        self.postgres.stop().await;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Reads `/proc`; nothing where there is none.
fn usage_of(pid: u32) -> Option<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(Usage {
        cpu_seconds: ticks as f64 / per_second as f64,
        memory_bytes: kilobytes("VmRSS:")?,
        memory_bytes_max: kilobytes("VmHWM:")?,
    })
}
