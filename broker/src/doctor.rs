//! What `rollmill-broker doctor` says of a running broker, its database and its certificate: what waits for somebody,
//! with what helps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rollmill_broker::store::{Database, Store};
use rollmill_broker_client::{OutlookView, StatusResponse, UnableView};
use rollmill_service::{Protection, certificate_end, one_line};

/// A transaction that is open for longer keeps dead rows in the database. The alert RollmillSnapshotOld waits as long.
const TRANSACTION_SECONDS: f64 = 300.0;
/// A certificate that expires sooner is to be renewed. The alert RollmillCertificateExpires fires then too.
const RENEWAL: Duration = Duration::from_secs(14 * 24 * 3600);
const DAY: u64 = 24 * 3600;
/// Clocks that differ by more are not kept by a time service.
const CLOCKS: Duration = Duration::from_secs(5);

/// What was looked at, and what was found or is wrong.
pub(crate) type Line = (&'static str, Result<String, String>);

/// The lines about epochs, jobs and agents.
pub(crate) fn of_cluster(status: &StatusResponse) -> Vec<Line> {
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
pub(crate) async fn transactions(store: &Store) -> Result<String, String> {
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
pub(crate) async fn clock(store: &Store) -> Result<String, String> {
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
pub(crate) fn certificate(protection: &Protection) -> Option<Result<String, String>> {
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
