//! The broker as a process: its private Postgres, its death, its return.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{agent, capability, job, program};
use rollmill_broker_client::{
    ClaimRequest, Client, CompleteRequest, Digest, JobState, LeaseRef, Options, SizeClass,
};
use rollmill_broker_testing::put_cluster;
use rollmill_service::traces::Traceparent;
use rollmill_service_testing::{Collector, Silence};

pub(crate) struct Broker {
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl Broker {
    pub(crate) fn command(dir: &Path, address: &str) -> Command {
        let mut command = program();
        command.args(["--open-on-loopback", "--listen", address, "--data-dir"]).arg(dir);
        command.stdin(Stdio::null());
        command
    }

    fn start(dir: &Path, address: &str) -> Self {
        let child = Self::command(dir, address).stderr(Stdio::null()).spawn().unwrap();
        Self { child, address: address.to_owned() }
    }

    pub(crate) fn client(&self) -> Client {
        let options =
            Options { patience: Duration::from_secs(60), timeout: Duration::from_secs(30) };
        Client::new(&format!("http://{}", self.address), None, options).unwrap()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A data directory that is removed once the server in it is gone: one whose broker was killed still
/// shuts down, and writes there meanwhile.
struct DataDir(tempfile::TempDir);

impl DataDir {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let noted = std::fs::read_to_string(self.path().join("pg/postmaster.pid"));
        let pid = noted.ok().and_then(|text| text.lines().next()?.parse::<i32>().ok());
        while pid.is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists()) {
            std::thread::yield_now();
        }
    }
}

fn data_dir() -> DataDir {
    DataDir(tempfile::tempdir().unwrap())
}

/// A data directory with a cluster. In others the broker makes one, which takes seconds.
async fn data_dir_with_cluster() -> DataDir {
    let dir = data_dir();
    put_cluster(dir.path()).await;
    dir
}

/// Goal: nothing acknowledged is lost when the broker and its Postgres are killed; a lease taken
/// before outlives the restart. Method: SIGKILL between claim and completion.
#[tokio::test]
async fn a_killed_broker_comes_back_with_everything() {
    let dir = data_dir();
    let address = free_address();
    let mut broker = Broker::start(dir.path(), &address);
    let client = broker.client();
    let input = client.put_artifact(7, b"input".to_vec()).await.unwrap();
    let large = client.put_artifact(7, vec![1; 300_000]).await.unwrap();
    let jobs = vec![job(7, "leaf", input), job(7, "root", large)];
    client.enqueue(jobs.clone()).await.unwrap();
    let request = ClaimRequest {
        agent: agent("a"),
        capabilities: vec![capability("leaf")],
        class: SizeClass::SMALLEST,
        wait_ms: 20_000,
        info: serde_json::Value::Null,
        session: None,
    };
    let grant = client.claim(&request).await.unwrap().unwrap();

    broker.child.kill().unwrap();
    broker.child.wait().unwrap();
    let broker = Broker::start(dir.path(), &address);
    let result = client.put_artifact(7, b"proof".to_vec()).await.unwrap();
    let lease = LeaseRef { job: grant.job, lease_epoch: grant.lease_epoch };
    let stats = serde_json::Value::Null;
    client.complete(&CompleteRequest { agent: agent("a"), lease, result, stats }).await.unwrap();
    let ids = jobs.iter().map(|job| job.id.clone()).collect::<Vec<_>>();
    let views = client.jobs(&ids).await.unwrap();
    assert_eq!((views[0].state, views[1].state), (JobState::Done, JobState::Ready));
    assert_eq!(views[0].attempts, 1);
    assert_eq!(client.get_artifact(&large).await.unwrap(), vec![1; 300_000]);
    assert_eq!(client.get_artifact(&Digest::of(b"proof")).await.unwrap(), b"proof");
    drop(broker);
}

#[tokio::test]
async fn sigterm_ends_the_broker_and_its_postgres_with_exit_code_0() {
    let dir = data_dir_with_cluster().await;
    let mut broker = Broker::start(dir.path(), &free_address());
    broker.client().status().await.unwrap();
    let postmaster = dir.path().join("pg/postmaster.pid");
    assert!(postmaster.exists());
    broker.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(broker.child.wait().unwrap().success());
    assert!(!postmaster.exists(), "Postgres removes its pid file when it ends in order");
}

/// Fault: the system starts the broker with a low limit of open files, as systemd does. Half of it would be connections for
/// some hundred agents, whose long polls leave none for heartbeats.
#[tokio::test]
async fn a_low_limit_of_open_files_is_raised() {
    let (dir, address) = (data_dir_with_cluster().await, free_address());
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -S -n 256 && exec "$0" "$@""#]).arg(program().get_program());
    command.args(["--listen", &address, "--disk-free-min-percent", "0"]);
    command.args(["--open-on-loopback", "--data-dir"]).arg(dir.path());
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let broker = Broker { child: command.spawn().unwrap(), address };
    broker.client().status().await.unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", broker.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers[0], numbers[1].min(1 << 16), "{line}");
}

/// Goal: the last spans of a process are sent before it exits. A collector that does not answer changes neither its
/// exit code nor what it does before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_spans_are_sent_before_the_exit() {
    let (collector, silence) = (Collector::start().await, Silence::start().await);
    let dir = data_dir_with_cluster().await;
    for url in [collector.url(), silence.url()] {
        let address = free_address();
        let mut command = Broker::command(dir.path(), &address);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", url).env("OTEL_SERVICE_NAME", "mine");
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut broker = Broker { child, address };
        let client = broker.client();
        client.status().await.unwrap();
        let span = Traceparent::new(1, 2, true).unwrap();
        span.scope(client.status()).await.unwrap();
        broker.signal(nix::sys::signal::Signal::SIGTERM);
        let ended = tokio::task::block_in_place(|| broker.child.wait().unwrap());
        assert!(ended.success(), "{url}: {ended}");
    }
    silence.asked().await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    let found = (spans[0].service.as_str(), spans[0].name.as_str(), spans[0].parent);
    assert_eq!(found, ("mine", "GET /v1/status", 2));
}

#[test]
fn a_taken_port_is_one_line_that_says_what_to_do() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = data_dir();
    let line =
        failure_line(Broker::command(dir.path(), &holder.local_addr().unwrap().to_string()), 1);
    assert!(line.starts_with("error: SVC-005: ") && line.contains("--listen"), "{line}");
    assert!(!dir.path().join("pg").exists(), "the data was not touched");
}

/// Attack: a second broker on the first one's data, which would wait for it in silence and write over its
/// log meanwhile.
#[tokio::test]
async fn a_second_broker_on_a_data_directory_is_rejected_and_touches_nothing() {
    let dir = data_dir_with_cluster().await;
    let broker = Broker::start(dir.path(), &free_address());
    broker.client().status().await.unwrap();
    let log = std::fs::read(dir.path().join("postgres.log")).unwrap();
    for command in [None, Some("migrate"), Some("doctor")] {
        let mut second = Broker::command(dir.path(), &free_address());
        let output = second.args(command).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains("BRK-045: another broker uses"), "{command:?}: {text}");
        assert!(text.contains("--data-dir"), "{command:?}: {text}");
    }
    let now = std::fs::read(dir.path().join("postgres.log")).unwrap();
    assert!(!log.is_empty() && now.starts_with(&log), "the first one's log was written over");
    broker.client().status().await.unwrap();
}

#[test]
fn a_machine_without_postgres_is_one_line_that_says_what_to_do() {
    let dir = data_dir();
    let mut command = Broker::command(dir.path(), &free_address());
    command.arg("--postgres-bin").arg(dir.path());
    let line = failure_line(command, 1);
    assert!(line.starts_with("error: BRK-040: ") && line.contains("apt-get install"), "{line}");
}

/// Fault: an update of the machine replaced the PostgreSQL that wrote the data.
#[test]
fn data_of_a_postgres_that_is_gone_names_the_version_that_it_needs() {
    let dir = data_dir();
    let data = dir.path().join("pg");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("PG_VERSION"), "99\n").unwrap();
    let line = failure_line(Broker::command(dir.path(), &free_address()), 1);
    assert!(line.starts_with("error: BRK-050: PostgreSQL 99 wrote the data in "), "{line}");
    assert!(line.contains("postgresql-99") && line.contains("--postgres-bin"), "{line}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1, "the data was not touched");
}

#[test]
fn each_reason_why_a_database_cannot_be_used_is_one_sentence_with_its_remedy() {
    let dir = data_dir();
    let closed = free_address();
    let failure_with = |url: String| {
        let mut command = Broker::command(dir.path(), &free_address());
        command.env("ROLLMILL_TEST_DATABASE", url).args([
            "--database-url",
            "env:ROLLMILL_TEST_DATABASE",
            "doctor",
        ]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stdout).unwrap();
        let wrong = text.lines().find(|line| line.starts_with("WRONG database")).unwrap();
        assert!(!wrong.contains("secret") && !wrong.contains("at line"), "{wrong}");
        assert!(!dir.path().join("artifacts").exists(), "doctor makes nothing");
        wrong.to_owned()
    };
    let line = failure_with(format!("postgres://me:secret@{closed}/x"));
    assert!(line.contains("BRK-007: no PostgreSQL server listens at") && line.contains(&closed));
    assert!(line.contains("database_url"), "{line}");
    let line = failure_with("postgres://me:secret@no-such-host.invalid/x".into());
    assert!(line.contains("the host no-such-host.invalid is unknown"), "{line}");
    for url in ["hello", "https://secret@x/y", "postgres://me:secret@[/x"] {
        let line = failure_with(url.into());
        assert!(line.contains("BRK-008: database_url is not an address"), "{line}");
    }
}

/// Goal: a broker that starts before its database waits for it, and one that cannot use it does not
/// start; `check` says both.
#[test]
fn a_start_without_the_database_waits_and_check_says_why() {
    let dir = data_dir();
    let closed = free_address();
    let at = |url: &str| {
        let mut command = Broker::command(dir.path(), &free_address());
        command.env("ROLLMILL_TEST_DATABASE", url);
        command.args(["--database-url", "env:ROLLMILL_TEST_DATABASE"]);
        command
    };
    let url = format!("postgres://me:secret@{closed}/x");
    let output = at(&url).arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("ok      data_dir: "), "{text}");
    assert!(text.contains("failed  database: BRK-007: no PostgreSQL server listens"), "{text}");
    assert!(!text.contains("secret"), "{text}");

    let mut child = at(&url).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("check failed")).expect("it waits");
    assert!(line.contains("BRK-007") && !line.contains("secret"), "{line}");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success(), "a signal ends the wait");

    let line = failure_line(at("hello"), 2);
    assert!(line.starts_with("error: BRK-008: database_url is not an address"), "{line}");
}

/// Goal: `check` says what is wrong with the place of large artifacts before a broker needs it, and creates nothing.
#[test]
fn check_asks_the_object_store() {
    let dir = data_dir();
    let check = |arguments: &[&str]| {
        let mut command = Broker::command(dir.path(), &free_address());
        command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "planted");
        let output = command.args(arguments).arg("check").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("planted"), "{text}");
        text.lines().find(|line| line.contains(" object_store: ")).unwrap().to_owned()
    };
    assert_eq!(check(&[]), "ok      object_store: in data_dir");
    let missing = dir.path().join("objects");
    let url = format!("file://{}", missing.display());
    assert!(check(&["--object-store", &url]).starts_with("ok      object_store: "));
    assert!(!missing.exists());
    let line = check(&["--object-store", "file:///dev/null/objects"]);
    assert!(
        line.starts_with("failed  object_store: ") && line.contains("--object-store"),
        "{line}"
    );
    let closed = format!("http://{}", free_address());
    let bucket = ["--object-store", "s3://bucket/x", "--object-store-endpoint", &closed];
    let line = check(&bucket);
    assert!(line.starts_with("failed  object_store: BRK-025: "), "{line}");
    assert!(line.contains("--object-store-endpoint"), "{line}");
}

/// Method: the private Postgres of a schema plays the server; roles and databases are made in it.
#[tokio::test]
async fn what_a_database_rejects_is_said_with_role_database_and_remedy() {
    use rollmill_broker::store::{Rules, Store};
    let schema = rollmill_broker_testing::TestSchema::new().await;
    let admin = schema.store().await;
    let make = "CREATE ROLE poor LOGIN; CREATE ROLE locked NOLOGIN; CREATE DATABASE bare;
                REVOKE CONNECT ON DATABASE bare FROM PUBLIC; CREATE DATABASE poorhouse;";
    for statement in make.split(';').filter(|text| !text.trim().is_empty()) {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::raw_sql(statement).execute(admin.pool()).await.unwrap();
    }
    let plain = schema.connect_options().options([("search_path", "public")]);
    let house = Store::connect_to_database(plain.clone().database("poorhouse"), Rules::default());
    let revoke = "REVOKE CREATE ON SCHEMA public FROM PUBLIC";
    sqlx::raw_sql(revoke).execute(house.await.unwrap().pool()).await.unwrap();
    let error = |options: sqlx::postgres::PgConnectOptions| async move {
        let opened = Store::connect_to_database(options, Rules::default()).await;
        match opened {
            Err(error) => error.to_string(),
            Ok(store) => store.migrate().await.unwrap_err().to_string(),
        }
    };
    let text = error(plain.clone().database("nope")).await;
    assert!(text.starts_with("BRK-007: ") && text.contains("has no database nope"), "{text}");
    assert!(text.contains("CREATE DATABASE nope"), "{text}");
    let text = error(plain.clone().username("locked")).await;
    assert!(text.contains("rejects role locked"), "{text}");
    let text = error(plain.clone().username("poor").database("poorhouse")).await;
    assert!(text.contains("role poor has no right") && text.contains("GRANT"), "{text}");
    let text = error(plain.clone().username("poor").database("bare")).await;
    assert!(text.contains("role poor has no right"), "{text}");
    let of_schema = |name: &str| plain.clone().options([("search_path", name)]);
    let text = error(of_schema("nowhere")).await;
    assert!(text.contains("has no schema that role") && text.contains("CREATE SCHEMA"), "{text}");
    sqlx::raw_sql("CREATE SCHEMA other; CREATE TABLE other.job (id int)")
        .execute(admin.pool())
        .await
        .unwrap();
    let text = error(of_schema("other")).await;
    assert!(text.contains("name an empty database in database_url"), "{text}");
}

/// Fault: an operator goes back to an older release, whose statements do not fit the schema any more.
#[tokio::test]
async fn a_database_of_a_newer_release_is_rejected_before_it_is_used() {
    let schema = rollmill_broker_testing::TestSchema::new().await;
    let store = schema.store().await;
    let newer = "INSERT INTO _sqlx_migrations
        (version, description, installed_on, success, checksum, execution_time)
        VALUES (9999, 'of tomorrow', now(), true, '', 0)";
    sqlx::raw_sql(newer).execute(store.pool()).await.unwrap();
    let without = "UPDATE schema_release SET oldest = 9999";
    sqlx::raw_sql(without).execute(store.pool()).await.unwrap();
    let expected =
        "BRK-031: a newer release of Rollmill has migrated the database (to migration 9999";
    for error in [store.migrate().await, store.check().await] {
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let dir = data_dir();
    for command in [None, Some("check"), Some("doctor"), Some("migrate")] {
        let mut broker = Broker::command(dir.path(), &free_address());
        broker.env("ROLLMILL_TEST_DATABASE", schema.database_url());
        broker.args(["--database-url", "env:ROLLMILL_TEST_DATABASE"]).args(command);
        let output = broker.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains(expected), "{command:?}: {text}");
        assert!(!text.contains("run `rollmill-broker migrate`"), "{command:?}: {text}");
    }
}

#[tokio::test]
async fn a_job_that_does_not_exist_is_said_and_times_are_shown() {
    let dir = data_dir_with_cluster().await;
    let address = free_address();
    let broker = Broker::start(dir.path(), &address);
    let client = broker.client();
    let input = client.put_artifact(7, b"input".to_vec()).await.unwrap();
    let job = job(7, "leaf", input);
    client.enqueue(vec![job.clone()]).await.unwrap();
    let request = ClaimRequest {
        agent: agent("a"),
        capabilities: vec![capability("leaf")],
        class: SizeClass::SMALLEST,
        wait_ms: 20_000,
        info: serde_json::Value::Null,
        session: None,
    };
    client.claim(&request).await.unwrap().unwrap();
    let run = |arguments: &[&str]| {
        let url = format!("http://{address}");
        let mut command = program();
        command.args(arguments).args(["--url", &url]).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, table, _) = run(&["history", job.id.as_str()]);
    assert_eq!(code, Some(0));
    let (head, row) = table.split_once('\n').unwrap();
    assert!(head.contains("STARTED (UTC)") && head.contains("LEASE"), "{head}");
    assert!(row.starts_with("20") && row.contains("running"), "{row}");
    let (_, table, _) = run(&["jobs"]);
    assert!(table.contains("CREATED (UTC)") && table.contains("leased"), "{table}");
    let unknown = job.id.as_str().replace("leaf", "root");
    let (code, out, error) = run(&["history", &unknown]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.contains("BRK-011: no job has the id"), "{error}");
    let (code, text, _) = run(&["doctor"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("ok    broker: answers at"), "{text}");

    // What is asked for is not there: not a slip in the command's form, so 1 and not 2.
    for verb in ["replay", "drop"] {
        let (code, out, error) = run(&["dead-letters", verb, job.id.as_str(), &unknown]);
        assert_eq!(code, Some(1), "{error}");
        assert!(out.starts_with("0 "), "{out}");
        for part in ["BRK-029", &format!("{} (leased)", job.id), &format!("{unknown} (unknown)")] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    let (code, _, error) = run(&["pardon", "nobody"]);
    assert!(
        code == Some(1) && error.contains("BRK-027: agent nobody is not quarantined"),
        "{error}"
    );
    let (code, _, error) = run(&["agents", "drain", "nobody"]);
    assert!(code == Some(1) && error.contains("BRK-067: no agent is called nobody"), "{error}");
    let (code, text, _) = run(&["agents", "drain", "a"]);
    assert_eq!((code, text.as_str()), (Some(0), "a is asked to leave\n"));
    let (_, table, _) = run(&["status"]);
    assert!(table.contains(" (asked to leave by loopback)"), "{table}");
    let (code, text, _) = run(&["agents", "drain", "a", "--undo"]);
    assert_eq!((code, text.as_str()), (Some(0), "a gets jobs again\n"));
    let (_, table, _) = run(&["status"]);
    assert!(!table.contains("asked to leave"), "{table}");
    for limit in ["99999999999", "0", "-1"] {
        let (code, _, error) = run(&["jobs", "--limit", limit]);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains("--limit") && error.contains("from 1 to 1000"), "{error}");
    }
}

/// Goal: a command that only looks makes no database, and one that misses what it is asked for ends with 1.
#[test]
fn a_command_on_tokens_says_what_is_missing_and_makes_nothing() {
    let dir = data_dir();
    let place = dir.path().join("none");
    for verb in [&["list"][..], &["revoke", "x"]] {
        let mut command = Broker::command(&place, &free_address());
        command.arg("tokens").args(verb);
        let line = failure_line(command, 1);
        assert!(line.contains("BRK-030") && line.contains("--data-dir"), "{line}");
        assert!(!place.exists(), "{verb:?}");
    }
    let mut add = Broker::command(&place, &free_address());
    assert!(add.args(["tokens", "add", "one", "reader"]).output().unwrap().status.success());
    let mut revoke = Broker::command(&place, &free_address());
    revoke.args(["tokens", "revoke", "two"]);
    let line = failure_line(revoke, 1);
    assert!(line.contains("BRK-028: no valid token is labelled two"), "{line}");
}

/// Goal: tokens are managed beside a running broker with its private PostgreSQL, and nothing is stopped for it.
#[tokio::test]
async fn tokens_are_managed_beside_a_running_broker() {
    let dir = data_dir_with_cluster().await;
    let mut broker = Broker::start(dir.path(), &free_address());
    // It serves.
    broker.client().status().await.unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Broker::command(dir.path(), &broker.address);
        let output = command.args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (String::from_utf8(output.stdout).unwrap(), error, output.status.success())
    };
    let good = |arguments: &[&str]| {
        let (text, error, is_good) = run(arguments);
        assert!(is_good, "{arguments:?}: {error}");
        text
    };
    let first = good(&["tokens", "add", "farm", "fleet", "--valid-days", "90"]);
    // A token is required now, also of these commands: they take it from the data directory.
    let options = Options { patience: Duration::ZERO, timeout: Duration::from_secs(30) };
    let url = format!("http://{}", broker.address);
    let with = |token: Option<&str>| Client::new(&url, token, options.clone()).unwrap();
    assert_eq!(with(None).status().await.unwrap_err().broker_code(), Some("BRK-023"));
    with(Some(&first)).status().await.unwrap();
    let second = good(&["tokens", "rotate", "farm", "--overlap-seconds", "0"]);
    assert_eq!(with(Some(&first)).status().await.unwrap_err().broker_code(), Some("BRK-023"));
    with(Some(&second)).status().await.unwrap();
    let list = good(&["tokens", "list"]);
    assert!(list.starts_with("farm\tfleet\tdefault\tvalid\t-\t2"), "{list}");
    let (_, error, _) = run(&["tokens", "resume", "farm"]);
    assert!(error.contains("BRK-047: token farm is not suspended"), "{error}");
    good(&["tokens", "revoke", "farm"]);
    assert_eq!(with(Some(&second)).status().await.unwrap_err().broker_code(), Some("BRK-023"));
    let (_, error, _) = run(&["tokens", "revoke", "farm"]);
    assert!(error.contains("BRK-028: no valid token is labelled farm"), "{error}");

    let record = good(&["audit"]);
    for part in ["loopback", "operator.token", "add token", "rotate token", "revoke token"] {
        assert!(record.contains(part), "{part}: {record}");
    }
    let page: rollmill_broker_client::AuditResponse =
        serde_json::from_str(&good(&["audit", "--limit", "1", "--json"])).unwrap();
    assert!(page.more && page.entries[0].action == "revoke token", "{page:?}");
    // Who names a token is not let in by the file.
    std::fs::write(dir.path().join("wrong"), "rm_wrong").unwrap();
    let wrong = format!("file:{}", dir.path().join("wrong").display());
    let (_, error, is_good) = run(&["tokens", "list", "--token", &wrong]);
    assert!(!is_good && error.contains("BRK-023") && error.contains("role operator"), "{error}");

    let secret = std::fs::read_to_string(dir.path().join("operator.token")).unwrap();
    broker.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(broker.child.wait().unwrap().success());
    // Without the broker the same commands work on its database. A file that was left is no hindrance.
    std::fs::write(dir.path().join("operator.token"), secret).unwrap();
    let third = good(&["tokens", "add", "me", "operator"]);
    let list = good(&["tokens", "list"]);
    assert!(list.contains("farm\tfleet\tdefault\trevoked"), "{list}");
    let broker = Broker::start(dir.path(), &broker.address);
    let options = Options { patience: Duration::from_secs(60), ..options };
    Client::new(&url, Some(&third), options).unwrap().tokens().await.unwrap();
    drop(broker);
}

#[test]
fn a_wrong_setting_is_exit_code_2() {
    let dir = data_dir();
    let mut command = Broker::command(dir.path(), &free_address());
    command.args(["--lease-seconds", "0"]);
    let line = failure_line(command, 2);
    assert!(line.starts_with("error: SVC-001: "), "{line}");
    let mut command = Broker::command(dir.path(), &free_address());
    command.arg("--no-such-flag");
    assert!(failure_line(command, 2).starts_with("error: SVC-003: "));
}

#[tokio::test]
async fn doctor_finds_a_sound_machine_sound() {
    let dir = data_dir_with_cluster().await;
    let migrate = Broker::command(dir.path(), &free_address()).arg("migrate").output().unwrap();
    assert!(migrate.status.success(), "{}", String::from_utf8_lossy(&migrate.stderr));
    // However full the disk of the machine is.
    let output = Broker::command(dir.path(), &free_address()).arg("doctor").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("ok    schema"), "{text}");
    for line in ["ok    transactions: none is old", "ok    clock: that of the database"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("WRONG"), "{text}");
}

/// Runs a command that must fail and returns its one line.
fn failure_line(mut command: Command, code: i32) -> String {
    let output = command.stdout(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(code));
    let lines: Vec<String> = BufReader::new(&output.stderr[..])
        .lines()
        .map(Result::unwrap)
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}
