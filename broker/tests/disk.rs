//! A disk that is full: real PostgreSQL, in a process of its own, on a disk of a few megabytes.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::process::{Broker, free_address};
use crate::support::{agent, capability, job};
use rollmill_broker_client::{
    Answer, ClaimRequest, Client, CompleteRequest, Digest, Grant, HeartbeatRequest, JobState,
    LeaseRef, Options, SizeClass,
};
use rollmill_service_testing::SmallDisk;

/// PostgreSQL takes about 80 MiB at its start.
const DISK: u64 = 256 << 20;
/// Less than the share below which the broker takes no work, and more than a segment of PostgreSQL's log.
const NEARLY_FULL: u64 = DISK / 10;
/// Longest wait for anything here.
const WAIT: Duration = Duration::from_secs(120);

/// Waits at most [`WAIT`].
async fn within<T>(what: &str, done: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(WAIT, done).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {WAIT:?}"))
}

fn start(dir: &Path, address: &str, admin: &str) -> Broker {
    let mut command = Broker::command(dir, address);
    let child = command
        .args(["--admin-listen", admin, "--disk-free-min-percent", "15"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Broker { child, address: address.to_owned() }
}

/// A client that tries once.
fn impatient(broker: &Broker) -> Client {
    let options = Options { patience: Duration::ZERO, timeout: Duration::from_secs(30) };
    Client::new(&format!("http://{}", broker.address), None, options).unwrap()
}

/// Waits until the condition `disk` holds, or does not, and returns why.
async fn disk_condition(admin: &str, holds: bool) -> Option<String> {
    let (http, url) = (rollmill_service::untimed_http_client(), format!("http://{admin}/ready"));
    within("the condition", async {
        loop {
            if let Ok(answer) = http.get(&url).send().await
                && let Ok(body) = answer.json::<serde_json::Value>().await
            {
                let reason = body["because"]["disk"].as_str().map(str::to_owned);
                if reason.is_none() == holds {
                    return reason;
                }
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn claim(client: &Client) -> Grant {
    let request = ClaimRequest {
        agent: agent("a"),
        capabilities: vec![capability("leaf")],
        class: SizeClass::SMALLEST,
        wait_ms: 20_000,
        info: serde_json::Value::Null,
        session: None,
    };
    client.claim(&request).await.unwrap().unwrap()
}

/// Uploads until there is no space, and keeps what was acknowledged.
async fn upload_until_full(client: &Client, kept: &mut Vec<Vec<u8>>) {
    let error = client.put_artifact(7, vec![2; 300_000]).await.unwrap_err();
    assert_eq!(error.answer(), Answer::Transient, "{error}");
    // Small ones are in PostgreSQL, whose files may have space inside them.
    for n in 0..200_u8 {
        let bytes = vec![n; 4_000];
        match client.put_artifact(7, bytes.clone()).await {
            Ok(_) => kept.push(bytes),
            Err(error) => {
                assert_eq!(error.answer(), Answer::Transient, "{error}");
                break;
            }
        }
    }
}

/// Goal: what was acknowledged is there after a full disk, and work goes on once there is space. Fault: the disk is
/// nearly full, then takes not a byte more.
#[tokio::test]
async fn a_broker_on_a_full_disk_loses_nothing_and_goes_on_with_space() {
    let name = "disk::a_broker_on_a_full_disk_loses_nothing_and_goes_on_with_space";
    let Some(disk) = SmallDisk::of_test(name, DISK) else { return };
    let (dir, address, admin) = (disk.path().join("broker"), free_address(), free_address());
    let mut broker = start(&dir, &address, &admin);
    let (client, once) = (broker.client(), impatient(&broker));
    let mut kept = vec![b"leaf".to_vec(), vec![1; 300_000], b"later".to_vec()];
    let mut jobs = Vec::new();
    for (kind, bytes) in ["leaf", "root", "leaf"].into_iter().zip(&kept) {
        jobs.push(job(7, kind, client.put_artifact(7, bytes.clone()).await.unwrap()));
    }
    let later = jobs.pop().unwrap();
    client.enqueue(jobs.clone()).await.unwrap();
    let lease = claim(&client).await;
    let lease = LeaseRef { job: lease.job, lease_epoch: lease.lease_epoch };

    if disk.shows_free_space() {
        assert_eq!(disk_condition(&admin, true).await, None);
        disk.leave(NEARLY_FULL, &[]);
        let reason = disk_condition(&admin, false).await.unwrap();
        assert!(reason.starts_with("BRK-065: ") && reason.contains("free space"), "{reason}");
        assert!(reason.contains(&dir.display().to_string()), "{reason}");
        let error = once.enqueue(vec![later.clone()]).await.unwrap_err();
        assert_eq!(error.broker_code(), Some("BRK-065"), "{error}");
        assert!(!error.to_string().contains(&dir.display().to_string()), "{error}");
    }
    // What the broker has goes on.
    let beat = HeartbeatRequest { agent: agent("a"), leases: vec![lease.clone()] };
    assert!(once.heartbeat(&beat).await.unwrap().cancel.is_empty());
    let result = once.put_artifact(7, b"proof".to_vec()).await.unwrap();
    let stats = serde_json::Value::Null;
    once.complete(&CompleteRequest { agent: agent("a"), lease, result, stats }).await.unwrap();
    kept.push(b"proof".to_vec());

    disk.fill(&[broker.child.id()]);
    upload_until_full(&once, &mut kept).await;
    disk.free(&[broker.child.id()]);
    let enqueued = async {
        // PostgreSQL ends if it has no space for its log, and the broker with it. A supervisor starts it again.
        loop {
            if broker.child.try_wait().unwrap().is_some() {
                broker = start(&dir, &address, &admin);
            }
            match once.enqueue(vec![later.clone()]).await {
                Ok(_) => break,
                Err(error) => assert_eq!(error.answer(), Answer::Transient, "{error}"),
            }
            tokio::task::yield_now().await;
        }
    };
    within("work with space", enqueued).await;
    assert_eq!(disk_condition(&admin, true).await, None);
    client.put_artifact(7, vec![2; 300_000]).await.unwrap();
    kept.push(vec![2; 300_000]);
    for bytes in kept {
        assert_eq!(client.get_artifact(&Digest::of(&bytes)).await.unwrap(), bytes);
    }
    let ids: Vec<_> = jobs.iter().chain([&later]).map(|job| job.id.clone()).collect();
    let views = client.jobs(&ids).await.unwrap();
    let states: Vec<_> = views.iter().map(|view| (view.state, view.attempts)).collect();
    assert_eq!(states, [(JobState::Done, 1), (JobState::Ready, 0), (JobState::Ready, 0)]);
    broker.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(broker.child.wait().unwrap().success());
}
