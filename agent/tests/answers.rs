//! What the agent does with every answer on every route, served by a fake broker.
//!
//! Goal: no answer but a rejected token or a quarantine ends an agent, a verified proof is kept until a
//! broker accepts it or no longer needs it, and a failure is reported only where the job failed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::worker::Reversing;
use parking_lot::Mutex;
use rollmill_agent::{Agent, AgentError, Config};
use rollmill_broker_client::{Digest, JobId};
use rollmill_service::{Process, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const INPUT: &[u8] = b"input";

/// Answers left to return on each route, last first.
type Answers = HashMap<&'static str, Vec<Vec<u8>>>;

/// Grants one job, and answers each route as a broker would once its list of answers is used up.
#[derive(Clone, Default)]
struct Fake {
    answers: Arc<Mutex<Answers>>,
    /// Routes asked for, and the class of a failure that was reported.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    async fn start(route: &'static str, mut answers: Vec<Vec<u8>>) -> (Self, String) {
        let fake = Self::default();
        answers.reverse();
        fake.answers.lock().insert(route, answers);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = fake.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(served.clone().serve(stream));
            }
        });
        (fake, url)
    }

    async fn serve(self, mut stream: TcpStream) {
        let Some((route, body)) = read_request(&mut stream).await else { return };
        let granted = {
            let mut asked = self.asked.lock();
            let class = body.split_once(r#""class":""#).and_then(|(_, rest)| rest.split_once('"'));
            let granted = asked.iter().any(|known| known == "granted");
            asked.push(class.map_or(route.to_owned(), |(class, _)| format!("{route} {class}")));
            granted
        };
        let prepared = self.answers.lock().get_mut(route).and_then(Vec::pop);
        let answer = match (prepared, route) {
            (Some(answer), _) => answer,
            (None, "claim") if granted => std::future::pending().await,
            (None, "claim") => {
                self.asked.lock().push("granted".into());
                http(200, &grant())
            }
            (None, "fetch") => http(200, "input"),
            (None, "upload") => http(204, ""),
            (None, "complete") => http(200, r#"{"outcome":"accepted"}"#),
            (None, "heartbeat") => http(200, r#"{"cancel":[],"every_ms":50}"#),
            (None, _) => http(200, r#"{"count":1}"#),
        };
        // An agent that ended reads no answer.
        let _ = stream.write_all(&answer).await;
    }

    fn asked(&self, route: &str) -> usize {
        self.asked.lock().iter().filter(|asked| asked.starts_with(route)).count()
    }
}

fn grant() -> String {
    let job = JobId::new(7, &"leaf".parse().unwrap(), Digest::of(INPUT));
    serde_json::json!({ "grant": {
        "job": job, "version": "v1", "lease_epoch": 1, "lease_ms": 1000, "hard_limit_ms": 600_000,
    }})
    .to_string()
}

/// The route by the name used here, and the body.
async fn read_request(stream: &mut TcpStream) -> Option<(&'static str, String)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let Some(head) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |n| n.trim().parse::<usize>().unwrap());
        if bytes.len() < head + 4 + length {
            continue;
        }
        let route = ["claim", "heartbeat", "complete", "fail", "release"]
            .into_iter()
            .find(|route| text.starts_with(&format!("post /v1/{route} ")))
            .unwrap_or(if text.starts_with("put ") { "upload" } else { "fetch" });
        return Some((route, String::from_utf8_lossy(&bytes[head + 4..]).into_owned()));
    }
}

fn http(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn coded(status: u16, number: u16) -> Vec<u8> {
    http(status, &format!(r#"{{"code":"BRK-{number:03}","message":"as the test says"}}"#))
}

/// Temporary answers: of a proxy, of a broker that restarts, and none at all.
fn passing() -> Vec<Vec<u8>> {
    vec![http(502, "<html>"), http(403, "<html>"), coded(503, 1), coded(500, 16), Vec::new()]
}

struct Running {
    fake: Fake,
    process: Process<Config>,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<Result<(), AgentError>>,
}

impl Running {
    async fn start(route: &'static str, answers: Vec<Vec<u8>>) -> Self {
        let (fake, broker) = Fake::start(route, answers).await;
        let name = Some("a".parse().unwrap());
        let config = Config { broker, name, drain_seconds: 0, ..Config::default() };
        let process = Process::new("agent", config);
        let agent = Agent::new(&process, Arc::new(Reversing::default())).unwrap();
        let shutdown = process.shutdown.clone();
        let stop = shutdown.clone();
        let task = tokio::spawn(async move { agent.serve(&stop).await });
        Self { fake, process, shutdown, task }
    }

    fn count(&self, outcome: &str) -> u64 {
        let families = self.process.metrics.gather();
        let family = families.iter().find(|f| f.name() == "rollmill_agent_jobs_total").unwrap();
        let of = |metric: &&rollmill_service::prometheus::proto::Metric| {
            metric.get_label().iter().any(|label| label.value() == outcome)
        };
        let metric = family.get_metric().iter().find(of).expect("every series is there");
        metric.get_counter().get_value() as u64
    }

    /// Waits until the job ended so, then ends the agent, which was still there.
    async fn ends_as(self, outcome: &str) -> Fake {
        while self.count(outcome) == 0 {
            assert!(!self.task.is_finished(), "the agent ended instead of {outcome}");
            tokio::task::yield_now().await;
        }
        self.shutdown.start();
        self.task.await.unwrap().unwrap();
        self.fake
    }
}

/// Every labelled series is there before its first event, so that a rate over it can be computed.
#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_agent_shows_every_series() {
    let (_fake, broker) = Fake::start("claim", vec![]).await;
    let process = Process::new("agent", Config { broker, ..Config::default() });
    let _agent = Agent::new(&process, Arc::new(Reversing::default())).unwrap();
    let families = process.metrics.gather();
    let series = |name: &str| {
        let family = families.iter().find(|family| family.name() == name);
        family.unwrap_or_else(|| panic!("{name} is there")).get_metric().len()
    };
    assert_eq!(series("rollmill_agent_jobs_total"), 14);
    for name in [
        "device_info",
        "proving_seconds",
        "witness_seconds",
        "spool_bytes",
        "heartbeat_failures_total",
    ] {
        assert_eq!(series(&format!("rollmill_agent_{name}")), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_answers_on_any_route_cost_time_and_nothing_else() {
    for route in ["claim", "heartbeat", "fetch", "upload", "complete"] {
        for answer in passing() {
            // The first heartbeat is the agent's greeting and holds no lease.
            let answers =
                if route == "heartbeat" { vec![answer.clone(), answer] } else { vec![answer] };
            let fake = Running::start(route, answers).await.ends_as("completed").await;
            assert_eq!(fake.asked("fail") + fake.asked("release"), 0, "{route}");
            if route != "heartbeat" {
                assert!(fake.asked(route) >= 2, "{route}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_rejected_token_or_a_quarantine_ends_an_agent() {
    for (status, number) in [(401, 23), (403, 24), (403, 19)] {
        let agent = Running::start("claim", vec![coded(status, number)]).await;
        let error = agent.task.await.unwrap().unwrap_err();
        assert_eq!(error.code(), "AGT-020", "{status} {number}");
        let line = rollmill_service::one_line(&error);
        assert!(line.contains("--token") || line.contains("rollmill-broker pardon"), "{line}");
    }
    for (status, number) in [(400, 10), (404, 11), (409, 12), (413, 17), (409, 18), (410, 999)] {
        let agent = Running::start("claim", vec![coded(status, number)]).await;
        while agent.fake.asked("claim") == 0 {
            tokio::task::yield_now().await;
        }
        agent.shutdown.start();
        agent.task.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_to_a_fetch_has_its_consequence() {
    for (status, number, outcome) in [
        (404, 14, "input_missing"),
        (410, 26, "input_missing"),
        (400, 10, "transient"),
        (409, 12, "transient"),
        (413, 17, "transient"),
        (422, 13, "transient"),
        (422, 15, "transient"),
        (409, 21, "transient"),
        (401, 23, "released"),
        (403, 24, "released"),
        (403, 19, "released"),
        (409, 20, "lost"),
        (409, 18, "lost"),
        (404, 11, "lost"),
    ] {
        let agent = Running::start("fetch", vec![coded(status, number)]).await;
        let fake = agent.ends_as(outcome).await;
        let reported = match outcome {
            "released" => "release".to_owned(),
            "lost" => continue,
            class => format!("fail {class}"),
        };
        assert_eq!(fake.asked(&reported), 1, "{status} {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_proof_is_dropped_only_where_nobody_wants_it() {
    for route in ["upload", "complete"] {
        for (status, number) in [(404, 11), (409, 20), (409, 21)] {
            let agent = Running::start(route, vec![coded(status, number)]).await;
            let fake = agent.ends_as("unwanted").await;
            assert_eq!(fake.asked("fail"), 0, "{route} {status} {number}: no failure of the job");
        }
        let fake =
            Running::start(route, vec![coded(413, 17)]).await.ends_as("result_too_large").await;
        assert_eq!(fake.asked("fail result_too_large"), 1);
        // Lost or damaged on the way: uploaded again.
        for (status, number) in [(422, 13), (422, 15)] {
            let agent = Running::start(route, vec![coded(status, number)]).await;
            assert_eq!(agent.ends_as("completed").await.asked("upload"), 2, "{route} {number}");
        }
        // Kept for later: what an upgrade, a token or an operator changes.
        for (status, number) in [
            (400, 10),
            (401, 23),
            (403, 24),
            (403, 19),
            (409, 12),
            (404, 14),
            (410, 26),
            (409, 18),
            (409, 999),
        ] {
            let agent = Running::start(route, vec![coded(status, number)]).await;
            while agent.fake.asked(route) == 0 {
                tokio::task::yield_now().await;
            }
            // `/ready` says so, and names the job.
            let failing = || agent.process.conditions.failing();
            let (_, reason) = loop {
                match failing().into_iter().find(|(name, _)| *name == "proofs") {
                    Some(found) => break found,
                    None => tokio::task::yield_now().await,
                }
            };
            let job = JobId::new(7, &"leaf".parse().unwrap(), Digest::of(INPUT)).to_string();
            assert!(reason.contains(&job), "{route} {number}: {reason}");
            let families = agent.process.metrics.gather();
            let kept = families.iter().find(|f| f.name() == "rollmill_agent_spool_proofs").unwrap();
            assert_eq!(kept.get_metric()[0].get_gauge().get_value() as i64, 1, "{route} {number}");
            agent.shutdown.start();
            agent.task.await.unwrap().unwrap();
            assert_eq!(agent.fake.asked("fail"), 0, "{route} {status} {number}");
        }
    }
}
