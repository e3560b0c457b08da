//! What the client makes of every answer on every route, served by a fake broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rollmill_broker_client::routes::{RouteName, Spec};
use rollmill_broker_client::{
    AgentId, Answer, AuditQuery, ClaimRequest, Client, ClientError, Code, CompleteRequest, Digest,
    EpochOutcome, FailRequest, FailureClass, HeartbeatRequest, Incarnation, Installation, JobId,
    KindName, LeaseEpoch, LeaseRef, ListQuery, NewJob, NewToken, Options, ProgressRequest,
    ReleaseRequest, Role, Rotation, SessionDevice, SessionRequest, SizeClass, TokenLabel,
};
use rollmill_net::Tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers every request with the bytes that `answer` returns for its number; closes the connection
/// without a word where those are empty.
struct Fake {
    url: String,
    served: Arc<AtomicUsize>,
    /// First lines of the requests.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    async fn start(answer: impl Fn(usize) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::new(AtomicUsize::new(0));
        let count = served.clone();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let lines = asked.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let line = read_request(&mut stream).await;
                lines.lock().push(line);
                let bytes = answer(count.fetch_add(1, Ordering::SeqCst));
                // A client that has read enough closes first.
                let _ = stream.write_all(&bytes).await;
            }
        });
        Self { url, served, asked }
    }

    fn client(&self, patience: Duration) -> Client {
        let options = Options { patience, timeout: Duration::from_secs(10) };
        Client::new(&self.url, Some("token"), options).unwrap()
    }
}

/// Reads head and body, and returns the first line; the tests' bodies are small and have a length.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).await.unwrap();
        bytes.extend_from_slice(&chunk[..read]);
        let Some(head) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&bytes[..head]);
        let length = text
            .to_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |n| n.trim().parse::<usize>().unwrap());
        if bytes.len() >= head + 4 + length {
            return text.lines().next().unwrap_or_default().to_owned();
        }
    }
}

fn http(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

fn coded(status: u16, number: u16) -> Vec<u8> {
    http(status, "", &format!(r#"{{"code":"BRK-{number:03}","message":"as the test says"}}"#))
}

/// Every method of the client, by name, with what it got.
async fn every_route(client: &Client) -> Vec<(&'static str, Result<(), ClientError>)> {
    let kind: KindName = "leaf".parse().unwrap();
    let agent: AgentId = "a".parse().unwrap();
    let digest = Digest::of(b"x");
    let id = JobId::new(7, &kind, digest);
    let ids = std::slice::from_ref(&id);
    let lease = || LeaseRef { job: id.clone(), lease_epoch: LeaseEpoch(1) };
    let stats = serde_json::Value::Null;
    let claim = ClaimRequest {
        agent: agent.clone(),
        capabilities: vec![],
        class: SizeClass::SMALLEST,
        wait_ms: 0,
        info: stats.clone(),
        session: None,
    };
    let session = SessionRequest {
        agent: agent.clone(),
        installation: Installation::random(),
        replaces: None,
        capabilities: vec![],
        class: SizeClass::SMALLEST,
        software: String::new(),
        device: SessionDevice::default(),
        resident_keys: vec![],
        seconds: Default::default(),
    };
    let beat = HeartbeatRequest { agent: agent.clone(), leases: vec![lease()] };
    let progress = ProgressRequest { agent: agent.clone(), lease: lease(), progress: 0.5 };
    let complete = CompleteRequest { agent: agent.clone(), lease: lease(), result: digest, stats };
    let fail = FailRequest {
        agent: agent.clone(),
        lease: lease(),
        class: FailureClass::Transient,
        message: String::new(),
    };
    let release = ReleaseRequest { agent: agent.clone(), lease: lease() };
    let job = NewJob::new(7, &kind, kind.clone(), digest);
    let (start, zero) = (Incarnation::random(), Duration::ZERO);
    let mut results = vec![
        ("put_artifact", client.put_artifact(7, b"x".to_vec()).await.map(drop)),
        ("put_artifacts", client.put_artifacts(7, vec![b"x".to_vec(); 2]).await.map(drop)),
        ("get_artifact", client.get_artifact(&digest).await.map(drop)),
        ("enqueue", client.enqueue(vec![job]).await.map(drop)),
        ("jobs", client.jobs(ids).await.map(drop)),
        ("wait", client.wait(ids, zero).await.map(drop)),
        ("changes", client.changes(7, None, zero).await.map(drop)),
        ("reject", client.reject(&id, digest, "r").await.map(drop)),
        ("cancel", client.cancel(ids).await.map(drop)),
        ("epochs", client.epochs().await.map(drop)),
        ("open_epoch", client.open_epoch(7).await.map(drop)),
        ("close_epoch", client.close_epoch(7, EpochOutcome::Final, None).await.map(drop)),
        ("drop_epoch", client.drop_epoch(7).await.map(drop)),
        ("acquire_name", client.acquire_name("n", &agent, &start, zero).await.map(drop)),
        ("renew_name", client.renew_name("n", &agent, &start, 1, zero).await.map(drop)),
        ("release_name", client.release_name("n", &agent, &start, 1).await.map(drop)),
        ("open_session", client.open_session(&session).await.map(drop)),
        ("claim", client.claim(&claim).await.map(drop)),
        ("heartbeat", client.heartbeat(&beat).await.map(drop)),
        ("progress", client.progress(&progress).await),
        ("complete", client.complete(&complete).await.map(drop)),
        ("fail", client.fail(&fail).await),
        ("release", client.release(&release).await),
    ];
    results.extend(operators_routes(client, &id).await);
    results
}

/// The methods of the client that operators use.
async fn operators_routes(
    client: &Client,
    id: &JobId,
) -> Vec<(&'static str, Result<(), ClientError>)> {
    let agent: AgentId = "a".parse().unwrap();
    let ids = std::slice::from_ref(id);
    let token = NewToken::new("t", Role::Reader);
    let label: TokenLabel = "a b".parse().unwrap();
    vec![
        ("status", client.status().await.map(drop)),
        ("autoscale", client.autoscale().await.map(drop)),
        ("overview", client.overview().await.map(drop)),
        ("list", client.list(&ListQuery::default()).await.map(drop)),
        ("list_all", client.list_all(&ListQuery::default()).await.map(drop)),
        ("history", client.history(id).await.map(drop)),
        ("replay", client.replay(ids).await.map(drop)),
        ("drop_dead", client.drop_dead(ids).await.map(drop)),
        ("pardon", client.pardon(&agent).await.map(drop)),
        ("drain", client.drain(&agent, false).await.map(drop)),
        ("tokens", client.tokens().await.map(drop)),
        ("add_token", client.add_token(&token).await.map(drop)),
        ("rotate_token", client.rotate_token(&label, &Rotation::default()).await.map(drop)),
        ("revoke_token", client.revoke_token(&label).await),
        ("resume_token", client.resume_token(&label).await.map(drop)),
        ("audit", client.audit(&AuditQuery::default()).await.map(drop)),
        ("openapi", client.openapi().await.map(drop)),
    ]
}

async fn expect(answer: Vec<u8>, meaning: Answer) {
    let shown = String::from_utf8_lossy(&answer).into_owned();
    let fake = Fake::start(move |_| answer.clone()).await;
    for (route, result) in every_route(&fake.client(Duration::ZERO)).await {
        let error = result.unwrap_err();
        assert_eq!(error.answer(), meaning, "{route}: {error} for {shown}");
        assert_eq!(error.is_transient(), meaning == Answer::Transient);
        assert!(!error.to_string().contains("token:"), "{error}");
    }
}

/// Goal: the client speaks to the routes of the table, and to each of them. Method: a fake records what
/// every method of the client asks for.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_table_has_a_method_of_the_client() {
    let fake = Fake::start(|_| coded(409, 20)).await;
    every_route(&fake.client(Duration::ZERO)).await;
    let asked = fake.asked.lock().clone();
    let fits = |route: &RouteName, line: &str| {
        let Spec { method, path, .. } = route.spec();
        let target = line.split(' ').nth(1).unwrap_or_default();
        let target = target.split('?').next().unwrap_or_default();
        let (head, tail) = match path.split_once('{') {
            Some((head, rest)) => (head, rest.split_once('}').unwrap().1),
            None => (*path, ""),
        };
        let middle = target.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail));
        line.starts_with(&format!("{} ", method.as_str()))
            && middle.is_some_and(|m| !m.contains('/') && m.is_empty() != path.contains('{'))
    };
    for line in &asked {
        let routes = RouteName::ALL.iter().filter(|route| fits(route, line)).count();
        assert_eq!(routes, 1, "the table has no route for {line}");
    }
    for route in RouteName::ALL {
        assert!(
            asked.iter().any(|line| fits(route, line)),
            "no method of the client calls {route:?}"
        );
    }
}

/// Goal: nothing that a proxy, a restart or a lost connection answers is ever final.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_brokers_code_passes_on_every_route() {
    for status in [301, 302, 400, 401, 403, 404, 405, 408, 410, 415, 425, 429] {
        expect(http(status, "location: http://127.0.0.1:1/\r\n", "<html>"), Answer::Transient)
            .await;
    }
    for status in [500, 501, 502, 503, 504] {
        expect(http(status, "", "<html>"), Answer::Transient).await;
        expect(coded(status, 999), Answer::Transient).await;
    }
    // Another server's code, an answer that breaks off, and none at all.
    expect(http(403, "", r#"{"code":"ABC-024","message":"m"}"#), Answer::Transient).await;
    let mut cut = coded(409, 20);
    cut.truncate(cut.len() - 10);
    expect(cut, Answer::Transient).await;
    expect(Vec::new(), Answer::Transient).await;
}

/// A message comes from whatever answers, and ends in logs and on terminals.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_shown_on_one_line_and_in_part_if_it_is_long() {
    let message = format!("line\\nother\\u001b[31m {}", "x".repeat(100_000));
    let body = format!(r#"{{"code":"BRK-020","message":"{message}"}}"#);
    let fake = Fake::start(move |_| http(409, "", &body)).await;
    let error = fake.client(Duration::ZERO).status().await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("BRK-020: lineother[31m xx"), "{text}");
    assert!(text.len() < 1000 && !text.contains(char::is_control), "{} bytes", text.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_code_of_the_broker_has_its_meaning_on_every_route() {
    for code in Code::ALL {
        // One match without a wildcard: a new code does not compile until its meaning is here.
        let (status, meaning) = match code {
            Code::Database
            | Code::Overloaded
            | Code::Objects
            | Code::EpochsOpen
            | Code::DiskFull => (503, Answer::Transient),
            Code::EpochClosing => (409, Answer::EpochEnded),
            Code::EpochGone => (410, Answer::EpochEnded),
            Code::Request => (400, Answer::Incompatible),
            Code::UnknownPath => (404, Answer::Incompatible),
            Code::WrongMethod => (405, Answer::Incompatible),
            Code::UnknownJob => (404, Answer::UnknownJob),
            Code::VersionConflict => (409, Answer::VersionConflict),
            Code::NotUploaded => (422, Answer::NotUploaded),
            Code::UnknownArtifact => (404, Answer::UnknownArtifact),
            Code::DigestMismatch => (422, Answer::DigestMismatch),
            Code::TooLarge => (413, Answer::TooLarge),
            Code::LeaseLost => (409, Answer::LeaseLost),
            Code::Quarantined => (403, Answer::Quarantined),
            Code::Cancelled => (409, Answer::Cancelled),
            Code::RejectedBefore => (409, Answer::RejectedBefore),
            Code::Unauthorized => (401, Answer::TokenRejected),
            Code::Forbidden => (403, Answer::TokenRejected),
            Code::ArtifactLost => (410, Answer::ArtifactLost),
            Code::UnknownToken => (404, Answer::Incompatible),
            Code::LabelTaken | Code::CertificateTaken | Code::NoSecret => {
                (409, Answer::Incompatible)
            }
            Code::TokenSuspended => (403, Answer::TokenRejected),
            Code::IdentityTaken => (403, Answer::IdentityTaken),
            Code::UnknownSession => (409, Answer::UnknownSession),
            Code::TooManyRequests => (429, Answer::Transient),
        };
        expect(coded(status, code as u16), meaning).await;
    }
    expect(coded(409, 998), Answer::Incompatible).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_passes() {
    let url = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let options = Options { patience: Duration::ZERO, timeout: Duration::from_secs(10) };
    let client = Client::new(&url, None, options).unwrap();
    let error = client.status().await.unwrap_err();
    assert_eq!(error.answer(), Answer::Transient);
    assert!(error.to_string().contains("connection refused; is it running?"), "{error}");
}

/// Goal: a passing answer is followed by the same request, and an unreadable success as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_passing_answer_is_followed_by_another_try() {
    let good = http(200, "", r#"{"queue":[],"agents":[],"dead_letters":3}"#);
    for first in [coded(503, 22), http(502, "", ""), http(200, "", "{"), Vec::new()] {
        let good = good.clone();
        let fake = Fake::start(move |n| if n == 0 { first.clone() } else { good.clone() }).await;
        let status = fake.client(Duration::from_secs(60)).status().await.unwrap();
        assert_eq!(status.dead_letters, 3);
        assert_eq!(fake.served.load(Ordering::SeqCst), 2);
    }
    // The bytes of an artifact are checked: damaged on the way, they are asked for again.
    let fake = Fake::start(|n| http(200, "", if n == 0 { "y" } else { "x" })).await;
    let digest = Digest::of(b"x");
    let bytes = fake.client(Duration::from_secs(60)).get_artifact(&digest).await.unwrap();
    assert_eq!((bytes, fake.served.load(Ordering::SeqCst)), (b"x".to_vec(), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_answer_is_not_followed_by_another_try() {
    let fake = Fake::start(|_| coded(409, 20)).await;
    let error = fake.client(Duration::from_secs(60)).status().await.unwrap_err();
    assert_eq!((error.answer(), fake.served.load(Ordering::SeqCst)), (Answer::Cancelled, 1));
}

/// A file that holds two tokens is a wrong setting, and an end of line after the only one is none.
#[test]
fn a_token_with_a_line_break_inside_is_an_error_of_the_setting() {
    let client = |token| Client::new("http://127.0.0.1:1", Some(token), Options::default());
    let error = client("rm_1\nrm_2").unwrap_err();
    assert_eq!((error.code(), error.is_usage()), ("BRC-018", true), "{error}");
    assert_eq!(error.answer(), Answer::TokenRejected);
    assert!(!error.to_string().contains("rm_1"), "the token is secret: {error}");
    client("rm_1\n").unwrap();
}

/// Attack: whoever listens between two machines takes a token out of a request, and acts in its name.
#[test]
fn a_token_for_another_machine_over_plain_http_is_an_error_of_the_setting() {
    let client = |url: &str, token| Client::new(url, token, Options::default());
    let error = client("http://broker:8551", Some("planted")).unwrap_err();
    assert_eq!((error.code(), error.is_usage()), ("BRC-019", true), "{error}");
    assert_eq!(error.answer(), Answer::TokenRejected);
    let text = format!("{error} {error:?}");
    assert!(text.contains("https://") && text.contains("--plain-tokens"), "{text}");
    assert!(!text.contains("planted"), "{text}");
    let error = client("http://broker:8551", None).unwrap().set_token("planted").unwrap_err();
    assert_eq!(error.code(), "BRC-019", "{error}");
    client("https://broker:8551", Some("planted")).unwrap();
    let told = Tls::of_process().with_plain_tokens(true);
    Client::with_tls("http://broker:8551", Some("planted"), Options::default(), &told).unwrap();
}
