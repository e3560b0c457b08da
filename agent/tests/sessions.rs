//! An agent's sessions against a real broker: what a restart gets back, and who is turned away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use parking_lot::Mutex;
use rollmill_agent::heartbeat::Cancel;
use rollmill_agent::{Agent, AgentError, Config, Prepared, WorkError, WorkOutput, Worker};
use rollmill_broker::store::{Role, Tenant};
use rollmill_broker_client::{
    Answer, Client, FailureClass, Installation, JobId, JobState, NewJob, NewToken, Rotation,
    WorkStats,
};
use rollmill_broker_testing::{TestBroker, TestSchema};
use rollmill_service::{Process, Secret, Shutdown};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Answers with its input, once nobody holds the other end any more.
#[derive(Debug)]
struct Double {
    held: Mutex<Receiver<()>>,
}

impl Worker for Double {
    fn circuits(&self) -> Vec<(String, String)> {
        vec![("leaf".into(), "v1".into())]
    }

    fn resident_keys(&self) -> Vec<String> {
        vec!["leaf".into()]
    }

    fn prepare(
        self: Arc<Self>,
        _kind: &str,
        input: &[u8],
        _cancel: &Cancel,
    ) -> Result<Prepared, WorkError> {
        let result = input.to_vec();
        Ok(Box::new(move |_| {
            // Nothing is ever sent.
            let _ = self.held.lock().recv();
            Ok(WorkOutput { result, stats: WorkStats::default() })
        }))
    }

    fn verify(&self, _kind: &str, _input: &[u8], _result: &[u8]) -> Result<(), WorkError> {
        Ok(())
    }
}

/// The end of a worker that nothing holds.
fn free() -> Receiver<()> {
    channel().1
}

struct Lab {
    schema: TestSchema,
    broker: TestBroker,
    /// Of the one agent.
    token: String,
    operator: Client,
}

impl Lab {
    async fn new() -> Self {
        let schema = TestSchema::new().await;
        let (store, tenant) = (schema.store().await, Tenant::default());
        let token = store.add_token("gpu", Role::Agent, &tenant).await.unwrap();
        // It asks often.
        let new = NewToken {
            requests_per_second: Some(1_000_000),
            ..NewToken::new("me", Role::Operator)
        };
        let operator = store.create_token(&tenant, &new).await.unwrap().token;
        let broker = schema.broker().await;
        let operator = broker.client_with(Some(&operator));
        Self { schema, broker, token, operator }
    }

    fn agent(
        &self,
        installation: &Installation,
        held: Receiver<()>,
    ) -> (Shutdown, JoinHandle<Result<(), AgentError>>) {
        self.agent_with(Secret::generated(self.token.clone()), installation, held)
    }

    /// The agent, with the broker at another address.
    fn agent_by(
        &self,
        address: SocketAddr,
        installation: &Installation,
    ) -> (Shutdown, JoinHandle<Result<(), AgentError>>) {
        self.agent_at(address, Secret::generated(self.token.clone()), installation, free())
    }

    fn agent_with(
        &self,
        token: Secret,
        installation: &Installation,
        held: Receiver<()>,
    ) -> (Shutdown, JoinHandle<Result<(), AgentError>>) {
        self.agent_at(self.broker.address, token, installation, held)
    }

    fn agent_at(
        &self,
        address: SocketAddr,
        token: Secret,
        installation: &Installation,
        held: Receiver<()>,
    ) -> (Shutdown, JoinHandle<Result<(), AgentError>>) {
        let config = Config {
            broker: rollmill_broker::url_of(address),
            token: Some(token),
            ..Config::default()
        };
        let process = Process::new("agent", config);
        let worker = Arc::new(Double { held: Mutex::new(held) });
        let agent = Agent::new(&process, worker).unwrap().installed(Some(installation.clone()));
        let shutdown = process.shutdown.clone();
        (shutdown, tokio::spawn(async move { agent.serve(&process.shutdown).await }))
    }

    async fn enqueue(&self) -> JobId {
        self.enqueue_input(b"input").await
    }

    async fn enqueue_input(&self, input: &[u8]) -> JobId {
        let input = self.operator.put_artifact(7, input.to_vec()).await.unwrap();
        let job = NewJob::new(7, &"leaf".parse().unwrap(), "v1".parse().unwrap(), input);
        self.operator.enqueue(vec![job.clone()]).await.unwrap();
        job.id
    }

    async fn until(&self, id: &JobId, state: JobState) {
        while self.operator.jobs(std::slice::from_ref(id)).await.unwrap()[0].state != state {
            tokio::task::yield_now().await;
        }
    }
}

/// Fault: an agent is killed while it holds a job. Goal: after its restart the job is done long before the lease would
/// have expired, and nobody is blamed.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_gets_back_at_once_what_it_held() {
    let lab = Lab::new().await;
    let installation = Installation::random();
    let (stuck, held) = channel();
    let (_, killed) = lab.agent(&installation, held);
    let id = lab.enqueue().await;
    lab.until(&id, JobState::Leased).await;
    killed.abort();
    let (shutdown, agent) = lab.agent(&installation, free());
    lab.until(&id, JobState::Done).await;
    shutdown.start();
    agent.await.unwrap().unwrap();
    let attempts = lab.operator.history(&id).await.unwrap().attempts;
    let outcomes: Vec<&str> = attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(outcomes, ["completed", "released"]);
    assert!(attempts.iter().all(|attempt| attempt.agent.as_str() == "gpu"));
    let failed = attempts.iter().filter_map(|attempt| attempt.failure.as_ref());
    assert_eq!(failed.map(|failure| failure.class).collect::<Vec<FailureClass>>(), []);
    drop(stuck);
    let seen = lab.operator.status().await.unwrap().agents.remove(0);
    assert_eq!(seen.info["resident_keys"][0], "leaf");
}

/// What an answer has that grants a job.
const GRANT: &[u8] = br#""grant":{"#;

/// Passes connections on to a broker. The first that carries a grant is cut before the agent has it.
async fn without_the_first_grant(broker: SocketAddr) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, is_cut) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let cut = Arc::clone(&is_cut);
    tokio::spawn(async move {
        loop {
            let (agent, _) = listener.accept().await.unwrap();
            let broker = TcpStream::connect(broker).await.unwrap();
            tokio::spawn(pass(agent, broker, Arc::clone(&cut)));
        }
    });
    (address, is_cut)
}

async fn pass(agent: TcpStream, broker: TcpStream, cut: Arc<AtomicBool>) {
    let (mut from_agent, mut to_agent) = agent.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    let requests = tokio::spawn(async move {
        // Whichever side ends first, the other learns of it.
        let _ = tokio::io::copy(&mut from_agent, &mut to_broker).await;
    });
    let mut bytes = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from_broker.read(&mut bytes).await {
        let is_grant = bytes[..read].windows(GRANT.len()).any(|window| window == GRANT);
        if is_grant && !cut.swap(true, Ordering::SeqCst) {
            break;
        }
        if to_agent.write_all(&bytes[..read]).await.is_err() {
            break;
        }
    }
    requests.abort();
}

/// Fault: the connection breaks under the answer with a grant, so that the broker has given a job to an agent that does not
/// know it. Goal: the agent gets it at once, and not when its lease has expired.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_whose_answer_was_lost_comes_again_at_once() {
    let lab = Lab::new().await;
    let (address, is_cut) = without_the_first_grant(lab.broker.address).await;
    let id = lab.enqueue().await;
    let (shutdown, agent) = lab.agent_by(address, &Installation::random());
    lab.until(&id, JobState::Done).await;
    assert!(is_cut.load(Ordering::SeqCst), "no grant was lost");
    shutdown.start();
    agent.await.unwrap().unwrap();
    let attempts = lab.operator.history(&id).await.unwrap().attempts;
    let outcomes: Vec<&str> = attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(outcomes, ["completed", "released"]);
}

/// Fault: the token of one agent is copied to another machine. Goal: the second one is turned away and says why; the
/// first works on.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_installation_of_an_identity_ends_with_its_reason() {
    let lab = Lab::new().await;
    let (shutdown, first) = lab.agent(&Installation::random(), free());
    let id = lab.enqueue().await;
    lab.until(&id, JobState::Done).await;
    let (_, second) = lab.agent(&Installation::random(), free());
    let error = second.await.unwrap().unwrap_err();
    let line = rollmill_service::one_line(&error);
    assert!(line.starts_with("AGT-020: ") && line.contains("--name"), "{line}");
    assert!(line.contains("another installation is alive as agent gpu"), "{line}");
    shutdown.start();
    first.await.unwrap().unwrap();
}

/// Fault: a token is rotated, and its overlap ends while the agent runs. Goal: the agent takes the other one from the file
/// and works on.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_needs_no_restart() {
    let lab = Lab::new().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.token");
    std::fs::write(&file, &lab.token).unwrap();
    let token = format!("file:{}", file.display()).parse().unwrap();
    let (shutdown, agent) = lab.agent_with(token, &Installation::random(), free());
    let id = lab.enqueue().await;
    lab.until(&id, JobState::Done).await;
    let rotation = Rotation { overlap_seconds: 3600, valid_seconds: None };
    let fresh = lab.operator.rotate_token(&"gpu".parse().unwrap(), &rotation).await.unwrap();
    std::fs::write(&file, &fresh.token).unwrap();
    let store = lab.schema.store().await;
    sqlx::query("UPDATE token SET previous_until = now() WHERE label = 'gpu'")
        .execute(store.pool())
        .await
        .unwrap();
    let old = lab.broker.client_with(Some(&lab.token));
    loop {
        match old.status().await {
            Err(error) if error.answer() == Answer::TokenRejected => break,
            _ => tokio::task::yield_now().await,
        }
    }
    let id = lab.enqueue_input(b"another input").await;
    let jobs = [id];
    while lab.operator.jobs(&jobs).await.unwrap()[0].state != JobState::Done {
        assert!(!agent.is_finished(), "the agent ended with the token that it had");
        tokio::task::yield_now().await;
    }
    shutdown.start();
    agent.await.unwrap().unwrap();
}
