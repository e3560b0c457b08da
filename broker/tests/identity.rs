//! Who a caller is: tokens that end, rotate, and are suspended; identities from tokens; sessions; and the record.

use std::time::Duration;

use crate::support::{self, Bench, agent, capability, digest, job};
use rollmill_broker::BrokerError;
use rollmill_broker::store::{Arrival, Opening, Role, Rules, Store, Tenant};
use rollmill_broker_client::{
    AuditQuery, ClaimRequest, Client, ClientError, CompleteRequest, HeartbeatRequest, Installation,
    JobState, LeaseRef, NewToken, Rotation, SessionDevice, SessionId, SessionRequest,
    SessionResponse, SizeClass, TokenLabel, TokenSecret, TokenState, TokenView,
};
use rollmill_broker_testing::{TestBroker, TestSchema};

pub(crate) fn label(text: &str) -> TokenLabel {
    text.parse().unwrap()
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    result.unwrap_err().broker_code().unwrap().to_owned()
}

/// A broker with an operator, and clients of its tokens.
pub(crate) struct Lab {
    pub(crate) schema: TestSchema,
    pub(crate) store: Store,
    pub(crate) broker: TestBroker,
    pub(crate) operator: Client,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::with(Rules::default()).await
    }

    pub(crate) async fn with(rules: Rules) -> Self {
        let schema = TestSchema::with(rules).await;
        let store = schema.store().await;
        let new = often("me", Role::Operator);
        let token = store.create_token(&Tenant::default(), &new).await.unwrap().token;
        let broker = schema.broker().await;
        let operator = once(&broker, &token);
        Self { schema, store, broker, operator }
    }

    pub(crate) async fn add(&self, name: &str, role: Role) -> Client {
        let secret = self.operator.add_token(&often(name, role)).await.unwrap();
        once(&self.broker, &secret.token)
    }

    pub(crate) async fn view(&self, name: &str) -> TokenView {
        let tokens = self.operator.tokens().await.unwrap();
        tokens.into_iter().find(|token| token.label == name).unwrap()
    }

    /// A ready job of its own input.
    pub(crate) async fn ready(&self, input: &str) {
        let tenant = Tenant::default();
        let input = input.as_bytes();
        self.store.put_artifact(&tenant, 7, digest(input), input.to_vec()).await.unwrap();
        self.store.enqueue(&tenant, &[job(7, "leaf", digest(input))]).await.unwrap();
    }

    /// Lets the client's agent of this name do a job wrongly, and its producer notice.
    pub(crate) async fn wrong(&self, client: &Client, request: &ClaimRequest, n: usize) {
        self.ready(&format!("wrong {n}")).await;
        let grant = client.claim(request).await.unwrap().expect("a job is ready");
        let body = format!("result {n}").into_bytes();
        let result = client.put_artifact(7, body).await.unwrap();
        let complete = CompleteRequest::new(request.agent.clone(), grant.lease(), result);
        client.complete(&complete).await.unwrap();
        self.operator.reject(&grant.job, result, "as the test says").await.unwrap();
        self.operator.cancel(&[grant.job]).await.unwrap();
    }
}

/// A token for tests that ask until something changes.
pub(crate) fn often(name: &str, role: Role) -> NewToken {
    NewToken { requests_per_second: Some(1_000_000), ..NewToken::new(name, role) }
}

/// A client that tries once.
pub(crate) fn once(broker: &TestBroker, token: &str) -> Client {
    let options = rollmill_broker_client::Options {
        patience: Duration::ZERO,
        timeout: Duration::from_secs(20),
    };
    broker.client_with(Some(token)).with_options(options)
}

pub(crate) fn claim(name: &str) -> ClaimRequest {
    let mut claim = ClaimRequest::new(agent(name), support::KINDS.map(capability).to_vec());
    claim.wait_ms = 0;
    claim
}

/// Waits until a condition holds: replicas read the tokens every second.
#[track_caller]
pub(crate) fn soon(mut holds: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let until = async {
            while !holds().await {
                tokio::task::yield_now().await;
            }
        };
        let held = tokio::time::timeout(Duration::from_secs(60), until).await;
        assert!(held.is_ok(), "{caller}: it did not come to hold");
    }
}

/// Goal: an operator manages tokens while brokers run, and each replica follows. That it takes at most 2 s is a rule
/// beside the pause between two readings.
#[tokio::test]
async fn a_token_is_created_rotated_and_revoked_and_every_replica_follows() {
    let lab = Lab::new().await;
    let other = lab.schema.broker().await;
    let new = NewToken { valid_seconds: Some(3600), ..often("viewer", Role::Reader) };
    let TokenSecret { token, .. } = lab.operator.add_token(&new).await.unwrap();
    let shown = format!("{:?}", TokenSecret { label: "viewer".into(), token: token.clone() });
    assert!(!shown.contains(&token), "{shown}");
    let at = |broker: &TestBroker| once(broker, &token);
    // At once where it was made.
    at(&lab.broker).status().await.unwrap();
    soon(async || at(&other).status().await.is_ok()).await;

    let how = Rotation { overlap_seconds: 3600, valid_seconds: None };
    let next = lab.operator.rotate_token(&label("viewer"), &how).await.unwrap().token;
    let rotated = once(&other, &next);
    soon(async || rotated.status().await.is_ok()).await;
    at(&other).status().await.expect("the secret before is valid too");
    let view = lab.view("viewer").await;
    assert_eq!(view.state, TokenState::Valid);
    assert!(view.previous_until_unix_ms.is_some() && view.expires_unix_ms.is_some());
    // The overlap is over. The secret after it stays.
    sqlx::query("UPDATE token SET previous_until = now() WHERE label = 'viewer'")
        .execute(lab.store.pool())
        .await
        .unwrap();
    soon(async || at(&other).status().await.is_err()).await;
    rotated.status().await.unwrap();

    lab.operator.revoke_token(&label("viewer")).await.unwrap();
    soon(async || rotated.status().await.is_err()).await;
    assert_eq!(code(rotated.status().await), "BRK-023");
    assert_eq!(lab.view("viewer").await.state, TokenState::Revoked);
    assert_eq!(code(lab.operator.revoke_token(&label("viewer")).await), "BRK-028");
    assert_eq!(code(lab.operator.rotate_token(&label("viewer"), &how).await), "BRK-028");
    // A label is used once, and the database has no secret.
    assert_eq!(code(lab.operator.add_token(&new).await), "BRK-049");
    let rows: Vec<String> = sqlx::query_scalar("SELECT t::text FROM token AS t")
        .fetch_all(lab.store.pool())
        .await
        .unwrap();
    for secret in [&token, &next] {
        assert!(rows.iter().all(|row| !row.contains(secret.trim_start_matches("rm_"))));
    }
}

/// Goal: a token opens nothing after its end.
#[tokio::test]
async fn a_token_ends_when_its_time_is_over() {
    let lab = Lab::new().await;
    let reader = lab.add("short", Role::Reader).await;
    reader.status().await.unwrap();
    sqlx::query("UPDATE token SET expires_at = now() WHERE label = 'short'")
        .execute(lab.store.pool())
        .await
        .unwrap();
    soon(async || reader.status().await.is_err()).await;
    assert_eq!(code(reader.status().await), "BRK-023");
    assert_eq!(lab.view("short").await.state, TokenState::Expired);
    let how = Rotation::default();
    assert_eq!(code(lab.operator.rotate_token(&label("short"), &how).await), "BRK-028");
}

/// Goal: a wrong token is told with the value and its bounds, and none is made.
#[tokio::test]
async fn a_token_that_cannot_be_is_rejected_with_its_bounds() {
    let store = TestSchema::new().await.store().await;
    let tenant = Tenant::default();
    let new = NewToken::new;
    let long = "x".repeat(61);
    for (token, part) in [
        (new("", Role::Reader), "1 to 60 characters"),
        (new(&long, Role::Reader), "1 to 60 characters"),
        (new("a b", Role::Reader), "1 to 60 characters"),
        (new("..", Role::Reader), "more than dots"),
        (new("farm.7", Role::Fleet), "label of a fleet has 1 to 40"),
        (new("gpu.7", Role::Agent), "has no dot"),
        (
            NewToken { agent: Some(agent("a")), ..new("t", Role::Fleet) },
            "only a token of the role agent",
        ),
        (NewToken { tenant: Some("a b".into()), ..new("t", Role::Reader) }, "tenant has 1 to 60"),
        (
            NewToken { valid_seconds: Some(0), ..new("t", Role::Reader) },
            "valid_seconds is 0; it is 1 to",
        ),
        (NewToken { valid_seconds: Some(u64::MAX), ..new("t", Role::Reader) }, "valid_seconds is"),
        (
            NewToken { requests_per_second: Some(0), ..new("t", Role::Reader) },
            "requests_per_second is 0",
        ),
        (NewToken { connections: Some(0), ..new("t", Role::Reader) }, "connections is 0"),
    ] {
        let error = store.create_token(&tenant, &token).await.unwrap_err();
        assert!(matches!(error, BrokerError::BadRequest { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}: {part}");
    }
    assert!(store.tokens(None).await.unwrap().is_empty());
}

/// Goal: a tenant's operator has no hand in another tenant.
#[tokio::test]
async fn an_operator_of_a_tenant_manages_the_tokens_of_that_tenant_alone() {
    let lab = Lab::new().await;
    let of = |name: &str, role, tenant: &str| NewToken {
        tenant: Some(tenant.into()),
        ..NewToken::new(name, role)
    };
    let made = lab.operator.add_token(&of("boss", Role::Operator, "eleven")).await.unwrap();
    let boss = once(&lab.broker, &made.token);
    assert_eq!(code(boss.add_token(&of("x", Role::Reader, "default")).await), "BRK-024");
    boss.add_token(&NewToken::new("own", Role::Reader)).await.unwrap();
    assert_eq!(lab.view("own").await.tenant, "eleven");
    let seen: Vec<String> =
        boss.tokens().await.unwrap().into_iter().map(|token| token.label).collect();
    assert_eq!(seen, ["boss", "own"]);
    for done in [
        boss.revoke_token(&label("me")).await,
        boss.rotate_token(&label("me"), &Rotation::default()).await.map(drop),
        boss.resume_token(&label("me")).await.map(drop),
    ] {
        assert_eq!(code(done), "BRK-028");
    }
    let record = boss.audit(&AuditQuery::default()).await.unwrap();
    let seen: Vec<&str> = record.entries.iter().map(|entry| entry.by.as_str()).collect();
    assert_eq!(seen, ["boss", "me"]);
    lab.operator.status().await.unwrap();
}

/// Goal: an agent is who its token says, whatever it calls itself. Fault: F9 of a renamed agent.
#[tokio::test]
async fn an_identity_comes_from_the_token() {
    let lab = Lab::new().await;
    let one = lab.add("gpu-7", Role::Agent).await;
    let fleet = lab.add("farm", Role::Fleet).await;
    lab.ready("a").await;
    lab.ready("b").await;
    let first = one.claim(&claim("whatever")).await.unwrap().unwrap();
    let second = fleet.claim(&claim("gpu-7")).await.unwrap().unwrap();
    let ids = [first.job.clone(), second.job.clone()];
    let jobs = lab.operator.jobs(&ids).await.unwrap();
    let holders: Vec<&str> =
        jobs.iter().map(|job| job.lease.as_ref().unwrap().agent.as_str()).collect();
    assert_eq!(holders, ["gpu-7", "farm.gpu-7"]);
    // Each keeps its own lease under any name, and nobody else's under its name.
    let beat = async |client: &Client, name: &str, lease: &LeaseRef| {
        let request = HeartbeatRequest { agent: agent(name), leases: vec![lease.clone()] };
        client.heartbeat(&request).await.unwrap().cancel.is_empty()
    };
    assert!(beat(&one, "renamed", &first.lease()).await);
    assert!(!beat(&one, "farm.gpu-7", &second.lease()).await);
    assert!(!beat(&fleet, "x", &second.lease()).await);
    assert!(beat(&fleet, "gpu-7", &second.lease()).await);
    let long = "x".repeat(96);
    assert_eq!(code(fleet.claim(&claim(&long)).await), "BRK-010");
}

/// Goal: agents of a token that a release before identities made work as before, and not in another's name.
#[tokio::test]
async fn agents_of_a_token_from_before_name_themselves_but_not_as_another() {
    let lab = Lab::new().await;
    let old = lab.add("old", Role::Agent).await;
    lab.add("farm", Role::Fleet).await;
    lab.add("gpu-7", Role::Agent).await;
    sqlx::query("UPDATE token SET agent = NULL WHERE label = 'old'")
        .execute(lab.store.pool())
        .await
        .unwrap();
    // Until it is read, the token has its one agent.
    soon(async || old.claim(&claim("farm.gpu-1")).await.is_err()).await;
    lab.ready("a").await;
    let grant = old.claim(&claim("host.example-7")).await.unwrap().unwrap();
    let job = lab.operator.jobs(&[grant.job]).await.unwrap().remove(0);
    assert_eq!(job.lease.unwrap().agent.as_str(), "host.example-7");
    for name in ["farm.gpu-1", "farm", "gpu-7"] {
        assert_eq!(code(old.claim(&claim(name)).await), "BRK-024", "{name}");
    }
}

/// Goal: a device that gives wrong results is in quarantine whatever its agents are called. Fault: F9.
#[tokio::test]
async fn a_device_in_quarantine_gets_no_job_under_another_name() {
    let lab = Lab::new().await;
    let fleet = lab.add("farm", Role::Fleet).await;
    let on = |name: &str, device: &str| ClaimRequest {
        info: serde_json::json!({ "device": { "uuid": device } }),
        ..claim(name)
    };
    for n in 0..3 {
        lab.wrong(&fleet, &on(&format!("name-{n}"), "GPU-1"), n).await;
    }
    assert_eq!(code(fleet.claim(&on("name-0", "GPU-1")).await), "BRK-019");
    assert_eq!(code(fleet.claim(&on("fresh", "GPU-1")).await), "BRK-019");
    lab.ready("for another").await;
    assert!(fleet.claim(&on("other", "GPU-2")).await.unwrap().is_some());
    // Nor is a result taken from it.
    let error = lab.store.admit(&Tenant::default(), &on("farm.late", "GPU-1")).await.unwrap_err();
    assert!(matches!(error, BrokerError::Quarantined { .. }), "{error}");
    assert_eq!(lab.operator.pardon(&agent("farm.name-1")).await.unwrap(), 1);
    lab.ready("after the pardon").await;
    assert!(fleet.claim(&on("name-2", "GPU-1")).await.unwrap().is_some());
    assert_eq!(lab.operator.pardon(&agent("farm.name-1")).await.unwrap(), 0);
}

/// Goal: invented names do not help a fleet: ten rejected results suspend its token, until an operator resumes it.
#[tokio::test]
async fn ten_rejected_results_suspend_the_token_of_a_fleet() {
    let lab = Lab::new().await;
    let fleet = lab.add("farm", Role::Fleet).await;
    let other = lab.add("other", Role::Fleet).await;
    for n in 0..9 {
        lab.wrong(&fleet, &claim(&format!("name-{n}")), n).await;
    }
    fleet.claim(&claim("still")).await.unwrap();
    assert_eq!(lab.view("farm").await.rejected, 9);
    lab.wrong(&fleet, &claim("name-9"), 9).await;
    soon(async || fleet.claim(&claim("more")).await.is_err()).await;
    let error = fleet.claim(&claim("more")).await.unwrap_err();
    assert_eq!(error.broker_code(), Some("BRK-037"));
    assert_eq!(error.answer(), rollmill_broker_client::Answer::TokenRejected);
    assert_eq!(lab.view("farm").await.state, TokenState::Suspended);
    other.claim(&claim("name-0")).await.unwrap();
    let record = lab.operator.audit(&AuditQuery::default()).await.unwrap().entries;
    assert!(record.iter().any(|entry| {
        (entry.by.as_str(), entry.action.as_str(), entry.detail.as_str())
            == ("broker", "suspend token", "farm")
    }));
    assert_eq!(lab.operator.resume_token(&label("farm")).await.unwrap(), 1);
    assert_eq!(lab.operator.resume_token(&label("farm")).await.unwrap(), 0);
    fleet.claim(&claim("more")).await.unwrap();
    assert_eq!(lab.view("farm").await.rejected, 0);
}

pub(crate) fn session(
    name: &str,
    installation: &Installation,
    replaces: Option<SessionId>,
) -> SessionRequest {
    SessionRequest {
        agent: agent(name),
        installation: installation.clone(),
        replaces,
        capabilities: support::KINDS.map(capability).to_vec(),
        class: SizeClass::SMALLEST,
        software: "test 1".into(),
        device: SessionDevice {
            uuid: Some("GPU-1".into()),
            name: "a card".into(),
            memory_bytes: Some(24 << 30),
            driver: Some("570".into()),
            ..SessionDevice::default()
        },
        resident_keys: vec!["leaf".into()],
        seconds: [("leaf".to_owned(), 1.5)].into(),
    }
}

/// Goal: an agent that starts again gets back at once what it held, and nobody is blamed.
#[tokio::test]
async fn a_new_session_of_the_installation_returns_what_the_one_before_held() {
    let lab = Lab::new().await;
    let gpu = lab.add("gpu", Role::Agent).await;
    let here = Installation::random();
    let open = async |replaces| gpu.open_session(&session("x", &here, replaces)).await.unwrap();
    let first: SessionResponse = open(None).await;
    assert_eq!((first.agent.as_str(), first.returned, first.is_shared), ("gpu", 0, false));
    lab.ready("a").await;
    let within =
        |session: &SessionId| ClaimRequest { session: Some(session.clone()), ..claim("x") };
    let grant = gpu.claim(&within(&first.session)).await.unwrap().unwrap();
    let second = open(None).await;
    assert_eq!((second.returned, second.is_shared), (1, false));
    let view = lab.operator.jobs(std::slice::from_ref(&grant.job)).await.unwrap().remove(0);
    assert_eq!((view.state, view.failure), (JobState::Ready, None));
    let attempts = lab.operator.history(&grant.job).await.unwrap().attempts;
    assert_eq!(attempts[0].outcome.as_str(), "released");
    // The session before is known no more, and the agent gets its job again.
    let error = gpu.claim(&within(&first.session)).await.unwrap_err();
    assert_eq!(error.broker_code(), Some("BRK-039"));
    assert_eq!(error.answer(), rollmill_broker_client::Answer::UnknownSession);
    let again = gpu.claim(&within(&second.session)).await.unwrap().unwrap();
    assert_eq!(again.job, grant.job);
    // At another replica too.
    let other = lab.schema.broker().await;
    let secret = lab.operator.rotate_token(&label("gpu"), &Rotation::default()).await.unwrap();
    let there = once(&other, &secret.token);
    soon(async || there.status().await.is_ok()).await;
    assert_eq!(code(there.claim(&within(&first.session)).await), "BRK-039");
    assert!(there.claim(&within(&second.session)).await.unwrap().is_none());
    // What it is can be read.
    let seen = lab.operator.status().await.unwrap().agents.remove(0);
    assert_eq!(seen.info["device"]["driver"], "570");
    assert_eq!(seen.info["resident_keys"][0], "leaf");
    assert_eq!(seen.info["seconds"]["leaf"], 1.5);
}

/// Fault: the agent that was killed had a heartbeat under way, which has the job locked while the next start opens its
/// session. Goal: the start waits for it and gets the job back; it does not wait for the end of the lease.
#[tokio::test]
async fn a_new_session_waits_for_a_job_that_is_locked_and_returns_it() {
    let lab = Lab::new().await;
    let gpu = lab.add("gpu", Role::Agent).await;
    let here = Installation::random();
    let first = gpu.open_session(&session("x", &here, None)).await.unwrap();
    lab.ready("a").await;
    let within = ClaimRequest { session: Some(first.session.clone()), ..claim("x") };
    let grant = gpu.claim(&within).await.unwrap().unwrap();
    let mut beat = lab.store.pool().begin().await.unwrap();
    let lock = "SELECT seq FROM job WHERE id = $1 FOR NO KEY UPDATE";
    sqlx::query(lock).bind(grant.job.to_string()).fetch_one(&mut *beat).await.unwrap();
    let request = session("x", &here, None);
    let opening = gpu.open_session(&request);
    let unlocking = async {
        let waiting = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid)";
        while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(&mut *beat).await.unwrap() {}
        beat.commit().await.unwrap();
    };
    let (second, ()) = tokio::join!(opening, unlocking);
    assert_eq!(second.unwrap().returned, 1);
    let view = lab.operator.jobs(std::slice::from_ref(&grant.job)).await.unwrap().remove(0);
    assert_eq!((view.state, view.failure), (JobState::Ready, None));
}

/// Goal: an identity in use is not taken over by another installation, and a copied disk is noticed.
#[tokio::test]
async fn another_installation_is_rejected_while_the_identity_is_alive() {
    let lab = Lab::new().await;
    let gpu = lab.add("gpu", Role::Agent).await;
    let (here, there) = (Installation::random(), Installation::random());
    let first = gpu.open_session(&session("x", &here, None)).await.unwrap();
    let error = gpu.open_session(&session("x", &there, None)).await.unwrap_err();
    assert_eq!(error.broker_code(), Some("BRK-038"));
    assert!(error.to_string().contains("agent gpu"), "{error}");
    // The one that is alive works on.
    let within = ClaimRequest { session: Some(first.session.clone()), ..claim("x") };
    gpu.claim(&within).await.unwrap();
    // A copy of the disk: each meets the other's session where its own should be.
    let second = gpu.open_session(&session("x", &here, None)).await.unwrap();
    let third = gpu.open_session(&session("x", &here, Some(first.session.clone()))).await.unwrap();
    assert!(third.is_shared);
    let fourth = gpu.open_session(&session("x", &here, Some(third.session.clone()))).await.unwrap();
    assert!(!fourth.is_shared && fourth.session != second.session);
    // It has been silent for as long as an agent may be.
    sqlx::query("UPDATE agent SET last_seen_at = now() - interval '46 s'")
        .execute(lab.store.pool())
        .await
        .unwrap();
    gpu.open_session(&session("x", &there, None)).await.unwrap();
}

/// Goal: a session in quarantine is not opened, and one that is forgotten with the database is opened anew.
#[tokio::test]
async fn a_quarantined_agent_opens_no_session() {
    let bench = Bench::new().await;
    let request = claim("a");
    bench.store.admit(&bench.tenant, &request).await.unwrap();
    bench.sql("UPDATE agent SET quarantined_at = now()").await;
    let opening = Opening {
        arrival: Arrival { tenant: bench.tenant.clone(), token: "t".into(), request },
        session: SessionId::random(),
        installation: Installation::random(),
        replaces: None,
    };
    let error = bench.store.open_session(&opening).await.unwrap_err();
    assert!(matches!(error, BrokerError::Quarantined { .. }), "{error}");
    let (tenant, session) = (&bench.tenant, &opening.session);
    assert!(bench.store.is_session(tenant, &agent("a"), session).await.is_err());
    assert!(!bench.store.is_session(tenant, &agent("b"), session).await.unwrap());
    bench.sql("DELETE FROM agent").await;
    bench.store.open_session(&opening).await.unwrap();
    assert!(bench.store.is_session(tenant, &agent("a"), session).await.unwrap());
}

/// Goal: a token that asks too much is told to wait, and nobody else is.
#[tokio::test]
async fn a_token_beyond_its_limits_is_told_to_wait() {
    let lab = Lab::new().await;
    let new = NewToken {
        requests_per_second: Some(1),
        connections: Some(2),
        ..NewToken::new("few", Role::Reader)
    };
    let token = lab.operator.add_token(&new).await.unwrap().token;
    let few = once(&lab.broker, &token);
    few.status().await.unwrap();
    few.status().await.unwrap();
    let url = rollmill_broker::url_of(lab.broker.address);
    let http = rollmill_service::untimed_http_client();
    let answer = http.get(format!("{url}/v1/status")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(code(few.status().await), "BRK-046");
    lab.operator.status().await.unwrap();
}

/// Goal: a token cannot take all connections of a broker.
#[tokio::test]
async fn a_token_has_a_limit_of_connections() {
    let lab = Lab::new().await;
    let new = NewToken { connections: Some(2), ..NewToken::new("few", Role::Producer) };
    let token = lab.operator.add_token(&new).await.unwrap().token;
    // Clients have no connection in common.
    let clients: Vec<Client> = (0..3).map(|_| once(&lab.broker, &token)).collect();
    for client in &clients[..2] {
        client.status().await.unwrap();
    }
    assert_eq!(code(clients[2].status().await), "BRK-046");
    let [first, second, third] = <[Client; 3]>::try_from(clients).unwrap();
    first.status().await.unwrap();
    drop((first, second));
    soon(async || third.status().await.is_ok()).await;
}
