//! A real PostgreSQL and real brokers for tests.
//!
//! One private server per test program, one schema per test. The server starts on a copy of a template in the
//! project's cache, which holds the first schema with its migrations (module `template`). It ends with the program,
//! and its data is removed then, also when the program is killed. What a power cut leaves, or a kill while the data is
//! being copied, is removed by the next program.

mod template;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rollmill_broker::Config;
use rollmill_broker::embedded::{Options, PrivatePostgres, describe, discover};
use rollmill_broker::objects::Objects;
use rollmill_broker::store::{Rules, Store};
use rollmill_broker_client::{Client, Digest, Options as ClientOptions};
use rollmill_service::{Failure, Process, Shutdown, Traces};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use crate::template::Templates;

/// Gives the rows that migrations made the times of a schema that was made now. The template may be of any age: in a
/// schema from it that was made more than an hour ago, the scrubber would begin at once.
const AS_NEW: &str = "UPDATE scrub SET started_at = DEFAULT, due_at = DEFAULT";

static SERVER: OnceCell<(PrivatePostgres, PathBuf)> = OnceCell::const_new();
static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// Longer than the last spans of a test take.
const LAST_TRACES: Duration = Duration::from_secs(60);

/// An empty, migrated schema of its own.
#[derive(Debug)]
pub struct TestSchema {
    options: PgConnectOptions,
    url: String,
    objects: PathBuf,
    rules: Rules,
}

impl TestSchema {
    /// Starts the server if this is the program's first, and makes a schema.
    ///
    /// # Panics
    /// When there is no Postgres on this machine or it does not start: a test cannot go on, and
    /// must not be skipped.
    pub async fn new() -> Self {
        Self::with(Rules::default()).await
    }

    /// As [`Self::new`], with other limits.
    pub async fn with(rules: Rules) -> Self {
        let (server, root) = SERVER.get_or_init(start).await;
        Self::on(server, root, SCHEMAS.fetch_add(1, Ordering::Relaxed), rules).await
    }

    /// The schema of number `n` on `server`. Large artifacts are stored in a directory in `root`.
    async fn on(server: &PrivatePostgres, root: &Path, n: u32, rules: Rules) -> Self {
        let name = format!("t{n}");
        let options = server.connect_options();
        let mut connection = or_panic(PgConnection::connect_with(&options).await);
        // The first one is in the template. To migrate it again compares the checksums of its migrations.
        let create = format!("CREATE SCHEMA IF NOT EXISTS {name}");
        or_panic(sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await);
        let schema = Self {
            url: server.url(&[("search_path", &name)]),
            options: options.options([("search_path", name.as_str())]),
            objects: root.join(format!("objects-{n}")),
            rules,
        };
        let store = schema.store().await;
        or_panic(store.migrate().await);
        or_panic(sqlx::raw_sql(AS_NEW).execute(store.pool()).await);
        schema
    }

    /// A connection of its own to the schema, as another replica would have.
    pub async fn store(&self) -> Store {
        self.store_with(or_panic(Objects::in_directory(&self.objects))).await
    }

    /// As [`Self::store`], with large artifacts in another store.
    pub async fn store_with(&self, objects: Objects) -> Store {
        or_panic(Store::connect(self.options.clone(), objects, self.rules.clone()).await)
    }

    /// The schema's address, for a broker in a process of its own. It holds no password.
    pub fn database_url(&self) -> String {
        self.url.clone()
    }

    /// How to connect to the schema.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// Where large artifacts are stored.
    pub fn objects(&self) -> &Path {
        &self.objects
    }

    /// A replica on a port the system chooses.
    pub async fn broker(&self) -> TestBroker {
        self.broker_with(Config::default()).await
    }

    /// A replica with these settings; its address and limits are the schema's.
    pub async fn broker_with(&self, config: Config) -> TestBroker {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        self.broker_at(address, config).await
    }

    /// A replica on this address: one that comes back where another was.
    pub async fn broker_at(&self, address: SocketAddr, config: Config) -> TestBroker {
        Self::broker_over(self.store().await, address, config).await
    }

    /// A replica over this store, on this address.
    pub async fn broker_over(store: Store, address: SocketAddr, config: Config) -> TestBroker {
        let listener = or_panic(rollmill_service::listen(&address.to_string(), "--listen").await);
        let address = or_panic(listener.local_addr());
        // Most tests have no token. One token closes it. The disk of the machine may be full.
        let config = Config { open_on_loopback: true, disk_free_min_percent: 0, ..config };
        let mut process = Process::new("broker", config);
        let traces = Traces::start("rollmill-broker", &process.config.traces, &process.metrics);
        process.traces = or_panic(traces);
        let (shutdown, traces) = (process.shutdown.clone(), process.traces.clone());
        let (metrics, conditions) = (process.metrics.clone(), process.conditions.clone());
        let task =
            tokio::spawn(async move { rollmill_broker::serve(&process, store, listener).await });
        TestBroker { address, shutdown, metrics, conditions, traces, task }
    }
}

/// A replica in this process.
#[derive(Debug)]
pub struct TestBroker {
    /// The address that it listens on.
    pub address: SocketAddr,
    /// Start it to stop the replica.
    pub shutdown: Shutdown,
    /// What it counts.
    pub metrics: rollmill_service::prometheus::Registry,
    /// Whether it can do its work.
    pub conditions: rollmill_service::Conditions,
    traces: Traces,
    task: JoinHandle<Result<(), Failure>>,
}

impl TestBroker {
    /// A client of it without a token.
    pub fn client(&self) -> Client {
        self.client_with(None)
    }

    /// A client of it with a token.
    pub fn client_with(&self, token: Option<&str>) -> Client {
        let options =
            ClientOptions { patience: Duration::from_secs(10), timeout: Duration::from_secs(20) };
        or_panic(Client::new(&rollmill_broker::url_of(self.address), token, options))
    }

    /// Shuts it down, and sends its last spans.
    pub async fn stop(self) {
        self.shutdown.start();
        or_panic(or_panic(self.task.await));
        self.traces.end(LAST_TRACES).await;
    }
}

async fn start() -> (PrivatePostgres, PathBuf) {
    remove_leftovers();
    let root = std::env::temp_dir().join(format!("{LEFTOVER}{}", std::process::id()));
    or_panic(std::fs::create_dir_all(&root));
    let found = or_panic(discover(None, &root));
    // Found once: the search starts programs.
    let bin_dir = found.postgres.parent().map(Path::to_path_buf);
    let options = Options { data_dir: root.clone(), bin_dir, throwaway: true };
    copy_template(&describe(&found, &options), &options).await;
    (or_panic(PrivatePostgres::start(&options).await), root)
}

/// Puts a cluster into the data directory of a broker that is yet to start, where it would run `initdb`, which takes
/// seconds: a copy of the template. The broker makes its tables as in a cluster of its own; those of the template are
/// in a schema that it does not use. Does nothing where no template can be kept.
///
/// # Panics
/// When there is no Postgres on this machine, or the template can be neither made nor copied.
pub async fn put_cluster(data_dir: &Path) {
    or_panic(std::fs::create_dir_all(data_dir));
    let found = or_panic(discover(None, data_dir));
    let bin_dir = found.postgres.parent().map(Path::to_path_buf);
    let options = Options { data_dir: data_dir.to_owned(), bin_dir, throwaway: true };
    copy_template(&describe(&found, &options), &options).await;
}

/// Copies the template of the cluster so described to the data directory of these options, if templates can be kept.
async fn copy_template(cluster: &str, options: &Options) {
    let Some(templates) = Templates::of_the_project() else { return };
    let target = options.data_dir.join("pg");
    let made = MadeTemplate::new(options);
    let copied = templates.copy(&key_of_template(cluster), &target, made).await;
    copied.unwrap_or_else(|error| panic!("cannot copy a cluster from the cache: {error}"));
}

/// Version of what [`MadeTemplate::new`] does with a cluster. Increment it with a change there.
const TEMPLATE: u32 = 1;

/// Depends on all that the template depends on: the server, how its cluster is created, and the migrations.
fn key_of_template(cluster: &str) -> String {
    let mut text = format!("{TEMPLATE}\n{cluster}\n");
    for (version, checksum) in Store::migrations() {
        text.push_str(&format!("{version} {}\n", Digest::of(checksum)));
    }
    Digest::of(text.as_bytes()).to_string()
}

/// A template that has just been made. Its data is removed once it is dropped.
struct MadeTemplate {
    data: PathBuf,
    _server: PrivatePostgres,
}

impl MadeTemplate {
    /// Creates a cluster with the first schema, and shuts it down.
    async fn new(options: &Options) -> Self {
        let root = options.data_dir.join("template");
        let options = Options { data_dir: root.clone(), ..options.clone() };
        let server = or_panic(PrivatePostgres::start(&options).await);
        TestSchema::on(&server, &root, 0, Rules::default()).await;
        assert!(server.shut_down().await, "the server of the template did not shut down in time");
        Self { data: root.join("pg"), _server: server }
    }
}

impl AsRef<Path> for MadeTemplate {
    fn as_ref(&self) -> &Path {
        &self.data
    }
}

const LEFTOVER: &str = "rollmill-test-pg-";

fn remove_leftovers() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix(LEFTOVER).and_then(|pid| pid.parse::<i32>().ok()) else {
            continue;
        };
        // A process with the number of this one has ended before it started.
        let is_own = u32::try_from(pid) == Ok(std::process::id());
        if is_own || nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_err() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[track_caller]
fn or_panic<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault: the template is a day old. Goal: a test on its schema finds what it finds in one that was made now.
    #[tokio::test]
    async fn a_schema_from_an_old_template_is_as_new() {
        let (server, root) = SERVER.get_or_init(start).await;
        let schema = async || TestSchema::on(server, root, 1_000, Rules::default()).await;
        let first = schema().await.store().await;
        sqlx::raw_sql("UPDATE scrub SET started_at = now() - interval '1 day', due_at = now()")
            .execute(first.pool())
            .await
            .unwrap();
        let again = schema().await.store().await;
        let wait: f64 = sqlx::query_scalar(
            "SELECT extract(epoch FROM least(started_at, due_at) - now())::float8 FROM scrub",
        )
        .fetch_one(again.pool())
        .await
        .unwrap();
        assert!(wait > 0.0, "{wait}");
    }
}
