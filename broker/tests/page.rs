//! The web page, and the events that it follows.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::{agent, capability, job};
use rollmill_broker::Config;
use rollmill_broker::store::{Role, Rules, Tenant};
use rollmill_broker_client::overview::OverviewEvents;
use rollmill_broker_client::routes::Payload;
use rollmill_broker_client::{
    AgentState, CallerView, ClaimRequest, Client, CompleteRequest, ErrorBody, FailRequest,
    FailureClass, Followed, Grant, Installation, NewToken, Overview, SessionDevice, SessionRequest,
    Severity, SizeClass, TokenLabel,
};
use rollmill_broker_testing::{TestBroker, TestSchema};
use rollmill_service::Secret;

const HTML: &str = include_str!("../src/page/page.html");
const SCRIPT: &str = include_str!("../src/page/page.js");
const STYLE: &str = include_str!("../src/page/page.css");
/// As many as may follow at a time.
const STREAMS_MAX: usize = 128;

// The files

/// Goal: the files are those of the program, and a browser lets them do no more than they need.
#[tokio::test]
async fn the_page_is_served_with_headers_that_keep_others_out() {
    let broker = TestSchema::new().await.broker().await;
    let url = rollmill_broker::url_of(broker.address);
    let http = rollmill_service::untimed_http_client();
    for (path, kind, text) in [
        ("/", "text/html; charset=utf-8", HTML),
        ("/page.js", "text/javascript; charset=utf-8", SCRIPT),
        ("/page.css", "text/css; charset=utf-8", STYLE),
    ] {
        let answer = http.get(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let headers = answer.headers().clone();
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), kind);
        let policy = header("content-security-policy");
        let rules: BTreeSet<&str> = policy.split("; ").collect();
        let wanted = BTreeSet::from([
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ]);
        assert_eq!(rules, wanted, "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(header("cache-control"), "no-store");
        assert!(answer.text().await.unwrap() == text, "{path} is the file");
        // The checks of the API hold here too.
        for (name, value, code) in
            [("host", "evil.example", "SVC-012"), ("origin", "https://evil.example", "SVC-013")]
        {
            let answer = http.get(format!("{url}{path}")).header(name, value).send().await.unwrap();
            assert_eq!(answer.status(), 403, "{path} {name}");
            assert_eq!(answer.json::<ErrorBody>().await.unwrap().code, code, "{path} {name}");
        }
    }
    broker.stop().await;
}

/// Fault: during an upgrade the page of this release follows a replica of the release before, which knows no prices.
/// Goal: it shows none, and not those of a number that is not there.
#[test]
fn the_page_takes_a_price_that_is_not_sent_for_none() {
    for field in ["cost_cents", "cents_per_hour"] {
        let uses: Vec<&str> = SCRIPT.split(field).skip(1).collect();
        assert!(!uses.is_empty(), "{field}");
        for rest in uses {
            let pattern = rest.split([',', '}']).next().unwrap();
            assert!(
                pattern.starts_with(": ") && pattern.trim_end().ends_with(" = null"),
                "{field}{pattern}"
            );
        }
    }
}

/// Goal: page and interface for Aztec's programs share the path without a name.
#[tokio::test]
async fn the_page_leaves_posts_to_the_interface_for_aztecs_programs() {
    let schema = TestSchema::new().await;
    let token =
        schema.store().await.add_token("p", Role::Producer, &Tenant::default()).await.unwrap();
    let config = Config { aztec_root_token: Some(Secret::generated(token)), ..Config::default() };
    let broker = schema.broker_with(config).await;
    let url = rollmill_broker::url_of(broker.address);
    let http = rollmill_service::untimed_http_client();
    let page = http.get(format!("{url}/")).send().await.unwrap();
    assert_eq!((page.status().as_u16(), page.text().await.unwrap().len()), (200, HTML.len()));
    let ask =
        r#"{"jsonrpc":"2.0","id":1,"method":"proverBroker_getProvingJobStatus","params":["x"]}"#;
    let post = http.post(format!("{url}/")).header("content-type", "application/json").body(ask);
    let answer: serde_json::Value = post.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["jsonrpc"], "2.0", "{answer}");
    assert_eq!(answer["id"], 1, "{answer}");
    broker.stop().await;
}

/// Goal: an agent's name or a message that holds HTML is text, and nothing is loaded from elsewhere. Method: what would
/// do otherwise is not in the sources.
#[test]
fn the_script_sets_text_and_the_page_loads_nothing_of_others() {
    for word in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "createContextualFragment",
        "DOMParser",
        "setHTML",
        "document.write",
        "srcdoc",
        "eval(",
        "Function(",
        "import(",
        "localStorage",
        "document.cookie",
        "://",
    ] {
        assert!(!SCRIPT.contains(word), "the script has {word}");
    }
    let lower = HTML.to_lowercase();
    for word in ["://", "style=", "<style", "<iframe", "<img", "javascript:", "http-equiv", " on"] {
        let found = lower.match_indices(word).find(|(at, word)| {
            // A handler such as onclick= and no word of a sentence.
            *word != " on"
                || lower[at + 1..]
                    .split(['=', ' ', '<'])
                    .next()
                    .is_some_and(|name| lower[at + 1 + name.len()..].starts_with('='))
        });
        assert!(found.is_none(), "the page has {word}: {found:?}");
    }
    assert_eq!(lower.matches("<script").count(), 1);
    assert!(lower.contains(r#"<script src="page.js" defer></script>"#), "its one script is a file");
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import"), "the style loads nothing");
}

/// Goal: the script finds what it fills, and assistive programs find their way. No build step would notice.
#[test]
fn the_parts_that_the_script_names_are_in_the_page() {
    let ids: Vec<&str> =
        HTML.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "an id is there twice: {ids:?}");
    let named = SCRIPT.split("$(\"").skip(1).filter_map(|rest| rest.split('"').next());
    for name in named {
        assert!(unique.contains(name), "the script names {name}, which the page lacks");
    }
    for attribute in ["aria-labelledby=\"", "for=\"", "href=\"#"] {
        for name in HTML.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(unique.contains(name), "{attribute}{name}\" leads nowhere");
        }
    }
    assert_eq!(HTML.matches("aria-live=").count(), 1, "only the sentence is read aloud");
    let tables = HTML.matches("<table").count();
    assert_eq!((tables, HTML.matches("<tbody").count()), (5, 5));
    assert_eq!(HTML.matches("<th ").count(), HTML.matches("scope=\"col\"").count());
    for landmark in ["<html lang=\"en\">", "<header>", "<main>", "<nav ", "<footer>", "<h1>"] {
        assert_eq!(HTML.matches(landmark).count(), 1, "{landmark}");
    }
    assert!(STYLE.contains("prefers-color-scheme: dark"));
}

// The events

/// A broker for which no agent falls silent and no lease expires while a test looks at it.
async fn patient() -> TestSchema {
    let hour = Duration::from_secs(3_600);
    TestSchema::with(Rules { live: hour, lease: hour, ..Rules::default() }).await
}

/// A stream, read event by event.
struct Stream {
    response: reqwest::Response,
    bytes: Vec<u8>,
}

impl Stream {
    async fn open(http: &reqwest::Client, broker: &TestBroker, token: Option<&str>) -> Self {
        let url = format!("{}/v1/events", rollmill_broker::url_of(broker.address));
        let mut request = http.get(url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { response, bytes: Vec::new() }
    }

    /// The next event as it came, heartbeats left out; [`None`] at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|two| two == b"\n\n") {
                let event = self.bytes.drain(..end + 2).collect();
                let event = String::from_utf8(event).unwrap();
                if !event.starts_with(':') {
                    return Some(event);
                }
                continue;
            }
            self.bytes.extend_from_slice(&self.response.chunk().await.unwrap()?);
        }
    }

    /// The event that comes first.
    async fn caller(&mut self) -> CallerView {
        let first = self.next().await.unwrap();
        OverviewEvents::decode(first.into()).unwrap().caller
    }

    async fn overview(&mut self) -> Overview {
        overview_of(&self.next().await.expect("the stream goes on"))
    }

    /// Waits for an overview in which something holds. Each differs from the one before.
    async fn until(
        &mut self,
        last: &mut Option<Overview>,
        holds: impl Fn(&Overview) -> bool,
    ) -> Overview {
        loop {
            let next = self.overview().await;
            if let Some(last) = last.as_ref() {
                assert!(next.number > last.number, "{} after {}", next.number, last.number);
                let same = Overview { number: last.number, ..next.clone() };
                assert_ne!(*last, same, "an event without news");
            }
            *last = Some(next.clone());
            if holds(&next) {
                return next;
            }
        }
    }
}

fn overview_of(event: &str) -> Overview {
    let data = event.strip_prefix("event: overview\ndata: ").unwrap();
    serde_json::from_str(data).unwrap()
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An agent with a device, whose name is HTML.
fn session(name: &str) -> SessionRequest {
    SessionRequest {
        agent: agent(name),
        installation: Installation::random(),
        replaces: None,
        capabilities: crate::support::KINDS.map(capability).to_vec(),
        class: SizeClass::SMALLEST,
        software: "test 1".into(),
        device: SessionDevice {
            name: "<b>H200</b>".into(),
            threads: Some(8),
            ..Default::default()
        },
        resident_keys: vec![],
        seconds: [("leaf".to_owned(), 2.0)].into(),
    }
}

async fn claim(client: &Client, name: &str) -> Grant {
    let mut request =
        ClaimRequest::new(agent(name), crate::support::KINDS.map(capability).to_vec());
    request.wait_ms = 20_000;
    client.claim(&request).await.unwrap().expect("a job is ready")
}

async fn enqueue(client: &Client, epoch: u64, kind: &str, input: &[u8], seconds: u64) {
    let digest = client.put_artifact(epoch, input.to_vec()).await.unwrap();
    let mut job = job(epoch, kind, digest);
    job.deadline_unix_seconds = Some(unix_seconds() + seconds);
    client.enqueue(vec![job]).await.unwrap();
}

/// Whether the broker has counted the three jobs of the test below. The lists show them before that, and the sentence says no
/// less than the lists.
fn three_are_counted(now: &Overview) -> bool {
    let is_listed = now.epochs.iter().any(|epoch| epoch.unfinished > 0);
    assert!(!is_listed || !now.headline.text.starts_with("No job is"), "{now:?}");
    now.queue.first().is_some_and(|entry| entry.jobs == 3)
        && now.epochs.iter().any(|epoch| epoch.deadline_unix_seconds.is_some())
}

/// Goal: what happens is shown: a deadline that nobody can meet, an agent with its device and speed, work and its end.
#[tokio::test]
async fn the_events_follow_what_happens() {
    let schema = patient().await;
    let config = Config { agent_cents_per_hour: 1_200, ..Config::default() };
    let broker = schema.broker_with(config).await;
    let http = rollmill_service::untimed_http_client();
    let client = broker.client();
    let mut stream = Stream::open(&http, &broker, None).await;
    let caller = stream.caller().await;
    assert_eq!((caller.role, caller.tenant.as_str()), (Role::Operator, "default"));
    assert!(caller.now_unix_ms / 1000 >= unix_seconds() - 600, "{caller:?}");
    let last = &mut None;
    let idle = stream.until(last, |now| now.headline.text.starts_with("No job is")).await;
    assert_eq!(idle.headline.text, "No job is unfinished, and no agent is live.");
    assert_eq!((idle.epochs.len(), idle.queue.len(), idle.agents.total), (0, 0, 0));

    // An hour is more than any machine takes for this test.
    for input in [&b"1"[..], b"2", b"3"] {
        enqueue(&client, 7, "leaf", input, 3_600).await;
    }
    let waits = stream.until(last, three_are_counted).await;
    let epoch = &waits.epochs[0];
    assert_eq!((epoch.epoch, epoch.at_risk, epoch.finish_unix_seconds), (7, true, None));
    let deadline = epoch.deadline_unix_seconds.unwrap();
    assert!((unix_seconds()..unix_seconds() + 3_700).contains(&deadline), "{deadline}");
    assert_eq!(waits.headline.severity, Severity::Trouble);
    assert!(
        waits.headline.text.ends_with("until its deadline, and no agent is live."),
        "{waits:?}"
    );
    assert_eq!((waits.queue[0].jobs, waits.queue[0].kind.as_str()), (3, "leaf"));

    client.open_session(&session("a")).await.unwrap();
    let in_time = |now: &Overview| now.headline.text.starts_with("Epoch 7 will be proven ");
    let good = stream.until(last, in_time).await;
    assert_eq!(good.headline.severity, Severity::Good, "{:?}", good.headline);
    assert!(!good.epochs[0].at_risk && good.epochs[0].finish_unix_seconds.is_some());
    let shown = &good.agents.shown[0];
    assert_eq!((shown.agent.as_str(), shown.state), ("a", AgentState::Idle));
    assert_eq!(
        (shown.device.as_str(), shown.software.as_str()),
        ("<b>H200</b>, 8 threads", "test 1")
    );
    assert_eq!((shown.speed, shown.seconds["leaf"]), (Some(1.0), 2.0));
    assert_eq!((good.agents.live, good.agents.total, good.agents.wanted), (1, 1, 1));

    let first = claim(&client, "a").await;
    stream.until(last, |now| now.agents.shown[0].state == AgentState::Working).await;
    let result = client.put_artifact(7, b"proof".to_vec()).await.unwrap();
    let stats = serde_json::json!({ "witness_seconds": 1.5, "proving_seconds": 1.4 });
    let complete = CompleteRequest::new(agent("a"), first.lease(), result);
    client.complete(&CompleteRequest { stats, ..complete }).await.unwrap();
    let third = stream.until(last, |now| now.epochs[0].coverage_percent == Some(33)).await;
    assert_eq!((third.epochs[0].done, third.epochs[0].kinds[0].states["done"]), (1, 1));
    assert_eq!((third.epochs[0].agent_seconds, third.epochs[0].cost_cents), (3, Some(1)));
    assert_eq!(third.agents.cents_per_hour, Some(1_200));

    // What an agent reports may be anything, and hides nothing.
    for (number, stats) in [
        (2, serde_json::json!({ "witness_seconds": 1e300, "proving_seconds": "long" })),
        (3, serde_json::json!({ "witness_seconds": -7, "proving_seconds": 1e300 })),
    ] {
        let lease = claim(&client, "a").await.lease();
        let result = client.put_artifact(7, format!("proof {number}").into_bytes()).await.unwrap();
        let complete = CompleteRequest::new(agent("a"), lease, result);
        client.complete(&CompleteRequest { stats, ..complete }).await.unwrap();
    }
    let all = stream.until(last, |now| now.epochs[0].done == 3).await;
    assert_eq!(all.epochs[0].agent_seconds, 864_003, "a job counts for ten days at most");

    broker.stop().await;
}

/// Goal: what waits for an operator is shown until the operator has acted.
#[tokio::test]
async fn dead_letters_and_quarantines_are_shown_until_somebody_acts() {
    let schema = patient().await;
    let broker = schema.broker().await;
    let http = rollmill_service::untimed_http_client();
    let client = broker.client();
    let mut stream = Stream::open(&http, &broker, None).await;
    stream.caller().await;
    let last = &mut None;
    client.open_session(&session("a")).await.unwrap();
    enqueue(&client, 7, "leaf", b"1", 3_600).await;
    let grant = claim(&client, "a").await;
    let (class, message) = (FailureClass::BadInput, "<i>bad</i>".to_owned());
    let fail = FailRequest { agent: agent("a"), lease: grant.lease(), class, message };
    client.fail(&fail).await.unwrap();
    let sentence = "1 dead letter waits for an operator.";
    let dead = stream.until(last, |now| now.headline.text == sentence).await;
    let letter = &dead.dead_letters.shown[0];
    assert_eq!((&letter.id, letter.message.as_str()), (&grant.job, "<i>bad</i>"));
    assert_eq!((dead.headline.severity, dead.dead_letters.total), (Severity::Warning, 1));
    assert_eq!(client.replay(&[grant.job]).await.unwrap(), 1);
    stream.until(last, |now| now.dead_letters.total == 0).await;

    let quarantine = "UPDATE agent SET quarantined_at = now(), rejected = 3 WHERE id = 'a'";
    sqlx::query(quarantine).execute(schema.store().await.pool()).await.unwrap();
    let bad = stream.until(last, |now| now.agents.quarantined == 1).await;
    let shown = &bad.agents.shown[0];
    assert_eq!((shown.state, shown.rejected), (AgentState::Quarantined, 3));
    assert_eq!(client.pardon(&agent("a")).await.unwrap(), 1);
    stream.until(last, |now| now.agents.quarantined == 0).await;
    let one = client.overview().await.unwrap();
    assert_eq!((one.agents.total, one.agents.shown[0].rejected), (1, 0));
    broker.stop().await;
}

/// Goal: the worst trouble is said while it lasts, and what was shown stays. Method: the table of agents is away.
#[tokio::test]
async fn a_database_that_fails_is_the_headline_until_it_is_back() {
    let schema = patient().await;
    let broker = schema.broker().await;
    let http = rollmill_service::untimed_http_client();
    broker.client().open_session(&session("a")).await.unwrap();
    let mut stream = Stream::open(&http, &broker, None).await;
    stream.caller().await;
    let last = &mut None;
    stream.until(last, |now| now.agents.total == 1).await;
    let store = schema.store().await;
    sqlx::query("ALTER TABLE agent RENAME TO gone").execute(store.pool()).await.unwrap();
    let failing = stream.until(last, |now| now.headline.text.contains("database")).await;
    assert_eq!((failing.headline.severity, failing.agents.total), (Severity::Trouble, 1));
    sqlx::query("ALTER TABLE gone RENAME TO agent").execute(store.pool()).await.unwrap();
    stream.until(last, |now| !now.headline.text.contains("database")).await;
    broker.stop().await;
}

fn gauge(broker: &TestBroker, name: &str) -> i64 {
    let families = broker.metrics.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    family.get_metric()[0].get_gauge().get_value().round() as i64
}

fn readings(broker: &TestBroker) -> u64 {
    let families = broker.metrics.gather();
    let name = "rollmill_broker_overview_seconds";
    let family = families.iter().find(|family| family.name() == name).unwrap();
    family.get_metric()[0].get_histogram().get_sample_count()
}

/// Goal: many pages cost what one does, there is a bound on them, and none delays a shutdown. Method: as many streams
/// as may be; each reading is counted, and there is at most one a second however many look.
#[tokio::test(flavor = "multi_thread")]
async fn many_streams_share_one_reading_and_end_at_shutdown() {
    let broker = patient().await.broker().await;
    let http = rollmill_service::untimed_http_client();
    let start = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..STREAMS_MAX {
        streams.push(Stream::open(&http, &broker, None).await);
    }
    assert_eq!(gauge(&broker, "rollmill_broker_event_streams"), STREAMS_MAX as i64);
    let url = format!("{}/v1/events", rollmill_broker::url_of(broker.address));
    let more = http.get(url).send().await.unwrap();
    assert_eq!(
        (more.status().as_u16(), more.headers()["retry-after"].to_str().unwrap()),
        (503, "1")
    );
    assert_eq!(more.json::<ErrorBody>().await.unwrap().code, "BRK-022");

    // The same bytes for all: an overview is read and written once.
    broker.client().open_session(&session("a")).await.unwrap();
    let mut seen = BTreeSet::new();
    for stream in &mut streams {
        stream.caller().await;
        loop {
            let event = stream.next().await.unwrap();
            if overview_of(&event).agents.total == 1 {
                seen.insert(event);
                break;
            }
        }
    }
    let numbers: BTreeSet<u64> = seen.iter().map(|event| overview_of(event).number).collect();
    assert_eq!(seen.len(), numbers.len(), "two events of one number differ");
    let (readings, most) = (readings(&broker), start.elapsed().as_secs() + 1);
    assert!(readings <= most, "{readings} readings, at most {most} are expected");

    // A place is free once its stream has ended.
    drop(streams.pop());
    while gauge(&broker, "rollmill_broker_event_streams") == STREAMS_MAX as i64 {
        tokio::task::yield_now().await;
    }
    streams.push(Stream::open(&http, &broker, None).await);
    broker.stop().await;
    for stream in &mut streams {
        while stream.next().await.is_some() {}
    }
}

/// Goal: a page with a token that was revoked shows nothing more, and each learns its role, by which it shows actions.
#[tokio::test]
async fn a_stream_ends_with_its_token_and_names_its_role() {
    let schema = TestSchema::new().await;
    let store = schema.store().await;
    let tenant = Tenant::default();
    let mut tokens = Vec::new();
    for role in Role::ALL {
        let new = NewToken::new(role.as_str(), role);
        tokens.push((role, store.create_token(&tenant, &new).await.unwrap().token));
    }
    let broker = schema.broker().await;
    let http = rollmill_service::untimed_http_client();
    let mut streams = Vec::new();
    for (role, token) in &tokens {
        let mut stream = Stream::open(&http, &broker, Some(token)).await;
        assert_eq!(stream.caller().await.role, *role);
        stream.overview().await;
        streams.push((*role, stream));
    }
    let label: TokenLabel = "reader".parse().unwrap();
    store.revoke_token(&tenant, None, &label).await.unwrap();
    let (_, reader) = streams.iter_mut().find(|(role, _)| *role == Role::Reader).unwrap();
    while reader.next().await.is_some() {}
    broker.stop().await;
}

/// Goal: who looks for a moment gets what the page shows, as one answer.
#[tokio::test]
async fn a_stream_ends_after_as_many_overviews_as_were_asked_for() {
    let broker = TestSchema::new().await.broker().await;
    let http = rollmill_service::untimed_http_client();
    let url = rollmill_broker::url_of(broker.address);
    for (count, overviews) in [(0, 0), (1, 1)] {
        let answer = http.get(format!("{url}/v1/events?overviews={count}")).send().await.unwrap();
        let bytes = tokio::time::timeout(Duration::from_secs(60), answer.bytes()).await.unwrap();
        let Followed { caller, overviews: got } = OverviewEvents::decode(bytes.unwrap()).unwrap();
        assert_eq!((caller.role, got.len()), (Role::Operator, overviews));
    }
    broker.stop().await;
}
