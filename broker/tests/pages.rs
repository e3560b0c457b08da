//! Pages that are generated from the code. `ROLLMILL_BLESS=1 cargo test -p rollmill-broker --test all pages`
//! writes them; without it the test compares.

use std::fmt::Write as _;

use std::time::Duration;

use rollmill_broker::openapi::{self, sentence};
use rollmill_broker::policy::{self, Failure, Next, after};
use rollmill_broker::states::{TRANSITIONS, Transition};
use rollmill_broker_client::routes::{Admission, BodyLimit, COMMON_CODES, RouteName, Spec};
use rollmill_broker_client::shapes::{Field, Shape};
use rollmill_broker_client::{
    AgentId, AgentState, AttemptOutcome, BATCH_MAX, Code, CompleteOutcome, EpochOutcome,
    EpochState, FailureClass, Incarnation, JobState, KindName, Named, RejectOutcome, Role,
    SHAPE_LISTS, Severity, SizeClass, TokenState, WAIT_MS_MAX,
};

/// Compares a page in `docs/` with what is generated, or writes it.
fn compare(name: &str, wanted: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/").to_owned() + name;
    if std::env::var_os("ROLLMILL_BLESS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    let line = have.lines().zip(wanted.lines()).position(|(a, b)| a != b);
    let line = line.unwrap_or_else(|| have.lines().count().min(wanted.lines().count()));
    assert!(
        have == wanted,
        "docs/{name} differs from the code from line {}:\n  have {:?}\n  want {:?}\n\
         write it with ROLLMILL_BLESS=1 cargo test -p rollmill-broker --test all pages",
        line + 1,
        have.lines().nth(line).unwrap_or_default(),
        wanted.lines().nth(line).unwrap_or_default(),
    );
}

#[test]
fn the_page_of_the_http_api_is_the_table_of_routes() {
    compare("http.md", &http_page());
}

/// Goal: the document in the repository is the one that brokers serve.
#[test]
fn the_openapi_document_is_the_table_of_routes() {
    compare("openapi.json", &openapi::document());
}

#[test]
fn the_page_of_the_states_is_the_table_of_transitions() {
    compare("book/states.md", &states_page());
}

fn states_page() -> String {
    let mut page = "# States of a job

<!-- Generated from `broker/rules/src/states.rs`. Do not edit. Write it again with
     `ROLLMILL_BLESS=1 cargo test -p rollmill-broker --test all pages`. -->

The broker keeps the state of each job in PostgreSQL. Each transition is one statement in `broker/src/sql`, so it happens whole or not
at all, and a broker that dies leaves no job between two states. `broker/tests/states.rs` makes every transition below on a real
server and compares what the table of jobs saw with this page.

```mermaid
stateDiagram-v2
    [*] --> ready: enqueue
"
    .to_owned();
    let mut edges: Vec<(JobState, JobState, Vec<&str>)> = Vec::new();
    for Transition { from, to, statement, .. } in TRANSITIONS {
        let Some(from) = *from else { continue };
        let name = statement.trim_end_matches(".sql");
        match edges.iter_mut().find(|(a, b, _)| (*a, *b) == (from, *to)) {
            Some((_, _, names)) => names.push(name),
            None => edges.push((from, *to, vec![name])),
        }
    }
    for (from, to, names) in edges {
        writeln!(page, "    {from} --> {to}: {}", names.join(", ")).unwrap();
    }
    page.push_str(
        "```

Dropping an epoch (`epoch_drop.sql`) deletes its jobs in any state.

## Transitions

| from | to | statement | by | when |
| --- | --- | --- | --- | --- |
",
    );
    for Transition { from, to, statement, by, when } in TRANSITIONS {
        let from = from.map_or("–", JobState::as_str);
        writeln!(
            page,
            "| {from} | {to} | [`{statement}`](../../broker/src/sql/{statement}) | {by} | {when} |"
        )
        .unwrap();
    }
    page.push_str("\n## States\n\n| state | what happens next |\n| --- | --- |\n");
    for state in JobState::ALL {
        writeln!(page, "| {state} | {} |", next(state)).unwrap();
    }
    page.push_str(
        "
## Attempts

Each grant of a lease adds an attempt, and so does a completion by an agent that never held a lease. An attempt is `running` until it
ends with one of the outcomes below.

| outcome | the attempt |
| --- | --- |
",
    );
    for outcome in AttemptOutcome::ALL {
        writeln!(page, "| {outcome} | {} |", ended(outcome)).unwrap();
    }
    page + &failure_classes()
}

fn failure_classes() -> String {
    let mut page = "
## Failures

A failed attempt has a failure class, which decides what happens to the job (`broker/schedule/src/policy.rs`). A dead letter that is replayed
starts to count again. Pauses vary by a quarter, so that jobs that failed together do not return together.

| class | when | set by | failures until it is a dead letter | pause before the next try |
| --- | --- | --- | --- | --- |
"
    .to_owned();
    for class in FailureClass::ALL {
        let by = match class {
            _ if class.is_brokers() => "broker",
            FailureClass::InvalidProof => "agent, or producer by rejecting",
            _ => "agent",
        };
        let (failures, pause) = (failures(class), pause(class));
        writeln!(page, "| {class} | {} | {by} | {failures} | {pause} |", failed(class)).unwrap();
    }
    write!(
        page,
        "
An agent that makes a result which the producer rejected before is not charged, and the job goes to another one. When {} agents made the
same rejected result, the job is a dead letter: the producer rejects what is right, or they are all wrong in the same way. Its message
says so. After a replay, or when the producer cancels the job and adds it again, the result is accepted and judged anew.
",
        policy::MAKERS_MAX
    )
    .unwrap();
    page
}

fn failed(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Transient => "something temporary: network, disk, a restart",
        FailureClass::InputMissing => {
            "the agent cannot fetch the input, and the broker cannot read it either; if it can, the failure \
             counts as transient"
        }
        FailureClass::OutOfMemory => "the job does not fit into the memory of the agent",
        FailureClass::InvalidProof => "the agent's own check, or the producer, rejected the result",
        FailureClass::VersionMismatch => "the agent does not have the version after all",
        FailureClass::BadInput => "the input cannot be decoded or has no valid result",
        FailureClass::ResultTooLarge => "the result is larger than the broker accepts",
        FailureClass::AgentDied => "no heartbeat arrived within the lease",
        FailureClass::HardLimit => "the agent held the lease longer than the hard limit",
        FailureClass::ResultLost => "the job was done, and its result can no longer be read",
        FailureClass::PastDeadline => "the deadline passed before the job was done",
    }
}

/// What the policy decides, in the largest class of agent, after so many failures.
fn decided(failure: FailureClass, count: u32, size: SizeClass) -> Next {
    after(Failure { failure, count, size }, 0.5)
}

/// Whether the job moves to a larger class of agent while there is one.
fn climbs(class: FailureClass) -> bool {
    matches!(
        decided(class, 1, SizeClass::SMALLEST),
        Next::Retry { size, .. } if size > SizeClass::SMALLEST
    )
}

/// How often a job fails for this reason until it is a dead letter.
fn failures(class: FailureClass) -> String {
    let dead = (1..=1_000).find(|count| decided(class, *count, SizeClass::LARGEST) == Next::GiveUp);
    match (decided(class, 1, SizeClass::LARGEST), dead) {
        (Next::AwaitInput, _) => "never; it waits for its producer".to_owned(),
        (_, Some(count)) => count.to_string(),
        (_, None) => "never".to_owned(),
    }
}

fn pause(class: FailureClass) -> String {
    let pause = |count| match decided(class, count, SizeClass::LARGEST) {
        Next::Retry { pause, .. } => Some(pause),
        Next::AwaitInput | Next::GiveUp => None,
    };
    let pauses: Vec<Duration> = (1..=1_000).map_while(pause).collect();
    let excludes =
        matches!(decided(class, 1, SizeClass::LARGEST), Next::Retry { exclude: true, .. });
    let elsewhere = match (excludes, climbs(class)) {
        (true, _) => "; another agent",
        (_, true) => "; none while there is a larger class of agent, to which the job moves",
        _ => "",
    };
    let seconds = |pause: &Duration| pause.as_secs_f64();
    let Some(longest) = pauses.iter().max().map(seconds) else { return "–".to_owned() };
    let first = pauses.iter().find(|pause| !pause.is_zero()).map(seconds);
    match first {
        None => format!("none{elsewhere}"),
        Some(first) if pauses[0].is_zero() => {
            format!("none, then {first} s, doubling to {longest} s{elsewhere}")
        }
        Some(first) => format!("{first} s, doubling to {longest} s{elsewhere}"),
    }
}

/// No wildcard: a new state does not compile until the page says what it is.
fn next(state: JobState) -> &'static str {
    match state {
        JobState::Ready => {
            "an agent that can do the job gets it; the highest rank of the oldest epoch first"
        }
        JobState::Delayed => "the job becomes ready when its pause is over",
        JobState::InputWanted => "the producer uploads the input again",
        JobState::Leased => {
            "the agent sends heartbeats until it completes, fails or returns the job"
        }
        JobState::Done => "the producer fetches the result; it may still reject it",
        JobState::Dead => "a dead letter: the producer or an operator replays or drops it",
        JobState::Cancelled => "nothing, unless the job is enqueued again",
    }
}

fn ended(outcome: AttemptOutcome) -> &'static str {
    match outcome {
        AttemptOutcome::Running => "has not ended",
        AttemptOutcome::Completed => "gave the job its result",
        AttemptOutcome::CompletedLate => "gave the job its result after its lease, or without one",
        AttemptOutcome::Failed => "ended with a failure that the agent reported",
        AttemptOutcome::Expired => "ended without a heartbeat in time, or at the hard limit",
        AttemptOutcome::Released => "ended without harm: the agent returned the job",
        AttemptOutcome::Rejected => "had given the job its result, which the producer found wrong",
        AttemptOutcome::Superseded => "was overtaken by another agent's result",
        AttemptOutcome::Cancelled => "ended because the job was cancelled",
        AttemptOutcome::ResultLost => "had given the job its result, whose bytes were lost",
    }
}

fn http_page() -> String {
    let largest = SizeClass::LARGEST;
    let mut page = format!(
        "# HTTP API of the broker

<!-- Generated from `routes.rs`, `types.rs`, `status.rs`, `outlook.rs`, `overview.rs` and `access.rs` in `broker/client/src`. Do not edit. Write it again with
     `ROLLMILL_BLESS=1 cargo test -p rollmill-broker --test all pages`. -->

Producers, agents and operators call the routes below over HTTP/1.1. `rollmill-broker-client` has a typed method for each.
[Queue your own work](book/queue.md) walks through the most common ones with `curl`.

- A request carries its token in the header `Authorization: Bearer TOKEN`. A broker that its settings
  open on loopback treats every caller as an operator of the tenant `default` until there is a token. The token names the tenant; jobs, artifacts and names of another
  tenant do not exist for it.
- Bodies are JSON, except artifacts, which are bytes, and the stream of events. The broker rejects unknown fields of a request; a
  client must ignore unknown fields of an answer. [Types](#types) lists the fields.
- A request with JSON needs the header `Content-Type: application/json`, and a POST with bytes any type but that of a form. Over
  plain HTTP the request's `Host` must be a name of the broker. [TLS](book/tls.md#pages-in-a-browser) has the rules, which answer
  with SVC-012 to SVC-014.
- Every request can be repeated: ids are digests, and lease epochs and fences reject what is out of date. Only creating and
  rotating a token is not: list the tokens after an answer that was lost.
- [`openapi.json`](openapi.json) is this page for programs: an OpenAPI 3.1 document with a schema for each type, with bounds and
  patterns of its fields, and with the codes of each route. A broker returns its own at `GET /openapi.json`. A test sends a broker
  requests that the document allows and requests that break it in one place, and compares every answer with it.
- A request names at most {BATCH_MAX} jobs or ids. A long poll waits at most {WAIT_MS_MAX} ms. Classes of agents are 0 to {largest}.

## Errors

An error has the body `{{\"code\": \"BRK-010\", \"message\": \"…\"}}`. Act on the code, not on the status alone: a proxy in front of the broker
answers with statuses of its own. An answer with 429 or 503 has the header `Retry-After`. [Error codes](errors.md) says what each code means.
Any route can answer with {}; an error of the broker itself is answered with 500.

| code | status |
| --- | --- |
",
        codes(COMMON_CODES)
    );
    for code in Code::ALL {
        writeln!(page, "| {} | {} |", code.text(), code.status()).unwrap();
    }
    page.push_str("\n## Routes\n\n| route | roles | effect |\n| --- | --- | --- |\n");
    for route in RouteName::ALL {
        let Spec { method, path, roles, doc, .. } = route.spec();
        let doc = sentence(doc);
        let first = doc.split_inclusive(". ").next().unwrap_or_default().trim();
        let anchor = format!("{route:?}").to_lowercase();
        writeln!(page, "| [`{} {path}`](#{anchor}) | {} | {first} |", method.as_str(), who(roles))
            .unwrap();
    }
    for route in RouteName::ALL {
        page.push_str(&section(*route));
    }
    page.push_str(&types());
    page.push_str(
        "\n## Names\n\nThe values of the enumerations in requests, answers and metrics.\n\n",
    );
    page.push_str("| what | names |\n| --- | --- |\n");
    page.push_str(&names::<JobState>());
    page.push_str(&names::<AttemptOutcome>());
    page.push_str(&names::<FailureClass>());
    page.push_str(&names::<RejectOutcome>());
    page.push_str(&names::<CompleteOutcome>());
    page.push_str(&names::<EpochState>());
    page.push_str(&names::<EpochOutcome>());
    page.push_str(&names::<Role>());
    page.push_str(&names::<TokenState>());
    page.push_str(&names::<AgentState>());
    page.push_str(&names::<Severity>());
    page
}

fn section(route: RouteName) -> String {
    let Spec { method, path, query, body, body_limit, answer, success, roles, admission, .. } =
        route.spec();
    let mut out = format!("\n### {route:?}\n\n`{} {path}`\n\n", method.as_str());
    writeln!(out, "{}\n", sentence(route.spec().doc)).unwrap();
    if *query != "NoQuery" {
        writeln!(out, "- Query: {}", link(query)).unwrap();
    }
    let limit = match body_limit {
        BodyLimit::None => String::new(),
        BodyLimit::Bytes(max) => format!(", at most {} MiB", max >> 20),
        BodyLimit::Artifact => ", at most the setting `artifact_bytes_max`".to_owned(),
    };
    if *body_limit != BodyLimit::None {
        writeln!(out, "- Body: {}{limit}", form(body)).unwrap();
    }
    for field in route.spec().requires {
        writeln!(out, "- Required in the body besides: `{field}`").unwrap();
    }
    writeln!(out, "- Success: {success}, {}", form(answer)).unwrap();
    writeln!(out, "- Roles: {}", who(roles)).unwrap();
    if !route.spec().codes.is_empty() {
        writeln!(out, "- Errors besides the common ones: {}", codes(route.spec().codes)).unwrap();
    }
    let admission = match admission {
        Admission::Bounded => return out,
        Admission::Urgent => "never answered 503 because other requests take all places",
        Admission::LongPoll => "a long poll; takes none of the places of `requests_max`",
    };
    writeln!(out, "- Admission: {admission}").unwrap();
    out
}

/// The type of a body as a phrase.
fn form(payload: &str) -> String {
    match payload {
        "Empty" => "no body".to_owned(),
        "Artifact" => "bytes".to_owned(),
        "Document" => "an OpenAPI document".to_owned(),
        "Artifacts" => {
            "artifacts after each other, each after its length as 4 bytes, the most significant first".to_owned()
        }
        "OverviewEvents" => format!(
            "server-sent events: `caller` once, with a {}; then `overview`, at once and after each change, with an {}; a comment \
             after 15 s without an event. The stream ends when the broker stops, and when the token no longer opens it",
            link("CallerView"),
            link("Overview")
        ),
        json => link(json.trim_start_matches("Json<").trim_end_matches('>').trim()),
    }
}

fn link(shape: &str) -> String {
    assert!(
        SHAPE_LISTS.iter().copied().flatten().any(|known| known.name == shape),
        "{shape} is not on the page"
    );
    format!("[`{shape}`](#{})", shape.to_lowercase())
}

fn types() -> String {
    let mut out = format!(
        "
## Types

The JSON of requests and answers: objects with the fields below. Values of these kinds are strings:

| kind | form |
| --- | --- |
| digest | SHA-256 of an artifact, 64 lower-case hexadecimal digits |
| job id | `EPOCH:TYPE:DIGEST`: a decimal number up to 2^63 − 1, a name, the digest of the input |
| name | a type or version: 1 to {} of the characters `A-Z a-z 0-9 . _ -` |
| agent name | 1 to {} of these characters |
| incarnation, session, installation | 1 to {} of these characters, random: one start of a process, one start of an agent, where an agent is installed |

An optional field can be left out of a request. A field that can be `null` is `null` in answers where it does not apply.
",
        KindName::LENGTH_MAX,
        AgentId::LENGTH_MAX,
        Incarnation::LENGTH_MAX,
    );
    for Shape { name, doc, fields, strict } in SHAPE_LISTS.iter().copied().flatten() {
        write!(out, "\n### {name}\n\n{}\n\n", prose(doc)).unwrap();
        out.push_str("| field | value | meaning |\n| --- | --- | --- |\n");
        for field in *fields {
            let Field { name, kind, doc, .. } = field;
            let optional = if *strict && field.is_optional() { ", optional" } else { "" };
            writeln!(out, "| `{name}` | {}{optional} | {} |", value(kind), prose(doc)).unwrap();
        }
    }
    out
}

/// A Rust type as JSON. An unknown one fails the test: the page must say what it is.
fn value(kind: &str) -> String {
    let kind: String = kind.split_whitespace().collect();
    let inner = |outer: &str| kind.strip_prefix(outer)?.strip_suffix('>').map(str::to_owned);
    if let Some(kind) = inner("Option<") {
        return format!("{} or null", value(&kind));
    }
    if let Some(kind) = inner("Vec<") {
        return format!("array of {}", value(&kind));
    }
    let enums = [
        ("JobState", JobState::WHAT),
        ("AttemptOutcome", AttemptOutcome::WHAT),
        ("FailureClass", FailureClass::WHAT),
        ("RejectOutcome", RejectOutcome::WHAT),
        ("CompleteOutcome", CompleteOutcome::WHAT),
        ("EpochState", EpochState::WHAT),
        ("EpochOutcome", EpochOutcome::WHAT),
        ("Role", Role::WHAT),
        ("TokenState", TokenState::WHAT),
        ("AgentState", AgentState::WHAT),
        ("Severity", Severity::WHAT),
    ];
    if let Some((_, what)) = enums.iter().find(|(name, _)| *name == kind) {
        return format!("[{what}](#names)");
    }
    match kind.as_str() {
        "String" => "string",
        "bool" => "boolean",
        "u8" | "u32" | "u64" | "i64" | "LeaseEpoch" | "SizeClass" => "integer",
        "f32" | "f64" => "number",
        "Digest" => "digest",
        "JobId" => "job id",
        "KindName" => "name",
        "AgentId" => "agent name",
        "Incarnation" => "incarnation",
        "SessionId" => "session",
        "Installation" => "installation",
        "BTreeMap<String,f64>" => "object of numbers",
        "BTreeMap<String,u64>" => "object of integers",
        "BTreeMap<String,String>" => "object of strings",
        "serde_json::Value" => "any JSON",
        shape => return link(shape),
    }
    .to_owned()
}

/// A doc comment on the page: constants as their values.
fn prose(doc: &str) -> String {
    let text = openapi::prose(doc);
    assert!(!text.contains("[`"), "a link of rustdoc means nothing on the page: {text}");
    text
}

fn who(roles: &[Role]) -> String {
    if roles.len() == Role::ALL.len() {
        return "any".to_owned();
    }
    let others = roles.iter().filter(|role| **role != Role::Operator).map(|role| role.as_str());
    others.chain(["operator"]).collect::<Vec<_>>().join(", ")
}

fn codes(codes: &[Code]) -> String {
    codes.iter().map(|code| code.text()).collect::<Vec<_>>().join(", ")
}

fn names<T: Named>() -> String {
    let names: Vec<String> = T::VALUES.iter().map(|value| format!("`{}`", value.name())).collect();
    format!("| {} | {} |\n", T::WHAT, names.join(", "))
}
