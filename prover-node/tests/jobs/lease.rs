//! The submitter's lease: who holds it, for how long it is trusted, and that it is released.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rollmill_broker_client::{ClientError, NamedLeaseResponse};
use rollmill_l1::Right;
use rollmill_prover_node::jobs::Health;
use rollmill_prover_node::lease::{self, Identity, Lease, Names, RENEW, TRUSTED, TTL};
use rollmill_service::Shutdown;

use crate::MS;

fn answer(held: bool, fence: u64) -> NamedLeaseResponse {
    NamedLeaseResponse { held, fence, holder: None, incarnation: None, expires_in_ms: 0 }
}

/// Returns the responses in order, then grants; records the requests.
#[derive(Debug, Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Result<bool, u16>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn next(&self, what: &str, fence: u64) -> Result<NamedLeaseResponse, ClientError> {
        self.asked.lock().push(format!("{what} {fence}"));
        match self.answers.lock().pop_front().unwrap_or(Ok(true)) {
            Ok(held) => Ok(answer(held, 5)),
            Err(status) => Err(ClientError::Rejected {
                status,
                broker_code: "BRK-023".to_owned(),
                message: String::new(),
            }),
        }
    }
}

impl Names for Script {
    async fn probe(&self) -> Result<(), ClientError> {
        self.next("probe", 0).map(drop)
    }

    async fn acquire(&self, _: &str, _: &Identity) -> Result<NamedLeaseResponse, ClientError> {
        self.next("acquire", 0)
    }

    async fn renew(
        &self,
        _: &str,
        _: &Identity,
        fence: u64,
    ) -> Result<NamedLeaseResponse, ClientError> {
        self.next("renew", fence)
    }

    async fn release(
        &self,
        _: &str,
        _: &Identity,
        fence: u64,
    ) -> Result<NamedLeaseResponse, ClientError> {
        self.next("release", fence)
    }
}

/// Goal: a lease is trusted for half of its time since the request, and not a moment longer.
#[test]
fn a_lease_that_was_not_renewed_lately_is_not_trusted() {
    let (lease, start) = (Lease::default(), Instant::now());
    assert_eq!(lease.fence(start), None);
    lease.take(&answer(true, 5), start);
    assert_eq!(lease.fence(start + TRUSTED), Some(5));
    assert_eq!(lease.fence(start + TRUSTED + MS), None);
    lease.take(&answer(true, 5), start + RENEW);
    assert_eq!(lease.fence(start + RENEW + TRUSTED), Some(5));
    lease.take(&answer(false, 6), start + RENEW);
    assert_eq!(lease.fence(start + RENEW), None);
    assert!(TRUSTED + RENEW < TTL, "one lost renewal must not cost the lease");
}

/// Goal: two processes over one disk are one holder with two incarnations; two disks are two holders.
#[test]
fn an_identity_is_kept_on_disk_and_an_incarnation_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let intents = folder.path().join("deep/intents.json");
    let (first, second) = (Identity::open(&intents).unwrap(), Identity::open(&intents).unwrap());
    assert_eq!(first.holder, second.holder);
    assert_ne!(first.incarnation, second.incarnation);
    let other = Identity::open(&folder.path().join("other.json")).unwrap();
    assert_ne!(first.holder, other.holder);
    std::fs::write(intents.with_extension("identity"), "nonsense").unwrap();
    let error = Identity::open(&intents).unwrap_err().to_string();
    assert!(error.contains("intents.identity"), "{error}");
}

async fn run(script: &Script, until: impl Fn(&Script, &Lease, &Health) -> bool) -> Vec<String> {
    let (lease, health, shutdown) =
        (Lease::default(), Arc::new(Health::default()), Shutdown::new());
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::open(&folder.path().join("intents.json")).unwrap();
    let task = tokio::spawn(lease::keep(
        script.clone(),
        "submitter/x".to_owned(),
        identity,
        lease.clone(),
        Arc::clone(&health),
        Duration::from_millis(2),
        shutdown.clone(),
    ));
    let met = async {
        while !until(script, &lease, &health) {
            tokio::time::sleep(MS).await;
        }
    };
    let state = || (lease.clone(), health.token(), script.asked.lock().len());
    let met = tokio::time::timeout(Duration::from_secs(60), met).await;
    met.unwrap_or_else(|_| panic!("never so: {:?}", state()));
    shutdown.start();
    task.await.unwrap();
    script.asked.lock().clone()
}

fn held(_: &Script, lease: &Lease, _: &Health) -> bool {
    lease.fence(Instant::now()).is_some()
}

#[tokio::test]
async fn a_standby_asks_until_it_holds_and_releases_at_the_end() {
    let script = Script::default();
    script.answers.lock().extend([Ok(false), Ok(false)]);
    let asked = run(&script, held).await;
    assert_eq!(asked[..3], ["acquire 0", "acquire 0", "acquire 0"]);
    assert_eq!(asked.last().unwrap(), "release 5");
}

#[tokio::test]
async fn a_lost_lease_is_asked_for_again_at_once() {
    let script = Script::default();
    script.answers.lock().extend([Ok(true), Ok(false), Ok(true)]);
    let asked = run(&script, |script, lease, health| {
        script.asked.lock().len() >= 3 && held(script, lease, health)
    })
    .await;
    assert_eq!(asked[..3], ["acquire 0", "renew 5", "acquire 0"]);
}

/// Goal: a rejected token is reported even without other requests to the broker, and so is its
/// recovery.
#[tokio::test]
async fn a_rejected_token_is_a_condition_of_an_idle_node() {
    let script = Script::default();
    // The broker rejects until that was seen: how often it is asked meanwhile is the machine's affair.
    script.answers.lock().extend(std::iter::repeat_n(Err(401), 100_000));
    let seen = Mutex::new(false);
    run(&script, |script, lease, health| {
        let rejected = !health.token().holds;
        let mut seen = seen.lock();
        if rejected && health.token().reason.contains("BRK-023") {
            *seen = true;
            script.answers.lock().clear();
        }
        *seen && !rejected && lease.fence(Instant::now()).is_some()
    })
    .await;
    assert!(*seen.lock());
}

/// Goal: a process that submits nothing takes no lease, and knows of its token nevertheless.
#[tokio::test]
async fn a_process_that_submits_nothing_asks_for_no_lease() {
    let (script, health, shutdown) =
        (Script::default(), Arc::new(Health::default()), Shutdown::new());
    script.answers.lock().extend(std::iter::repeat_n(Err(401), 100_000));
    let every = Duration::from_millis(2);
    let task =
        tokio::spawn(lease::probe(script.clone(), Arc::clone(&health), every, shutdown.clone()));
    let seen = async |is_met: &dyn Fn() -> bool| {
        let met = async {
            while !is_met() {
                tokio::time::sleep(MS).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), met).await.expect("it is met");
    };
    seen(&|| health.token().reason.contains("BRK-023")).await;
    script.answers.lock().clear();
    seen(&|| health.token().holds && health.broker().holds).await;
    shutdown.start();
    task.await.unwrap();
    assert!(script.asked.lock().iter().all(|asked| asked == "probe 0"));
}

/// Goal: what is in doubt stays where it is, what is lost is not sent. Method: the right under a fence
/// before the lease, with it, when it was not renewed lately, under another fence, with another holder.
#[test]
fn the_right_to_send_is_held_in_doubt_or_gone() {
    let lease = Lease::default();
    let start = Instant::now();
    assert_eq!(lease.right(5, start), Right::Unknown);
    lease.take(&answer(true, 5), start);
    assert_eq!(lease.right(5, start), Right::Held);
    assert_eq!(lease.right(4, start), Right::Gone);
    assert_eq!(lease.right(5, start + TRUSTED + MS), Right::Unknown);
    let other = "prover-node-other".parse().ok();
    lease.take(&NamedLeaseResponse { holder: other, ..answer(false, 6) }, start);
    assert_eq!(lease.right(5, start), Right::Gone);
    lease.take(&answer(true, 7), start);
    assert_eq!((lease.right(5, start), lease.right(7, start)), (Right::Gone, Right::Held));
}
