//! Pages that are generated from the code. `ROLLMILL_BLESS=1 cargo test -p rollmill-broker --test pages`
//! writes them; without it the test compares.

use std::fmt::Write as _;

use rollmill_broker::states::{TRANSITIONS, Transition};
use rollmill_broker_client::routes::{Admission, BodyLimit, COMMON_CODES, RouteName, Spec};
use rollmill_broker_client::{
    AttemptOutcome, BATCH_MAX, Code, CompleteOutcome, FailureClass, JobState, Named, RejectOutcome,
    Role, SizeClass, WAIT_MS_MAX,
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
         write it with ROLLMILL_BLESS=1 cargo test -p rollmill-broker --test pages",
        line + 1,
        have.lines().nth(line).unwrap_or_default(),
        wanted.lines().nth(line).unwrap_or_default(),
    );
}

#[test]
fn the_page_of_the_http_api_is_the_table_of_routes() {
    compare("http.md", &http_page());
}

#[test]
fn the_page_of_the_states_is_the_table_of_transitions() {
    compare("book/states.md", &states_page());
}

fn states_page() -> String {
    let mut page = "# States of a job

<!-- Generated from `broker/src/states.rs`. Do not edit. Write it again with
     `ROLLMILL_BLESS=1 cargo test -p rollmill-broker --test pages`. -->

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
ends with one of the outcomes below. A failed one has a failure class, which decides what happens to the job
(`broker/src/policy.rs`).

| outcome | the attempt |
| --- | --- |
",
    );
    for outcome in AttemptOutcome::ALL {
        writeln!(page, "| {outcome} | {} |", ended(outcome)).unwrap();
    }
    page
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

<!-- Generated from `broker/client/src/routes.rs`. Do not edit. Write it again with
     `ROLLMILL_BLESS=1 cargo test -p rollmill-broker --test pages`. -->

Producers, agents and operators call the routes below over HTTP/1.1. `rollmill-broker-client` has a typed method for each.

- A request carries its token in the header `Authorization: Bearer TOKEN`. A broker without tokens listens on loopback only and
  treats every caller as an operator of the tenant `default`. The token names the tenant; jobs, artifacts and names of another
  tenant do not exist for it.
- Bodies are JSON, except artifacts, which are bytes. The broker rejects unknown fields of a request; a client must ignore unknown
  fields of an answer. The types are in `broker/client/src/types.rs`.
- Every request can be repeated: ids are digests, and lease epochs and fences reject what is out of date.
- A request names at most {BATCH_MAX} jobs or ids. A long poll waits at most {WAIT_MS_MAX} ms. Classes of agents are 0 to {largest}.

## Errors

An error has the body `{{\"code\": \"BRK-010\", \"message\": \"…\"}}`. Act on the code, not on the status alone: a proxy in front of the broker
answers with statuses of its own. An answer with 503 has the header `Retry-After`. [Error codes](errors.md) says what each code means.
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
    page.push_str(
        "\n## Names\n\nThe values of the enumerations in requests, answers and metrics.\n\n",
    );
    page.push_str("| what | names |\n| --- | --- |\n");
    page.push_str(&names::<JobState>());
    page.push_str(&names::<AttemptOutcome>());
    page.push_str(&names::<FailureClass>());
    page.push_str(&names::<RejectOutcome>());
    page.push_str(&names::<CompleteOutcome>());
    page.push_str(&names::<Role>());
    page
}

fn section(route: RouteName) -> String {
    let Spec { method, path, query, body, body_limit, answer, success, roles, admission, .. } =
        route.spec();
    let mut out = format!("\n### {route:?}\n\n`{} {path}`\n\n", method.as_str());
    writeln!(out, "{}\n", sentence(route.spec().doc)).unwrap();
    if *query != "NoQuery" {
        writeln!(out, "- Query: `{query}`").unwrap();
    }
    let limit = match body_limit {
        BodyLimit::None => String::new(),
        BodyLimit::Bytes(max) => format!(", at most {} MiB", max >> 20),
        BodyLimit::Artifact => ", at most the setting `artifact_bytes_max`".to_owned(),
    };
    if *body_limit != BodyLimit::None {
        writeln!(out, "- Body: {}{limit}", form(body)).unwrap();
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
        json => format!("`{}`", json.trim_start_matches("Json<").trim_end_matches('>').trim()),
    }
}

fn sentence(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
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
