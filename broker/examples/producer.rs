//! A producer for the broker, and a small agent to serve it.
//!
//! The producer uploads inputs, enqueues one job for each, and takes the results, which it checks: a
//! broker passes on what agents send. The agent here hashes its input with SHA-256 where a real one
//! proves; the job's type distinguishes both, so they can share a broker with Rollmill's own.
//!
//! ```sh
//! cargo run -p rollmill-broker --bin rollmill-broker &              # serves on 127.0.0.1:8551
//! cargo run -p rollmill-broker --example producer -- http://127.0.0.1:8551
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

use rollmill_broker_client::{
    AgentId, Capability, ClaimRequest, Client, CompleteRequest, Digest, FailRequest, FailureClass,
    HeartbeatRequest, JobId, JobState, KindName, LeaseRef, NewJob, Options, SizeClass,
};

/// What the jobs are called, and the version that producer and agent agree on.
const KIND: &str = "sha256";
const VERSION: &str = "1";
/// Groups jobs: a producer drops the epoch when it needs none of them any more.
const EPOCH: u64 = 1;

/// Enqueues a job for each input and returns the checked results, in the order of the inputs.
///
/// It may be killed and run again at any point: ids are made of epoch, type and input, so uploading
/// and enqueueing again changes nothing, and finished jobs are there at once.
pub async fn produce(
    client: &Client,
    inputs: &[Vec<u8>],
    patience: Duration,
) -> Result<Vec<Vec<u8>>, Box<dyn Error + Send + Sync>> {
    let kind: KindName = KIND.parse()?;
    let digests = client.put_artifacts(EPOCH, inputs.to_vec()).await?;
    let jobs: Vec<NewJob> = digests
        .iter()
        .map(|digest| Ok(NewJob::new(EPOCH, &kind, VERSION.parse()?, *digest)))
        .collect::<Result<_, Box<dyn Error + Send + Sync>>>()?;
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
    client.enqueue(jobs).await?;

    let deadline = Instant::now() + patience;
    let mut results: HashMap<JobId, Vec<u8>> = HashMap::new();
    while results.len() < ids.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("{} of {} jobs are done", results.len(), ids.len()).into());
        }
        let open: Vec<JobId> = ids.iter().filter(|id| !results.contains_key(id)).cloned().collect();
        // Returns as soon as one of them needs its producer, or when the time is over.
        for job in client.wait(&open, left.min(Duration::from_secs(10))).await?.jobs {
            let at = ids.iter().position(|id| *id == job.id).ok_or("an unknown job")?;
            match (job.state, job.result) {
                (JobState::Done, Some(result)) => {
                    let bytes = client.get_artifact(&result).await?;
                    if is_right(&inputs[at], &bytes) {
                        results.insert(job.id, bytes);
                    } else {
                        // The job goes to another agent; the one that lied is quarantined in time.
                        client.reject(&job.id, result, "the hash is wrong").await?;
                    }
                }
                // The broker lost the bytes, or never had them whole.
                (JobState::InputWanted, _) => {
                    client.put_artifact(EPOCH, inputs[at].clone()).await?;
                }
                (state, _) => {
                    let why = job.failure.map(|failure| failure.message).unwrap_or_default();
                    return Err(format!("job {} ended as {}: {why}", job.id, state.as_str()).into());
                }
            }
        }
    }
    ids.iter().map(|id| results.remove(id).ok_or_else(|| "an input stands twice".into())).collect()
}

fn is_right(input: &[u8], result: &[u8]) -> bool {
    Digest::of(input).to_string().as_bytes() == result
}

/// Does `count` jobs, then returns. A real agent heartbeats while it works, from another thread.
pub async fn work(
    client: &Client,
    name: &str,
    count: usize,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let agent: AgentId = name.parse()?;
    let capability = Capability { kind: KIND.parse()?, version: VERSION.parse()? };
    let request = ClaimRequest {
        agent: agent.clone(),
        capabilities: vec![capability],
        class: SizeClass::SMALLEST,
        wait_ms: 5_000,
        info: serde_json::Value::Null,
    };
    let mut done = 0;
    while done < count {
        let Some(grant) = client.claim(&request).await? else { continue };
        let lease = LeaseRef { job: grant.job.clone(), lease_epoch: grant.lease_epoch };
        let beat = HeartbeatRequest { agent: agent.clone(), leases: vec![lease.clone()] };
        if client.heartbeat(&beat).await?.cancel.contains(&lease) {
            continue; // The lease was lost: nothing to report.
        }
        match client.get_artifact(&grant.job.input()).await {
            Ok(input) => {
                let result = Digest::of(&input).to_string().into_bytes();
                let result = client.put_artifact(grant.job.epoch(), result).await?;
                let stats = serde_json::Value::Null;
                let request = CompleteRequest { agent: agent.clone(), lease, result, stats };
                client.complete(&request).await?;
            }
            Err(error) => {
                let (class, message) = (FailureClass::InputMissing, error.to_string());
                client.fail(&FailRequest { agent: agent.clone(), lease, class, message }).await?;
            }
        }
        done += 1;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let url = std::env::args().nth(1).ok_or("usage: producer BROKER_URL")?;
    let client = Client::new(&url, None, Options::default())?;
    let inputs: Vec<Vec<u8>> = ["one", "two", "three"].map(|text| text.as_bytes().to_vec()).into();
    let producer = produce(&client, &inputs, Duration::from_secs(60));
    // The agent stops with the producer.
    let results = tokio::select! {
        results = producer => results?,
        ended = work(&client, "example-agent", usize::MAX) => return ended,
    };
    for (input, result) in inputs.iter().zip(&results) {
        println!("{} {}", String::from_utf8_lossy(result), String::from_utf8_lossy(input));
    }
    println!("{} jobs done", client.drop_epoch(EPOCH).await?);
    Ok(())
}
