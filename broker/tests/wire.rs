//! Replicas over HTTP: waiting, waking, rejecting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{agent, capability, job};
use rollmill_broker::Config;
use rollmill_broker::store::{Role, Tenant};
use rollmill_broker_client::{
    AgentId, ClaimRequest, Client, ClientError, CompleteOutcome, CompleteRequest, Digest, Grant,
    HeartbeatRequest, Incarnation, JobId, JobState, LeaseRef, ListQuery, NewJob, SizeClass,
};
use rollmill_broker_testing::{TestBroker, TestSchema};
use sqlx::Connection as _;

const WAIT: Duration = Duration::from_secs(20);

async fn enqueue(client: &Client, epoch: u64, kind: &str, input: &[u8]) -> NewJob {
    let digest = client.put_artifact(epoch, input.to_vec()).await.unwrap();
    let job = job(epoch, kind, digest);
    client.enqueue(vec![job.clone()]).await.unwrap();
    job
}

fn request(name: &str, wait: Duration) -> ClaimRequest {
    ClaimRequest {
        agent: agent(name),
        capabilities: crate::support::KINDS.map(capability).to_vec(),
        class: SizeClass::SMALLEST,
        wait_ms: u64::try_from(wait.as_millis()).unwrap(),
        info: serde_json::json!({ "software": "test" }),
        session: None,
    }
}

async fn claim(client: &Client, name: &str) -> Grant {
    client.claim(&request(name, WAIT)).await.unwrap().expect("a job is ready")
}

async fn complete(client: &Client, name: &str, grant: &Grant, body: &[u8]) -> CompleteOutcome {
    let result = client.put_artifact(grant.job.epoch(), body.to_vec()).await.unwrap();
    let lease = LeaseRef { job: grant.job.clone(), lease_epoch: grant.lease_epoch };
    let stats = serde_json::json!({ "rows": 5 });
    let agent: AgentId = agent(name);
    client.complete(&CompleteRequest { agent, lease, result, stats }).await.unwrap()
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    result.unwrap_err().broker_code().expect("the broker refused").to_owned()
}

#[tokio::test]
async fn a_job_goes_from_producer_to_agent_and_back() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { claim(&client, "a").await })
    };
    let job = enqueue(&client, 7, "leaf", b"input").await;
    let grant = waiting.await.unwrap();
    assert_eq!(grant.job, job.id);
    assert_eq!(client.get_artifact(&grant.job.input()).await.unwrap(), b"input");

    let producer = {
        let (client, id) = (client.clone(), job.id.clone());
        tokio::spawn(async move { client.wait(&[id], WAIT).await.unwrap().jobs })
    };
    assert_eq!(complete(&client, "a", &grant, b"proof").await, CompleteOutcome::Accepted);
    let done = producer.await.unwrap().remove(0);
    assert_eq!(done.state, JobState::Done);
    assert_eq!(done.stats.unwrap()["rows"], 5);
    assert_eq!(client.get_artifact(&done.result.unwrap()).await.unwrap(), b"proof");
    let status = client.status().await.unwrap();
    assert_eq!(status.agents[0].agent, agent("a"));
    broker.stop().await;
}

#[tokio::test]
async fn a_replica_wakes_on_the_notification_of_another() {
    let schema = TestSchema::new().await;
    let (first, second) = (schema.broker().await, schema.broker().await);
    let waiting = {
        let client = second.client();
        tokio::spawn(async move { claim(&client, "a").await })
    };
    let job = enqueue(&first.client(), 7, "leaf", b"input").await;
    let grant = waiting.await.unwrap();
    assert_eq!(grant.job, job.id);
    let producer = {
        let client = first.client();
        tokio::spawn(async move { client.wait(&[job.id], WAIT).await.unwrap().jobs })
    };
    complete(&second.client(), "a", &grant, b"proof").await;
    assert_eq!(producer.await.unwrap()[0].state, JobState::Done);
}

/// Goal: one grant per job, whichever agent asks which replica. Method: 60 jobs, 8 agents at two replicas of one
/// database, each claiming until all are done. Leases outlast any machine's slowness.
#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_never_grant_one_job_twice() {
    const JOBS: usize = 60;
    const LAST: u64 = 8;
    let long = Config { lease_seconds: 3_600, hard_limit_seconds: 3_600, ..Config::default() };
    let schema = TestSchema::new().await;
    let brokers = [schema.broker_with(long.clone()).await, schema.broker_with(long).await];
    let completed = Arc::new(AtomicUsize::new(0));
    let mut agents = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (client, completed) = (brokers[n % 2].client(), Arc::clone(&completed));
        agents.spawn(async move {
            let name = format!("agent-{n}");
            let mut done = Vec::new();
            loop {
                let grant = claim(&client, &name).await;
                complete(&client, &name, &grant, grant.job.as_str().as_bytes()).await;
                if grant.job.epoch() == LAST {
                    break;
                }
                completed.fetch_add(1, Ordering::SeqCst);
                done.push((grant.job, grant.lease_epoch.0));
            }
            done
        });
    }
    let client = brokers[0].client();
    for n in 0..JOBS {
        enqueue(&client, 7, "leaf", &n.to_be_bytes()).await;
    }
    while completed.load(Ordering::SeqCst) < JOBS {
        tokio::task::yield_now().await;
    }
    // One more job for each agent, which ends it.
    for n in 0..8u64 {
        enqueue(&client, LAST, "leaf", &n.to_be_bytes()).await;
    }
    let mut granted: Vec<(JobId, u64)> = agents.join_all().await.into_iter().flatten().collect();
    assert_eq!(granted.len(), JOBS);
    granted.sort();
    granted.dedup_by(|a, b| a.0 == b.0);
    assert_eq!(granted.len(), JOBS, "no job was granted twice");
    assert!(granted.iter().all(|(_, epoch)| *epoch == 1), "each was granted once");
}

#[tokio::test]
async fn an_agent_that_disconnects_leaves_no_job_leased() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    for _ in 0..3 {
        // The future is dropped, and with it the connection, while the broker holds the request.
        let request = request("gone", WAIT);
        let mut hangs = Box::pin(client.claim(&request));
        let polled = tokio::time::timeout(Duration::from_millis(50), &mut hangs).await;
        assert!(polled.is_err());
    }
    let job = enqueue(&client, 7, "leaf", b"input").await;
    let grant = claim(&client, "a").await;
    assert_eq!(grant.job, job.id);
}

#[tokio::test]
async fn a_claim_ends_empty_when_its_time_is_over() {
    let broker = TestSchema::new().await.broker().await;
    let claimed = broker.client().claim(&request("a", Duration::from_millis(20))).await.unwrap();
    assert!(claimed.is_none());
    let none = broker.client().wait(&[job(7, "leaf", Digest::of(b"x")).id], Duration::ZERO).await;
    assert!(none.unwrap().jobs.is_empty());
}

#[tokio::test]
async fn shutdown_answers_those_who_wait() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    let waiting = tokio::spawn(async move { client.claim(&request("a", WAIT)).await });
    while metric(&broker, "rollmill_broker_waiting_agents") < 1.0 {
        tokio::task::yield_now().await;
    }
    broker.stop().await;
    assert!(waiting.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn an_upload_with_another_digest_is_rejected() {
    let broker = TestSchema::new().await.broker().await;
    let http = rollmill_service::untimed_http_client();
    let address = rollmill_broker::url_of(broker.address);
    let put = |digest: String, body: Vec<u8>| {
        let url = format!("{address}/v1/artifacts/{digest}?epoch=1");
        http.put(url).body(body).send()
    };
    let digest = Digest::of(b"good").to_string();
    assert_eq!(put(digest.clone(), b"bad".to_vec()).await.unwrap().status(), 422);
    assert_eq!(put("zz".into(), b"good".to_vec()).await.unwrap().status(), 400);
    let missing = http.get(format!("{address}/v1/artifacts/{digest}")).send().await.unwrap();
    assert_eq!(missing.status(), 404);
    assert_eq!(put(digest, b"good".to_vec()).await.unwrap().status(), 204);
}

/// Goal: damage at rest is found on reading, wherever the bytes are stored, and uploading the
/// bytes again repairs it.
#[tokio::test]
async fn an_artifact_damaged_at_rest_is_never_served() {
    let schema = TestSchema::new().await;
    let broker = schema.broker().await;
    let client = broker.client();
    let small = client.put_artifact(7, b"small".to_vec()).await.unwrap();
    let large_body = vec![7; rollmill_broker::store::ROW_ARTIFACT_BYTES_MAX + 1];
    let large = client.put_artifact(7, large_body.clone()).await.unwrap();
    assert_eq!(client.get_artifact(&large).await.unwrap(), large_body);

    let store = schema.store().await;
    sqlx::query("UPDATE artifact_body SET body = 'smell'").execute(store.pool()).await.unwrap();
    let object = schema.objects().join(format!("default/7/{large}"));
    let mut bytes = std::fs::read(&object).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&object, bytes).unwrap();
    for digest in [small, large] {
        assert_eq!(code(client.get_artifact(&digest).await), "BRK-026");
    }
    std::fs::remove_file(&object).unwrap();
    assert_eq!(code(client.get_artifact(&large).await), "BRK-026");

    client.put_artifact(7, b"small".to_vec()).await.unwrap();
    client.put_artifact(7, large_body.clone()).await.unwrap();
    assert_eq!(client.get_artifact(&small).await.unwrap(), b"small");
    assert_eq!(client.get_artifact(&large).await.unwrap(), large_body);
}

#[tokio::test]
async fn what_is_too_large_or_unknown_is_rejected_with_a_code() {
    let config = Config { artifact_bytes_max: 1000, ..Config::default() };
    let broker = TestSchema::new().await.broker_with(config).await;
    let client = broker.client();
    assert_eq!(code(client.put_artifact(1, vec![0; 1001]).await), "BRK-017");
    assert_eq!(code(client.get_artifact(&Digest::of(b"none")).await), "BRK-014");
    assert_eq!(code(client.enqueue(vec![job(1, "leaf", Digest::of(b"none"))]).await), "BRK-013");

    let http = rollmill_service::untimed_http_client();
    let address = rollmill_broker::url_of(broker.address);
    for (path, body) in [
        ("/v1/claim", r#"{"agent":"a","capabilities":[],"class":0,"wait_ms":0,"more":1}"#),
        ("/v1/claim", r#"{"agent":"a b","capabilities":[],"class":0,"wait_ms":0}"#),
        ("/v1/claim", r#"{"agent":"a","capabilities":[],"class":9,"wait_ms":0}"#),
        ("/v1/jobs", r#"{"jobs":[{"id":"07:leaf:00"}]}"#),
        ("/v1/jobs", "{"),
        ("/v1/fail", "null"),
    ] {
        let request =
            http.post(format!("{address}{path}")).header("content-type", "application/json");
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{path} {body}");
        let answer: rollmill_broker_client::ErrorBody = answer.json().await.unwrap();
        assert_eq!(answer.code, "BRK-010", "{path} {body}");
    }
}

/// Goal: more requests at once than the settings allow are answered 503, and the client comes back;
/// heartbeats and outcomes have places of their own. Method: a lock in the database holds a request in
/// the only place.
#[tokio::test]
async fn overload_is_answered_503_and_leases_stay_alive() {
    let schema = TestSchema::new().await;
    let config = Config { requests_max: 1, ..Config::default() };
    let broker = schema.broker_with(config).await;
    let client = broker.client();
    enqueue(&client, 7, "leaf", b"input").await;
    let grant = claim(&client, "a").await;
    client.put_artifact(7, b"proof".to_vec()).await.unwrap();

    let store = schema.store().await;
    let mut lock = store.pool().begin().await.unwrap();
    let statement = "LOCK TABLE named_lease IN ACCESS EXCLUSIVE MODE";
    sqlx::query(statement).execute(&mut *lock).await.unwrap();
    let held = {
        let client = client.clone();
        let start = Incarnation::random();
        tokio::spawn(async move { client.acquire_name("n", &agent("a"), &start, WAIT).await })
    };
    let http = rollmill_service::untimed_http_client();
    let url = format!("http://{}/v1/jobs/query", broker.address);
    let rejected = loop {
        let request = http.post(&url).header("content-type", "application/json");
        let answer = request.body(r#"{"ids":[]}"#).send().await.unwrap();
        if answer.status() == 503 {
            break answer;
        }
    };
    assert_eq!(rejected.headers()["retry-after"], "1");
    let lease = LeaseRef { job: grant.job.clone(), lease_epoch: grant.lease_epoch };
    let beat = HeartbeatRequest { agent: agent("a"), leases: vec![lease.clone()] };
    assert_eq!(client.heartbeat(&beat).await.unwrap().cancel, []);
    let (result, stats) = (Digest::of(b"proof"), serde_json::Value::Null);
    let done = CompleteRequest { agent: agent("a"), lease, result, stats };
    assert_eq!(client.complete(&done).await.unwrap(), CompleteOutcome::Accepted);

    let patient = tokio::spawn(async move { client.status().await });
    lock.rollback().await.unwrap();
    assert!(held.await.unwrap().unwrap().held);
    patient.await.unwrap().unwrap();
}

/// Fault: more clients than there are places send half a body and stay. They take no place, so every
/// route still responds.
#[tokio::test]
async fn half_sent_bodies_take_no_place() {
    let config = Config { requests_max: 2, ..Config::default() };
    let broker = TestSchema::new().await.broker_with(config).await;
    let mut slow = Vec::new();
    for path in ["/v1/jobs/query", "/v1/heartbeat", "/v1/complete", "/v1/jobs"].repeat(20) {
        let mut stream = tokio::net::TcpStream::connect(broker.address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: 100\r\n\r\n{{"
        );
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let client = broker.client();
    let job = enqueue(&client, 7, "leaf", b"input").await;
    let grant = claim(&client, "a").await;
    assert_eq!(grant.job, job.id);
    assert_eq!(complete(&client, "a", &grant, b"proof").await, CompleteOutcome::Accepted);
    assert_eq!(metric(&broker, "rollmill_broker_refusals_total").round() as i64, 0);
    // Nor do they delay the end by more than the time for half-read bodies.
    broker.stop().await;
    drop(slow);
}

#[tokio::test]
async fn a_token_opens_what_its_role_may_do_and_nothing_else() {
    let schema = TestSchema::new().await;
    let store = schema.store().await;
    let tenant = Tenant::default();
    let agent_token = store.add_token("agents", Role::Agent, &tenant).await.unwrap();
    let producer_token = store.add_token("prover", Role::Producer, &tenant).await.unwrap();
    let other_token =
        store.add_token("other", Role::Producer, &Tenant("other".into())).await.unwrap();
    let broker = schema.broker().await;

    assert_eq!(code(broker.client().status().await), "BRK-023");
    assert_eq!(code(broker.client_with(Some("rm_wrong")).status().await), "BRK-023");
    // As it is read from a file.
    let agents = broker.client_with(Some(&format!("{agent_token}\n")));
    let broken = Client::new("http://127.0.0.1:1", Some("rm_1\nrm_2"), Default::default());
    let broken = broken.unwrap_err();
    assert_eq!(broken.answer(), rollmill_broker_client::Answer::TokenRejected, "{broken}");
    let producer = broker.client_with(Some(&producer_token));
    let job = enqueue(&producer, 7, "leaf", b"input").await;
    assert_eq!(code(agents.enqueue(vec![job.clone()]).await), "BRK-024");
    assert_eq!(code(producer.claim(&request("a", Duration::ZERO)).await), "BRK-024");
    assert_eq!(code(producer.pardon(&agent("a")).await), "BRK-024");
    let other = broker.client_with(Some(&other_token));
    assert!(other.jobs(std::slice::from_ref(&job.id)).await.unwrap().is_empty());
    assert_eq!(claim(&agents, "a").await.job, job.id);

    let stored: Vec<u8> = sqlx::query_scalar("SELECT hash FROM token WHERE label = 'agents'")
        .fetch_one(store.pool())
        .await
        .unwrap();
    assert_ne!(stored, agent_token.as_bytes());
}

#[tokio::test]
async fn a_broker_on_a_public_address_does_not_start_without_a_token() {
    let schema = TestSchema::new().await;
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let process = rollmill_service::Process::new("broker", Config::default());
    let store = schema.store().await;
    let error = rollmill_broker::serve(&process, store, listener).await.unwrap_err();
    assert!(error.to_string().starts_with("BRK-005"), "{error}");
}

#[tokio::test]
async fn of_two_submitters_one_holds_the_name_and_the_fence_grows() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    let name = "submitter/0x01";
    let (one, two) = (agent("one"), agent("two"));
    let (start, other) = (Incarnation::random(), Incarnation::random());
    let first = client.acquire_name(name, &one, &start, WAIT).await.unwrap();
    assert!(first.held);
    let rejected = client.acquire_name(name, &two, &other, WAIT).await.unwrap();
    assert!(!rejected.held);
    assert_eq!(rejected.holder, Some(one.clone()));

    let zero = Duration::ZERO;
    assert!(client.renew_name(name, &one, &start, first.fence, zero).await.unwrap().held);
    let second = client.acquire_name(name, &two, &other, WAIT).await.unwrap();
    assert!(second.held, "the first one's time was over");
    assert!(second.fence > first.fence);
    assert!(!client.renew_name(name, &one, &start, first.fence, WAIT).await.unwrap().held);
    client.release_name(name, &one, &start, first.fence).await.unwrap();
    assert!(client.renew_name(name, &two, &other, second.fence, WAIT).await.unwrap().held);
    client.release_name(name, &two, &other, second.fence).await.unwrap();
    let third = client.acquire_name(name, &one, &start, WAIT).await.unwrap();
    assert!(third.held && third.fence > second.fence);
}

/// Goal: two processes that share a holder's name, such as two containers with process id 1 or a
/// process and the one started in its place, never both hold a name.
#[tokio::test]
async fn a_second_live_incarnation_of_a_holder_is_rejected() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    let (name, holder) = ("submitter/0x01", agent("node-1"));
    let (one, two) = (Incarnation::random(), Incarnation::random());
    let first = client.acquire_name(name, &holder, &one, WAIT).await.unwrap();
    assert_eq!((first.held, first.incarnation.as_ref()), (true, Some(&one)));
    let second = client.acquire_name(name, &holder, &two, WAIT).await.unwrap();
    assert!(!second.held);
    assert_eq!((second.holder.as_ref(), second.incarnation.as_ref()), (Some(&holder), Some(&one)));
    assert_eq!(second.fence, first.fence, "a rejection issues no fence");
    // Nor does the other one renew or release what it does not hold.
    assert!(!client.renew_name(name, &holder, &two, first.fence, WAIT).await.unwrap().held);
    client.release_name(name, &holder, &two, first.fence).await.unwrap();
    let again = client.acquire_name(name, &holder, &one, WAIT).await.unwrap();
    assert!(again.held && again.fence > first.fence, "the same process acquires it again");
    assert!(!client.renew_name(name, &holder, &one, first.fence, WAIT).await.unwrap().held);
    client.release_name(name, &holder, &one, again.fence).await.unwrap();
    let third = client.acquire_name(name, &holder, &two, WAIT).await.unwrap();
    assert!(third.held && third.fence > again.fence, "released, so free");
}

/// Goal: a fence is issued once. Method: whatever ends a lease, the row stays, and the database
/// itself refuses to delete it.
#[tokio::test]
async fn no_row_of_a_named_lease_can_be_deleted() {
    let schema = TestSchema::new().await;
    let (broker, store) = (schema.broker().await, schema.store().await);
    let (holder, one) = (agent("node-1"), Incarnation::random());
    let client = broker.client();
    let first = client.acquire_name("n", &holder, &one, WAIT).await.unwrap();
    for statement in ["DELETE FROM named_lease", "TRUNCATE named_lease"] {
        let error = sqlx::query(statement).execute(store.pool()).await.unwrap_err();
        assert!(error.to_string().contains("never deleted"), "{error}");
    }
    let second = client.acquire_name("n", &holder, &one, WAIT).await.unwrap();
    assert!(second.fence > first.fence);
}

/// Goal: any number of ids in one call. Method: 2,500 jobs, of which one is done.
#[tokio::test]
async fn lists_beyond_a_batch_are_sent_in_parts() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    let bodies: Vec<Vec<u8>> = (0..2_500_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    let inputs = client.put_artifacts(1, bodies.clone()).await.unwrap();
    let jobs: Vec<NewJob> = inputs.iter().map(|input| job(1, "leaf", *input)).collect();
    let views = client.enqueue(jobs.clone()).await.unwrap();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
    assert_eq!(views.iter().map(|view| view.id.clone()).collect::<Vec<_>>(), ids);
    assert_eq!(client.jobs(&ids).await.unwrap().len(), 2_500);
    assert!(client.wait(&ids, Duration::ZERO).await.unwrap().jobs.is_empty());
    let grant = claim(&client, "a").await;
    complete(&client, "a", &grant, b"proof").await;
    let done = client.wait(&ids, WAIT).await.unwrap().jobs;
    assert_eq!(done.iter().map(|view| &view.id).collect::<Vec<_>>(), [&grant.job]);
    let open = ListQuery { state: Some(JobState::Ready), ..ListQuery::default() };
    let listed = client.list_all(&open).await.unwrap();
    let mut listed: Vec<JobId> = listed.into_iter().map(|view| view.id).collect();
    listed.sort();
    let mut unfinished: Vec<JobId> = ids.iter().filter(|id| **id != grant.job).cloned().collect();
    unfinished.sort();
    assert_eq!(listed.len(), 2_499);
    assert_eq!(listed, unfinished);
    assert_eq!(client.cancel(&ids).await.unwrap(), 2_499);

    for (digest, body) in inputs.iter().zip(&bodies).step_by(100) {
        assert_eq!(client.get_artifact(digest).await.unwrap(), *body);
    }
}

/// Goal: each answer of the broker has one meaning for its clients. Method: every error that goes
/// over the wire, with the status and code that it is answered with.
#[test]
fn every_error_that_the_broker_answers_with_has_a_meaning() {
    use rollmill_broker::BrokerError as E;
    use rollmill_broker_client::{Answer, Code};
    let (digest, lease) = (Digest::of(b"x"), rollmill_broker_client::LeaseEpoch(1));
    let id = job(7, "leaf", digest).id;
    let errors = [
        (E::BadRequest { message: "m".into() }, Answer::Incompatible),
        (E::UnknownJob { id: id.clone() }, Answer::UnknownJob),
        (E::VersionConflict { id: id.clone() }, Answer::VersionConflict),
        (E::NotUploaded { digest }, Answer::NotUploaded),
        (E::UnknownArtifact { digest }, Answer::UnknownArtifact),
        (E::DigestMismatch { wanted: digest, got: digest }, Answer::DigestMismatch),
        (E::ArtifactLost { digest, reopened: 1 }, Answer::ArtifactLost),
        (E::TooLarge { what: "x", max: 1 }, Answer::TooLarge),
        (E::LeaseLost { job: id.clone(), held: lease, current: lease }, Answer::LeaseLost),
        (E::Quarantined { agent: agent("a") }, Answer::Quarantined),
        (E::Cancelled { id: id.clone() }, Answer::Cancelled),
        (E::AlreadyRejected { id }, Answer::RejectedBefore),
        (E::UnknownPath, Answer::Incompatible),
        (E::UnknownToken { label: "t".into() }, Answer::Incompatible),
        (E::LabelTaken { label: "t".into() }, Answer::Incompatible),
        (E::CertificateTaken { certificate: "c".into() }, Answer::Incompatible),
        (E::NoSecret { label: "t".into() }, Answer::Incompatible),
        (E::TokenSuspended { label: "t".into() }, Answer::TokenRejected),
        (E::IdentityTaken { agent: agent("a") }, Answer::IdentityTaken),
        (E::UnknownSession { agent: agent("a") }, Answer::UnknownSession),
        (E::TooManyRequests { what: "x", max: 1, retry_seconds: 1 }, Answer::Transient),
        (E::WrongMethod, Answer::Incompatible),
        (E::Overloaded, Answer::Transient),
        (E::Unauthorized, Answer::TokenRejected),
        (E::Forbidden, Answer::TokenRejected),
        (E::Objects { source: "away".into() }, Answer::Transient),
        (E::EpochClosing { epoch: 7 }, Answer::EpochEnded),
        (E::EpochGone { epoch: 7 }, Answer::EpochEnded),
        (E::EpochsOpen { most: 64 }, Answer::Transient),
        (E::DiskFull { free_percent: 3.0 }, Answer::Transient),
    ];
    for (error, meaning) in &errors {
        assert_eq!(Answer::of(error.status(), Some(error.code())), *meaning, "{error}");
        assert_eq!(error.wire_code().map(Code::status), Some(error.status()), "{error}");
    }
    // Only the database's own error is missing: it cannot be built here.
    let served: Vec<Code> = errors.iter().filter_map(|(e, _)| Code::parse(e.code())).collect();
    let missing: Vec<Code> = Code::ALL.into_iter().filter(|c| !served.contains(c)).collect();
    assert_eq!(missing, [Code::Database]);
}

#[tokio::test]
async fn metrics_show_what_happened() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    enqueue(&client, 7, "leaf", b"input").await;
    let grant = claim(&client, "a").await;
    complete(&client, "a", &grant, b"proof").await;
    assert!(metric(&broker, "rollmill_broker_claims_total") >= 1.0);
    assert!(metric(&broker, "rollmill_broker_attempts_ended_total") >= 1.0);
    assert!(metric(&broker, "rollmill_broker_artifact_bytes_total") >= 10.0);
    assert_eq!(code(client.get_artifact(&Digest::of(b"none")).await), "BRK-014");
    assert!(metric(&broker, "rollmill_broker_refusals_total") >= 1.0);
}

/// Fault: the table of jobs is locked, so that statements get no answer. The broker says that it is not
/// ready, and that it is again once they do.
#[tokio::test]
async fn readiness_follows_the_database() {
    let schema = TestSchema::new().await;
    let broker = schema.broker().await;
    let ready = || {
        let families = broker.metrics.gather();
        let of = |name: &str| families.iter().find(|family| family.name() == name);
        let mut conditions = of("rollmill_condition")?.get_metric().iter();
        let condition = conditions.find(|of| of.get_label()[0].value() == "database")?;
        Some(condition.get_gauge().get_value() > 0.5)
    };
    let reach = async |wanted: bool| {
        while ready() != Some(wanted) {
            tokio::task::yield_now().await;
        }
    };
    reach(true).await;
    let mut locker = sqlx::PgConnection::connect_with(&schema.connect_options()).await.unwrap();
    let mut lock = locker.begin().await.unwrap();
    sqlx::query("LOCK TABLE job IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    reach(false).await;
    lock.rollback().await.unwrap();
    reach(true).await;
}

/// Goal: a rate over the first event of a series can be computed, so each series is there before.
#[tokio::test]
async fn every_series_whose_labels_are_known_is_there_from_the_start() {
    let broker = TestSchema::new().await.broker().await;
    let client = broker.client();
    // It answers, so it has started.
    client.status().await.unwrap();
    let families = broker.metrics.gather();
    let series = |name: &str| {
        let full = format!("rollmill_broker_{name}");
        families.iter().find(|family| family.name() == full).map_or(0, |f| f.get_metric().len())
    };
    assert_eq!(series("attempts_ended_total"), 17);
    assert_eq!(series("fence_refusals_total"), 5);
    assert_eq!(series("artifact_bytes_total"), 4);
    assert_eq!(series("refusals_total"), rollmill_broker_client::Code::ALL.len());
    assert_eq!(series("requests_total"), 3 * rollmill_broker_client::routes::RouteName::ALL.len());
    enqueue(&client, 7, "leaf", b"input").await;
    let kinds = broker.metrics.gather();
    let claims = kinds.iter().find(|f| f.name() == "rollmill_broker_claims_total").unwrap();
    assert!(claims.get_metric()[0].get_counter().get_value() < 0.5, "there before its first claim");
}

fn metric(broker: &TestBroker, name: &str) -> f64 {
    let families = broker.metrics.gather();
    let Some(family) = families.iter().find(|family| family.name() == name) else { return 0.0 };
    let value = |m: &rollmill_service::prometheus::proto::Metric| {
        m.get_counter().get_value() + m.get_gauge().get_value()
    };
    family.get_metric().iter().map(value).sum()
}
