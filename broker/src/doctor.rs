//! What `rollmill-broker doctor` says of a running broker, its database and its certificate: what waits for somebody,
//! with what helps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rollmill_broker::embedded::discover;
use rollmill_broker::store::{Database, Store};
use rollmill_broker::{BrokerError, Config, check_disk};
use rollmill_broker_client::{
    ClientError, OutlookView, StatusResponse, TokenState, TokenView, UnableView,
};
use rollmill_service::{Outcome, Protection, certificate_end, one_line};

use crate::cli::{ask_broker, check_directory, check_schema, client, connect};

/// A transaction that is open for longer keeps dead rows in the database. The alert RollmillSnapshotOld waits as long.
const TRANSACTION_SECONDS: f64 = 300.0;
/// A certificate that expires sooner is to be renewed. The alert RollmillCertificateExpires fires then too.
const RENEWAL: Duration = Duration::from_secs(14 * 24 * 3600);
const DAY: u64 = 24 * 3600;
/// Clocks that differ by more are not kept by a time service.
const CLOCKS: Duration = Duration::from_secs(5);

/// What was looked at, and what was found or is wrong.
type Line = (&'static str, Result<String, String>);

/// What was printed so far.
#[derive(Debug, Default)]
struct Report {
    failed: usize,
    checks: usize,
}

impl Report {
    fn line(&mut self, what: &str, result: Result<String, String>) {
        self.checks += 1;
        match result {
            Ok(text) => println!("ok    {what}: {text}"),
            Err(text) => {
                self.failed += 1;
                println!("WRONG {what}: {text}");
            }
        }
    }

    fn outcome(self) -> Outcome {
        let Self { failed, checks } = self;
        match failed {
            0 => Ok(()),
            _ => Err(BrokerError::ChecksFailed { failed, checks }.into()),
        }
    }
}

/// Checks one thing after the other and prints what to do about each; fails if any is wrong. Creates
/// and changes nothing.
pub(crate) async fn run(config: &Config) -> Outcome {
    let mut report = Report::default();
    report.line("settings", Ok("read".into()));
    let is_running = of_broker(config, &mut report).await;
    match &config.database_url {
        Some(url) => match connect(config, url.reveal()).await {
            Err(error) => report.line("database", Err(one_line(&error))),
            Ok((store, target)) => {
                report.line("database", Ok(target.to_string()));
                of_store(config, &store, &mut report).await;
                store.pool().close().await;
            }
        },
        None => of_private(config, is_running, &mut report).await,
    }
    if let Some(found) = certificate(&config.listener.protection()) {
        report.line("certificate", found);
    }
    report.line("data directory", check_directory(&config.data_dir));
    let space = check_disk(&config.data_dir, config.disk_free_min_percent);
    let space = space.map(|()| "enough is free".to_owned()).map_err(|error| one_line(&error));
    report.line("disk", space);
    report.outcome()
}

/// The lines about the broker at the address of the settings. Returns whether one runs there.
async fn of_broker(config: &Config, report: &mut Report) -> bool {
    let client = match client(config) {
        Ok(client) => client,
        Err(error) => {
            report.line("broker", Err(one_line(error.as_ref())));
            return false;
        }
    };
    let status = client.status().await;
    let cluster = status.as_ref().map(of_cluster).unwrap_or_default();
    let (broker, is_running) = ask_broker(client.url(), status);
    report.line("broker", broker);
    for (what, found) in cluster {
        report.line(what, found);
    }
    // Another broker's settings may differ from these.
    if is_running && config.url.is_none() && config.database_url.is_none() {
        match client.tokens().await {
            Ok(tokens) => report.line("tokens", of_tokens(&tokens, has_authority(config))),
            Err(ClientError::Rejected { status: 401 | 403, .. }) => {
                report.line("tokens", Ok("an operator's token shows them".to_owned()));
            }
            Err(error) => report.line("tokens", Err(one_line(&error))),
        }
    }
    is_running
}

/// The lines about the private PostgreSQL, which is asked where no broker runs.
async fn of_private(config: &Config, is_running: bool, report: &mut Report) {
    let found = discover(config.postgres_bin.as_deref(), &config.data_dir);
    report.line("postgres", found.map(|b| b.version).map_err(|error| one_line(&error)));
    if is_running {
        return report.line("database", Ok("private, in use by the running broker".into()));
    }
    if !config.data_dir.join("pg").exists() {
        return report.line("database", Ok("private, made at the first start".into()));
    }
    match super::open_database(config).await {
        Err(error) => report.line("database", Err(one_line(error.as_ref()))),
        Ok((store, postgres)) => {
            report.line("database", Ok("private, reachable".into()));
            of_store(config, &store, report).await;
            super::close(store, postgres).await;
        }
    }
}

/// The lines about an open database.
async fn of_store(config: &Config, store: &Store, report: &mut Report) {
    let schema = check_schema(store).await;
    let is_current = schema.is_ok();
    report.line("schema", schema);
    report.line("transactions", transactions(store).await);
    report.line("clock", clock(store).await);
    // Of another schema they cannot be read.
    if is_current {
        let tokens = store.tokens(None).await.map_err(|error| one_line(&error));
        let found = tokens.and_then(|tokens| of_tokens(&tokens, has_authority(config)));
        report.line("tokens", found);
    }
}

/// Whether clients are asked for certificates.
fn has_authority(config: &Config) -> bool {
    config.listener.protection().client_ca.is_some()
}

/// Whether the broker asks for the certificates that stand for its tokens.
fn of_tokens(tokens: &[TokenView], has_authority: bool) -> Result<String, String> {
    let is_used = |token: &&TokenView| {
        token.certificate.is_some()
            && matches!(token.state, TokenState::Valid | TokenState::Suspended)
    };
    let labels: Vec<&str> =
        tokens.iter().filter(is_used).map(|token| token.label.as_str()).collect();
    match labels.is_empty() || has_authority {
        true => Ok(format!("certificates stand for {} of them", labels.len())),
        false => Err(format!(
            "certificates stand for {}, and without --listen-client-ca nobody is asked for one; set it to the file of \
             the authority that signs them",
            labels.join(", ")
        )),
    }
}

/// The lines about epochs, jobs and agents.
fn of_cluster(status: &StatusResponse) -> Vec<Line> {
    vec![
        ("epochs", epochs(&status.epochs)),
        ("waiting jobs", waiting(&status.unable)),
        ("dead letters", dead_letters(status.dead_letters)),
        ("agents", agents(status)),
    ]
}

fn epochs(epochs: &[OutlookView]) -> Result<String, String> {
    let late: Vec<String> =
        epochs.iter().filter(|epoch| epoch.at_risk).map(|epoch| epoch.epoch.to_string()).collect();
    match late.is_empty() {
        true => Ok(format!("{} unfinished, none at risk", epochs.len())),
        false => Err(format!(
            "{} of {} at risk to miss their deadline: {}; start agents, `rollmill-broker autoscale` says how many",
            late.len(),
            epochs.len(),
            late.join(", ")
        )),
    }
}

fn waiting(unable: &[UnableView]) -> Result<String, String> {
    let Some(UnableView { kind, version, class, jobs, since_seconds }) = unable.first() else {
        return Ok("each type has a live agent that can do it".to_owned());
    };
    let others = match unable.len() - 1 {
        0 => String::new(),
        count => format!(", and jobs of {count} other types"),
    };
    Err(format!(
        "{jobs} of type {kind}, version {version}, class {class} have waited {since_seconds:.0} s without a live \
         agent that can do them{others}; start one, or see why those of `rollmill-broker status` cannot"
    ))
}

fn dead_letters(count: u64) -> Result<String, String> {
    match count {
        0 => Ok("none".to_owned()),
        _ => Err(format!(
            "{count}; `rollmill-broker dead-letters list` says why, and `dead-letters replay` or `drop` ends them"
        )),
    }
}

fn agents(status: &StatusResponse) -> Result<String, String> {
    let quarantined = status.agents.iter().filter(|agent| agent.quarantined);
    let names: Vec<&str> = quarantined.map(|agent| agent.agent.as_str()).collect();
    match names.is_empty() {
        true => Ok(format!("{} known, none in quarantine", status.agents.len())),
        false => Err(format!(
            "in quarantine for wrong results: {}; test their devices, then `rollmill-broker pardon NAME`",
            names.join(", ")
        )),
    }
}

/// How large the database is, and whether a transaction keeps it from being cleaned up.
async fn transactions(store: &Store) -> Result<String, String> {
    store.database().await.map_err(|error| one_line(&error)).and_then(|found| of_database(&found))
}

fn of_database(found: &Database) -> Result<String, String> {
    let (size, oldest) = (found.bytes as f64 / 1e6, found.oldest_snapshot_seconds);
    match oldest <= TRANSACTION_SECONDS {
        true => Ok(format!("none is old; the database takes {size:.1} MB")),
        false => Err(format!(
            "one has been open for {oldest:.0} s and keeps {} dead rows or more in the database; find it in \
             pg_stat_activity by xact_start, and end what opened it",
            found.dead_rows
        )),
    }
}

/// Whether the database and this machine agree on the time.
async fn clock(store: &Store) -> Result<String, String> {
    let database = store.clock().await.map_err(|error| one_line(&error))?;
    of_clocks(database, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn of_clocks(database: Duration, here: Duration) -> Result<String, String> {
    let apart = database.abs_diff(here);
    match apart <= CLOCKS {
        true => Ok("that of the database and that of this machine agree".to_owned()),
        false => Err(format!(
            "that of the database is {} s {} that of this machine; deadlines are reckoned by both, so let a time service \
             keep them",
            apart.as_secs(),
            if database > here { "ahead of" } else { "behind" }
        )),
    }
}

/// Whether the certificate that the broker serves is still good for a while. Nothing without TLS.
fn certificate(protection: &Protection) -> Option<Result<String, String>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match certificate_end(protection) {
        Ok(end) => end.map(|end| of_certificate(end, now)),
        Err(error) => Some(Err(error.to_string())),
    }
}

fn of_certificate(end: Duration, now: Duration) -> Result<String, String> {
    let days = |left: Duration| left.as_secs() / DAY;
    match end.checked_sub(now) {
        Some(left) if left > RENEWAL => Ok(format!("valid for {} more days", days(left))),
        Some(left) => Err(format!(
            "expires in {} days; renew the file of --listen-tls-cert, which the broker then reads by itself",
            days(left)
        )),
        None => {
            Err("has expired, so nobody can connect; renew the file of --listen-tls-cert"
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use rollmill_broker_client::SizeClass;
    use rollmill_net_testing::Authority;

    use super::*;

    fn sound() -> StatusResponse {
        serde_json::from_value(serde_json::json!({
            "queue": [], "agents": [], "dead_letters": 0, "unable": [], "epochs": []
        }))
        .unwrap()
    }

    fn outlook(epoch: u64, at_risk: bool) -> OutlookView {
        OutlookView {
            epoch,
            jobs: 1,
            finish_in_seconds: None,
            deadline_in_seconds: Some(60.0),
            at_risk,
        }
    }

    fn wrong(status: &StatusResponse) -> Vec<Line> {
        of_cluster(status).into_iter().filter(|(_, found)| found.is_err()).collect()
    }

    #[test]
    fn an_old_transaction_is_wrong() {
        let of = |oldest_snapshot_seconds| {
            let (bytes, live_rows, dead_rows) = (2_500_000, 10, 99);
            of_database(&Database { bytes, live_rows, dead_rows, oldest_snapshot_seconds })
        };
        assert_eq!(of(300.0).unwrap(), "none is old; the database takes 2.5 MB");
        let why = of(301.0).unwrap_err();
        assert!(why.contains("301 s") && why.contains("99 dead rows"), "{why}");
    }

    #[test]
    fn clocks_that_differ_are_wrong() {
        let at = Duration::from_secs;
        assert!(of_clocks(at(1_000), at(1_005)).is_ok() && of_clocks(at(1_005), at(1_000)).is_ok());
        assert!(of_clocks(at(1_006), at(1_000)).unwrap_err().contains("6 s ahead of"));
        assert!(of_clocks(at(1_000), at(4_600)).unwrap_err().contains("3600 s behind"));
    }

    #[test]
    fn a_certificate_is_to_be_renewed_before_it_expires() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "authority");
        let signed = authority.sign_for("broker", &["localhost"], (2020, 2030));
        let (cert, key) = (Some(signed.cert), Some(signed.key.clone()));
        let mut protection = Protection { cert, key, ..Protection::default() };
        let end = certificate_end(&protection).unwrap().unwrap();
        // 1 January 2030.
        assert_eq!(end.as_secs(), 1_893_456_000);
        let before = |days: u64| of_certificate(end, end - Duration::from_secs(days * DAY));
        assert_eq!(before(15).unwrap(), "valid for 15 more days");
        assert!(before(14).unwrap_err().contains("expires in 14 days"));
        let late = of_certificate(end, end + Duration::from_secs(1)).unwrap_err();
        assert!(late.contains("has expired"), "{late}");
        protection.cert = Some(signed.key);
        let why = certificate(&protection).unwrap().unwrap_err();
        assert!(why.contains("broker.key"), "{why}");
        assert!(certificate(&Protection::default()).is_none());
    }

    #[test]
    fn a_certificate_that_nobody_asks_for_is_wrong() {
        let token = |label: &str, state: &str, certificate: Option<&str>| -> TokenView {
            serde_json::from_value(serde_json::json!({
                "label": label, "role": "agent", "tenant": "default", "state": state,
                "certificate": certificate, "created_unix_ms": 0, "rejected": 0
            }))
            .unwrap()
        };
        let ended = [
            token("secret", "valid", None),
            token("gone", "revoked", Some("a")),
            token("old", "expired", Some("b")),
        ];
        for has_authority in [true, false] {
            let found = of_tokens(&ended, has_authority).unwrap();
            assert_eq!(found, "certificates stand for 0 of them");
        }
        let used = [
            token("gpu-1", "valid", Some("c")),
            token("secret", "valid", None),
            token("gpu-2", "suspended", Some("d")),
        ];
        assert_eq!(of_tokens(&used, true).unwrap(), "certificates stand for 2 of them");
        let why = of_tokens(&used, false).unwrap_err();
        assert!(why.contains("gpu-1, gpu-2,") && why.contains("--listen-client-ca"), "{why}");
    }

    #[test]
    fn what_waits_for_somebody_is_wrong_and_says_what_helps() {
        assert!(wrong(&sound()).is_empty());
        let mut status = sound();
        status.epochs = vec![outlook(7, true), outlook(8, false)];
        status.dead_letters = 3;
        let unable = |kind: &str| UnableView {
            kind: kind.into(),
            version: "v1".into(),
            class: SizeClass::SMALLEST,
            jobs: 12,
            since_seconds: 40.2,
        };
        status.unable = vec![unable("leaf"), unable("root")];
        let found = wrong(&status);
        for (at, (what, parts)) in [
            ("epochs", ["1 of 2 at risk", ": 7;", "autoscale"]),
            ("waiting jobs", ["12 of type leaf", "40 s", "1 other types"]),
            ("dead letters", ["3;", "dead-letters list", "replay"]),
        ]
        .into_iter()
        .enumerate()
        {
            let (name, text) = (found[at].0, found[at].1.as_ref().unwrap_err());
            assert_eq!(name, what);
            assert!(parts.iter().all(|part| text.contains(part)), "{what}: {text}");
        }
        assert_eq!(found.len(), 3);
    }
}
