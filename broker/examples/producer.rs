//! A producer for the broker, and a small agent to serve it. `docs/book/queue.md` explains both.
//!
//! The producer uploads inputs, enqueues one job for each, and takes the results, which it checks: a
//! broker passes on what agents send. The agent here hashes its input with SHA-256 where a real one
//! proves. The job's type distinguishes both, so they can share a broker with Rollmill's own.
//!
//! ```sh
//! cargo run -p rollmill-broker --bin rollmill-broker &              # serves on 127.0.0.1:8551
//! cargo run -p rollmill-broker --example producer -- http://127.0.0.1:8551
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rollmill_broker_client::{
    AgentId, Answer, Capability, ClaimRequest, Client, ClientError, CompleteRequest, Digest,
    FailRequest, FailureClass, Grant, HeartbeatRequest, JobId, JobState, KindName, LeaseRef,
    NewJob, Options,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What the jobs are called, and the version that producer and agent agree on.
const KIND: &str = "sha256";
const VERSION: &str = "1";
/// Groups jobs: a producer drops the epoch when it needs none of them any more.
const EPOCH: u64 = 1;

/// Enqueues a job for each input and returns the checked results, in the order of the inputs.
/// `poll` is how long one request waits, at most 30 s; `patience` is the time for all of it.
///
/// It may be killed and run again at any point: ids are made of epoch, type and input, so uploading
/// and enqueueing again changes nothing, and finished jobs are there at once.
pub async fn produce(
    client: &Client,
    inputs: &[Vec<u8>],
    patience: Duration,
    poll: Duration,
) -> Outcome<Vec<Vec<u8>>> {
    let kind: KindName = KIND.parse()?;
    let id = |input: &Vec<u8>| JobId::new(EPOCH, &kind, Digest::of(input));
    let mut open: HashMap<JobId, &Vec<u8>> =
        inputs.iter().map(|input| (id(input), input)).collect();
    let mut results: HashMap<JobId, Vec<u8>> = HashMap::new();
    submit(client, &kind, &open).await?;

    let deadline = Instant::now() + patience;
    while !open.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("{} of {} jobs are not done", open.len(), inputs.len()).into());
        }
        let ids: Vec<JobId> = open.keys().cloned().collect();
        // Returns as soon as one of them needs its producer, or when the time is over.
        let answer = client.wait(&ids, left.min(poll)).await?;
        for unable in &answer.unable {
            let (jobs, kind, version) = (unable.jobs, &unable.kind, &unable.version);
            eprintln!("{jobs} jobs wait for an agent that can do {kind} of version {version}");
        }
        if answer.jobs.is_empty() {
            // The broker ignores ids that it does not know: its database was restored from a backup, or
            // somebody dropped the epoch. What it knows does not change.
            submit(client, &kind, &open).await?;
        }
        for job in answer.jobs {
            let input = *open.get(&job.id).ok_or("an unknown job")?;
            match (job.state, job.result) {
                (JobState::Done, Some(digest)) => match client.get_artifact(&digest).await {
                    Ok(result) if is_right(input, &result) => {
                        open.remove(&job.id);
                        results.insert(job.id, result);
                    }
                    // The job goes to another agent. The one that sent the result is charged for it.
                    Ok(_) => drop(client.reject(&job.id, digest, "the hash is wrong").await?),
                    // The result is gone, and the job is open again.
                    Err(error) if is_lost(&error) => {}
                    Err(error) => return Err(error.into()),
                },
                // The broker lost the bytes, or never had them whole.
                (JobState::InputWanted, _) => {
                    client.put_artifact(EPOCH, input.clone()).await?;
                }
                (state, _) => {
                    let why = job.failure.map_or("no failure".to_owned(), |failure| {
                        format!("{}: {}", failure.class, failure.message)
                    });
                    return Err(format!("job {} is {state} after {why}", job.id).into());
                }
            }
        }
    }
    let result = |input| results.get(&id(input)).cloned().ok_or_else(|| "no result".into());
    inputs.iter().map(result).collect()
}

/// Uploads the inputs and enqueues their jobs.
async fn submit(client: &Client, kind: &KindName, open: &HashMap<JobId, &Vec<u8>>) -> Outcome<()> {
    let inputs: Vec<Vec<u8>> = open.values().map(|input| (*input).clone()).collect();
    let mut jobs = Vec::new();
    for digest in client.put_artifacts(EPOCH, inputs).await? {
        jobs.push(NewJob::new(EPOCH, kind, VERSION.parse()?, digest));
    }
    client.enqueue(jobs).await?;
    Ok(())
}

fn is_right(input: &[u8], result: &[u8]) -> bool {
    hash(input) == result
}

fn hash(input: &[u8]) -> Vec<u8> {
    Digest::of(input).to_string().into_bytes()
}

/// Whether an artifact was there and is no longer, or never was.
fn is_lost(error: &ClientError) -> bool {
    matches!(error.answer(), Answer::ArtifactLost | Answer::UnknownArtifact)
}

/// Does `count` jobs, then returns.
pub async fn work(client: &Client, name: &str, count: usize) -> Outcome<()> {
    let agent: AgentId = name.parse()?;
    let capability = Capability { kind: KIND.parse()?, version: VERSION.parse()? };
    let request = ClaimRequest::new(agent.clone(), vec![capability]);
    let mut done = 0;
    while done < count {
        let Some(grant) = client.claim(&request).await? else { continue };
        // Without heartbeats the lease expires, and another agent gets the job.
        tokio::select! {
            outcome = attempt(client, &agent, &grant) => outcome?,
            () = lose(client, &agent, grant.lease()) => continue, // Nothing to report.
        }
        done += 1;
    }
    Ok(())
}

/// One attempt at a job: its result, or a failure of the class that says what the broker does next.
async fn attempt(client: &Client, agent: &AgentId, grant: &Grant) -> Result<(), ClientError> {
    let (agent, lease) = (agent.clone(), grant.lease());
    let reported = match client.get_artifact(&grant.job.input()).await {
        Ok(input) => {
            // Work that takes longer belongs on another thread: `tokio::task::spawn_blocking`.
            let result = client.put_artifact(grant.job.epoch(), hash(&input)).await?;
            client.complete(&CompleteRequest::new(agent, lease, result)).await.map(drop)
        }
        Err(error) => {
            let lost = is_lost(&error);
            let class = if lost { FailureClass::InputMissing } else { FailureClass::Transient };
            let message = error.to_string();
            client.fail(&FailRequest { agent, lease, class, message }).await
        }
    };
    match reported {
        // The job is somebody else's by now, or nobody's.
        Err(error) if is_stale(error.answer()) => Ok(()),
        other => other,
    }
}

const fn is_stale(answer: Answer) -> bool {
    use Answer::{Cancelled, LeaseLost, RejectedBefore, UnknownJob};
    matches!(answer, Cancelled | LeaseLost | RejectedBefore | UnknownJob)
}

/// Sends heartbeats, and returns when the lease is lost.
async fn lose(client: &Client, agent: &AgentId, lease: LeaseRef) {
    let beat = HeartbeatRequest { agent: agent.clone(), leases: vec![lease] };
    loop {
        let pause = match client.heartbeat(&beat).await {
            Ok(answer) if !answer.cancel.is_empty() => return,
            Ok(answer) => Duration::from_millis(answer.every_ms),
            // The lease may outlive the failure.
            Err(_) => Duration::from_secs(1),
        };
        tokio::time::sleep(pause).await;
    }
}

async fn run(url: &str, token: Option<&str>) -> Outcome<()> {
    let client = Client::new(url, token, Options::default())?;
    let inputs: Vec<Vec<u8>> = ["one", "two", "three"].map(|text| text.as_bytes().to_vec()).into();
    let producer = produce(&client, &inputs, Duration::from_secs(60), Duration::from_secs(10));
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [url] => run(url, None).await,
        // Of the role operator, since this program is producer and agent.
        [url, token_file] => match std::fs::read_to_string(token_file) {
            Ok(token) => run(url, Some(&token)).await,
            Err(error) => Err(format!("cannot read {token_file}: {error}").into()),
        },
        _ => Err("usage: producer BROKER_URL [TOKEN_FILE]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}"); // `main` would print the fields of the error, not its message.
            ExitCode::FAILURE
        }
    }
}
