//! The HTTP interface as an OpenAPI document, made of the tables that the server and the client are made of: routes,
//! types with the rules of their fields, codes.
//!
//! `docs/openapi.json` is the document, and `GET /openapi.json` returns it. `tests/conformance.rs` reads it, sends
//! requests that it allows and requests that it does not, and compares every answer with it.

mod schemas;
mod text;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::Bytes;
use rollmill_broker_client::routes::{
    Admission, BodyLimit, COMMON_CODES, Content, EventForm, Method, RouteName, Spec,
};
use rollmill_broker_client::{Code, Role};
use rollmill_service::RequestError;
use serde_json::{Map, Value, json};

pub use text::{prose, sentence};

/// Name of the security scheme.
const TOKEN: &str = "token";
/// Where the schemas are.
const SCHEMAS: &str = "#/components/schemas/";
/// Where the answers are that several routes share.
const RESPONSES: &str = "#/components/responses/";
/// Format of a body of several artifacts.
const PARTS: &str = "length-prefixed";
/// Extension of a stream's content: its events.
const EVENTS: &str = "x-events";

const DESCRIPTION: &str = "\
The interface of the broker for producers, agents and operators. `docs/http.md` is the same for people, and \
`docs/errors.md` says what to do about each code.

- A request has a token as its bearer. The security of an operation names the roles that it is open to. A broker \
that its settings open on loopback treats every caller as an operator until there is a token.
- Every request may be repeated, except those that create or rotate a token.
- The broker rejects unknown fields of a request, unknown parameters of a query that has parameters, and fields or \
parameters that come twice. A client ignores unknown fields of an answer.
- Integers have neither a fraction nor an exponent. JSON has at most 127 levels.
- A value of the format `cursor` is opaque: pass back what an answer had. A body of the format `length-prefixed` is \
artifacts after each other, each after its length as 4 bytes, the most significant first.
- This document leaves out the web page for operators (`/`, `/page.css` and `/page.js`) and the interface for Aztec's \
programs (`/aztec/{token}`, and `/` and `/status` where a setting asks for them).
- Besides the answers that an operation lists, a path that is none is answered 404 (BRK-032) and another method 405 \
(BRK-033).
";

static SERVED: LazyLock<Bytes> = LazyLock::new(|| document().into());

/// The document, as the broker serves it.
pub(crate) fn served() -> Bytes {
    SERVED.clone()
}

/// The document, as text with an end of line.
pub fn document() -> String {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut answers = Map::new();
    for route in RouteName::ALL {
        let Spec { path, method, .. } = route.spec();
        let method = method.as_str().to_ascii_lowercase();
        paths.entry(*path).or_default().insert(method, operation(*route));
        for Errors { name, status, codes } in errors(route.spec()) {
            answers.entry(name).or_insert_with(|| rejection(status, &codes));
        }
    }
    answers.insert("Other".to_owned(), other());
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rollmill broker",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            "description": DESCRIPTION,
        },
        "paths": paths,
        "components": {
            "schemas": schemas::components(),
            "responses": answers,
            "securitySchemes": {
                TOKEN: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "What `rollmill-broker tokens add` prints.",
                },
            },
        },
    });
    document.sort_all_objects();
    format!("{document:#}\n")
}

fn operation(route: RouteName) -> Value {
    let spec = route.spec();
    let doc = sentence(spec.doc);
    let first = doc.split_inclusive(". ").next().unwrap_or_default().trim();
    let admission = match spec.admission {
        Admission::Bounded => "",
        Admission::Urgent => " Never answered 503 because other requests take all places.",
        Admission::LongPoll => {
            " A long poll: takes none of the places of the setting `requests_max`."
        }
    };
    let mut operation = json!({
        "operationId": format!("{route:?}"),
        "summary": first.trim_end_matches('.'),
        "description": format!("{doc}{admission}"),
        "security": security(spec.roles),
        "parameters": schemas::parameters(spec),
        "responses": responses(spec),
    });
    if let Some(body) = request_body(spec) {
        operation["requestBody"] = body;
    }
    operation
}

/// One requirement for each role that opens the route. Each is enough.
fn security(roles: &[Role]) -> Vec<Value> {
    let opens = |role: &Role| *role == Role::Operator || roles.contains(role);
    Role::ALL
        .iter()
        .filter(|role| opens(role))
        .map(|role| json!({ TOKEN: [role.as_str()] }))
        .collect()
}

fn request_body(spec: &Spec) -> Option<Value> {
    let limit = match spec.body_limit {
        BodyLimit::None => return None,
        BodyLimit::Bytes(max) => format!("At most {} MiB.", max >> 20),
        BodyLimit::Artifact => {
            "At most the setting `artifact_bytes_max`, 64 MiB by default.".to_owned()
        }
    };
    let body = match spec.body_form {
        Content::Nothing | Content::Document | Content::Events(_) => return None,
        Content::Json(form) => {
            let schema = schemas::required(schemas::of(form, &[]), spec);
            json!({
                "description": limit,
                "required": true,
                "content": { "application/json": { "schema": schema } },
            })
        }
        Content::Bytes => bytes_of(&format!("{limit} Bytes as they are."), &json!({})),
        Content::Parts => {
            let what = format!("{limit} Artifacts after each other, each after its length.");
            bytes_of(&what, &json!({ "format": PARTS }))
        }
    };
    Some(body)
}

/// A body of bytes, which may come as any type of content.
fn bytes_of(description: &str, schema: &Value) -> Value {
    json!({
        "description": description,
        "content": {
            "application/octet-stream": { "schema": schema },
            "*/*": { "schema": schema },
        },
    })
}

fn responses(spec: &Spec) -> Map<String, Value> {
    let success = match spec.answer_form {
        Content::Nothing => json!({ "description": "Done." }),
        Content::Json(form) => json!({
            "description": "Done.",
            "content": { "application/json": { "schema": schemas::of(form, &[]) } },
        }),
        Content::Bytes | Content::Parts => json!({
            "description": "The bytes. Where the connection ends before all of them, they are not whole.",
            "headers": {
                "Content-Length": {
                    "description": "How many there are.",
                    "required": true,
                    "schema": { "type": "integer", "minimum": 0 },
                },
            },
            "content": { "application/octet-stream": { "schema": {} } },
        }),
        Content::Document => json!({
            "description": "This document.",
            "content": { "application/json": { "schema": { "type": "object" } } },
        }),
        Content::Events(kinds) => events(kinds),
    };
    let mut all = Map::new();
    all.insert(spec.success.to_string(), success);
    for Errors { name, status, .. } in errors(spec) {
        all.insert(status.to_string(), json!({ "$ref": format!("{RESPONSES}{name}") }));
    }
    all.insert("default".to_owned(), json!({ "$ref": format!("{RESPONSES}Other") }));
    all
}

/// An answer of server-sent events. OpenAPI 3.1 has no words for what one of them is, so that an extension lists them.
fn events(kinds: &[EventForm]) -> Value {
    let listed = |event: &EventForm| {
        let schema = schemas::of(event.form, &[]);
        json!({ "name": event.name, "schema": schema })
    };
    let kinds: Vec<Value> = kinds.iter().map(listed).collect();
    json!({
        "description": "Server-sent events; the data of each is one line of JSON. `x-events` lists their names and \
                        schemas: the first event comes once, the second at once and after each change. A comment \
                        comes after 15 s without an event. The stream ends when the broker stops, and when the token \
                        no longer opens it.",
        "content": { "text/event-stream": { "schema": { "type": "string" }, EVENTS: kinds } },
    })
}

/// The errors of a route with one status: a name for the set, and each code with its meaning.
struct Errors {
    name: String,
    status: u16,
    codes: Vec<(String, String)>,
}

/// The errors of a route by status.
fn errors(spec: &Spec) -> Vec<Errors> {
    let own = COMMON_CODES.iter().chain(spec.codes);
    let own = own.map(|code| (code.status(), code.text(), sentence(code.meaning())));
    let mut by_status: BTreeMap<u16, BTreeMap<String, String>> = BTreeMap::new();
    for (status, code, meaning) in own.chain(frame(spec.method)) {
        by_status.entry(status).or_default().insert(code, meaning);
    }
    let of_status = |(status, codes): (u16, BTreeMap<String, String>)| {
        let names: Vec<&str> = codes.keys().map(String::as_str).collect();
        Errors { name: names.join("_"), status, codes: codes.into_iter().collect() }
    };
    by_status.into_iter().map(of_status).collect()
}

/// What the frame of the server rejects before any route sees it.
fn frame(method: Method) -> impl Iterator<Item = (u16, String, String)> {
    let content_type = RequestError::ContentType { found: String::new() };
    let rejected = [
        (
            RequestError::Host { host: String::new() },
            "The request's `Host` is not a name of the broker.",
        ),
        (
            RequestError::Origin { origin: String::new() },
            "A page of another site sent the request.",
        ),
        (RequestError::PlainHttp, "Plain HTTP arrived at an address that serves TLS."),
        (content_type, "A POST with a body has no content type, or one of a form."),
    ];
    let is_its = move |error: &RequestError| {
        method == Method::Post || !matches!(error, RequestError::ContentType { .. })
    };
    rejected.into_iter().filter(move |(error, _)| is_its(error)).map(|(error, meaning)| {
        (error.status().as_u16(), error.code().to_owned(), meaning.to_owned())
    })
}

/// The answer with one of these codes.
fn rejection(status: u16, codes: &[(String, String)]) -> Value {
    let names: Vec<&str> = codes.iter().map(|(code, _)| code.as_str()).collect();
    let lines: Vec<String> = codes.iter().map(|(code, says)| format!("- {code}: {says}")).collect();
    let mut answer = json!({
        "description": lines.join("\n"),
        "content": { "application/json": { "schema": { "allOf": [
            { "$ref": format!("{SCHEMAS}ErrorBody") },
            { "properties": { "code": { "enum": names } } },
        ] } } },
    });
    if matches!(status, 429 | 503) {
        answer["headers"] = json!({
            "Retry-After": {
                "description": "Seconds after which the request may be repeated.",
                "required": true,
                "schema": { "type": "integer", "minimum": 0 },
            },
        });
    }
    answer
}

/// What no operation lists.
fn other() -> Value {
    json!({
        "description": "An error of the broker itself (500), or the answer of something in front of it.",
        "content": { "application/json": { "schema": { "$ref": format!("{SCHEMAS}ErrorBody") } } },
    })
}

/// Paths that a broker serves and the document leaves out: the web page, which a browser reads, and the interface for
/// Aztec's programs, whose form is Aztec's.
pub const LEFT_OUT: [&str; 5] = ["/", "/aztec/{token}", "/page.css", "/page.js", "/status"];

/// Codes that no operation lists, since the request finds none.
pub const OF_NO_OPERATION: [Code; 2] = [Code::UnknownPath, Code::WrongMethod];
