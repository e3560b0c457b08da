//! The broker's OpenAPI document against the broker: a fuzzer that knows nothing of the interface but the document.
//!
//! For every operation it makes requests that the document allows and requests that break it in one place, and sends
//! them to a real broker on a real PostgreSQL. It requires of every answer that the document lists it, with its code,
//! and that its body is what its schema says. A request that is allowed is never answered BRK-010, and one that is
//! not always with 4xx. `ROLLMILL_REQUESTS` asks for more requests than a run has by default, `ROLLMILL_SEED` repeats
//! one.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rollmill_broker::store::Rules;
use rollmill_broker_client::{Digest, JobId, NewJob};
use serde_json::{Value, json};

use crate::support::document::{Document, Operation, shown};
use crate::support::generate::Generator;
use crate::support::target::{Target, body_of};

/// Requests of a run that nothing else asks for.
const REQUESTS: u64 = 2_000;
/// Share of requests that break the document, in percent.
const BROKEN: u32 = 55;
/// Operations that must have succeeded at least once, so that a run is worth something. The others need leases and
/// results, which come by chance.
const SUCCEEDED_MIN: usize = 20;

/// A request, and whether the document allows it.
struct Request<'a> {
    operation: Operation<'a>,
    method: &'static str,
    /// With the query.
    path: String,
    content_type: Option<&'static str>,
    body: Vec<u8>,
    /// What is wrong with it; [`None`] if it is allowed.
    wrong: Option<String>,
}

/// How a request breaks the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    // In the query or the path.
    Parameter,
    UnknownParameter,
    Twice,
    Method,
    // In a JSON body.
    Value,
    Missing,
    Unknown,
    TwiceField,
    Cut,
    Trailing,
    Utf8,
    Deep,
    Huge,
    Empty,
    ContentType,
    // In a body of bytes.
    CutParts,
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Goal: the document says what the broker does. Method: see the module.
#[tokio::test]
async fn the_broker_and_its_openapi_document_agree() {
    // One by default, so that a run that fails is a change that failed. Others find more: `ROLLMILL_SEED`.
    let seed = number("ROLLMILL_SEED").unwrap_or(7);
    println!("seed {seed}: repeat it with ROLLMILL_SEED={seed}");
    // An epoch is opened by each upload and each job of a new number.
    let target = Target::new(Rules { epochs_open_max: 1_000_000, ..Rules::default() }).await;
    let client = target.broker.client_with(Some(&target.token));
    let text = client.openapi().await.unwrap();
    let document = Document::new(std::str::from_utf8(&text).unwrap());
    let mut fuzzer = Fuzzer {
        generator: Generator::new(&document, StdRng::seed_from_u64(seed)),
        outcomes: BTreeMap::new(),
    };
    // Something to find.
    let (kind, version) = ("leaf".parse().unwrap(), "v1".parse().unwrap());
    let input = client.put_artifact(7, b"an input".to_vec()).await.unwrap();
    let job = NewJob::new(7, &kind, version, input);
    let id = JobId::new(7, &kind, input);
    client.enqueue(vec![job]).await.unwrap();
    for (name, value) in [
        ("JobId", id.to_string()),
        ("Digest", input.to_string()),
        ("KindName", "leaf".to_owned()),
        ("KindName", "v1".to_owned()),
        ("AgentId", "a".to_owned()),
    ] {
        fuzzer.generator.know(name, value.into());
    }
    let operations = document.operations();
    for n in 0..number("ROLLMILL_REQUESTS").unwrap_or(REQUESTS) {
        let place = usize::try_from(n).unwrap() % operations.len();
        let request = fuzzer.request(operations[place]);
        if let Err(wrong) = fuzzer.send(&target, &request).await {
            let Request { method, path, content_type, body, wrong: allowed, .. } = &request;
            let start = &body[..body.len().min(2_000)];
            panic!(
                "seed {seed}, request {n}: {wrong}\n{method} {path} {content_type:?}\n{}\n{}",
                allowed.as_deref().unwrap_or("the document allows it"),
                String::from_utf8_lossy(start)
            );
        }
    }
    for (id, outcomes) in &fuzzer.outcomes {
        println!("{id}: {outcomes:?}");
    }
    let succeeded = |outcomes: &&BTreeMap<u16, u64>| outcomes.keys().any(|status| *status < 300);
    let count = fuzzer.outcomes.values().filter(succeeded).count();
    assert!(count >= SUCCEEDED_MIN, "seed {seed}: only {count} operations succeeded at all");
    target.end_well().await;
}

struct Fuzzer<'a> {
    generator: Generator<'a>,
    /// How often each operation was answered with each status.
    outcomes: BTreeMap<String, BTreeMap<u16, u64>>,
}

impl<'a> Fuzzer<'a> {
    /// A request of the operation, allowed or not.
    fn request(&mut self, operation: Operation<'a>) -> Request<'a> {
        let how = match self.generator.chance(BROKEN) {
            true => {
                let all = self.breaks(operation);
                Some(self.generator.pick(&all))
            }
            false => None,
        };
        let mut request = Request {
            operation,
            method: operation.method,
            path: String::new(),
            content_type: None,
            body: Vec::new(),
            wrong: None,
        };
        self.fill_body(&mut request, how);
        self.fill_path(&mut request, how);
        if how == Some(Break::Method) {
            let taken = &self.generator.document.root()["paths"][operation.path];
            let all = ["GET", "PUT", "POST", "DELETE", "PATCH"];
            let mut others = all.to_vec();
            others.retain(|method| taken.get(method.to_ascii_lowercase()).is_none());
            request.method = self.generator.pick(&others);
            request.wrong = Some("the method".to_owned());
        }
        request
    }

    /// The ways in which a request of the operation can break the document.
    fn breaks(&self, operation: Operation<'a>) -> Vec<Break> {
        let has_query = operation.parameters("query").next().is_some();
        let mut all = vec![Break::Method];
        if has_query || operation.parameters("path").next().is_some() {
            all.push(Break::Parameter);
        }
        if has_query {
            all.extend([Break::UnknownParameter, Break::Twice]);
        }
        if operation.json().is_some() {
            // Most of what can be wrong is a value.
            all.extend([Break::Value; 6]);
            all.extend([
                Break::Missing,
                Break::Unknown,
                Break::TwiceField,
                Break::Cut,
                Break::Trailing,
                Break::Utf8,
                Break::Deep,
                Break::Huge,
                Break::Empty,
                Break::ContentType,
            ]);
        } else if let Some(schema) = bytes_schema(operation)
            && schema["format"] == "length-prefixed"
        {
            all.push(Break::CutParts);
        }
        all
    }

    /// Path and query.
    fn fill_path(&mut self, request: &mut Request<'a>, how: Option<Break>) {
        let operation = request.operation;
        let in_path: Vec<&Value> = operation.parameters("path").collect();
        let in_query: Vec<&Value> = operation.parameters("query").collect();
        let count = in_path.len() + in_query.len();
        let broken =
            (how == Some(Break::Parameter)).then(|| self.generator.rng.gen_range(0..count));
        let mut path = operation.path.to_owned();
        for (n, parameter) in in_path.iter().enumerate() {
            let mut text = self.parameter(parameter);
            if names_the_body(operation, parameter) && self.generator.chance(70) {
                text = Digest::of(&request.body).to_string();
            }
            if broken == Some(n) {
                text = self.wrong_parameter(parameter, &text, request);
            }
            let name = parameter["name"].as_str().unwrap();
            path = path.replace(&format!("{{{name}}}"), &encoded(&text));
        }
        let mut query = Vec::new();
        for (n, parameter) in in_query.iter().enumerate() {
            let name = parameter["name"].as_str().unwrap();
            let is_broken = broken == Some(in_path.len() + n);
            let is_required = parameter["required"] == true;
            let is_twice = how == Some(Break::Twice) && n == 0;
            if is_broken && is_required && self.generator.chance(30) {
                request.wrong = Some(format!("the parameter `{name}` is missing"));
                continue;
            }
            if !(is_required || is_broken || is_twice || self.generator.chance(40)) {
                continue;
            }
            let mut text = self.parameter(parameter);
            if is_broken {
                text = self.wrong_parameter(parameter, &text, request);
            }
            let pair = format!("{name}={}", encoded(&text));
            if is_twice {
                request.wrong = Some(format!("the parameter `{name}` comes twice"));
                query.push(pair.clone());
            }
            query.push(pair);
        }
        if how == Some(Break::UnknownParameter) {
            request.wrong = Some("an unknown parameter".to_owned());
            query.push("unknown=1".to_owned());
        }
        request.path = match query.is_empty() {
            true => path,
            false => format!("{path}?{}", query.join("&")),
        };
    }

    /// A parameter as text.
    fn parameter(&mut self, parameter: &Value) -> String {
        match self.generator.valid(&parameter["schema"]) {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    /// A text that the parameter does not allow.
    fn wrong_parameter(
        &mut self,
        parameter: &Value,
        good: &str,
        request: &mut Request<'a>,
    ) -> String {
        let document = self.generator.document;
        let schema = &parameter["schema"];
        let is_whole = document.keyword(schema, "type").is_some_and(|kind| kind == "integer");
        let is_allowed = |text: &str| match (is_whole, text.parse::<u64>()) {
            (true, Ok(number)) => document.violation(schema, &json!(number)).is_none(),
            (true, Err(_)) => false,
            (false, _) => document.violation(schema, &json!(text)).is_none(),
        };
        let long: String = good.chars().cycle().take(400).collect();
        let mut all = vec![
            "-1",
            "1.5",
            "1e3",
            "18446744073709551615",
            "18446744073709551616",
            "x y",
            "x\u{0}",
            "é",
            "{}",
            &long,
        ];
        let is_in_query = parameter["in"] == "query";
        if is_in_query {
            all.push("");
        }
        // A path loses a part that is empty or only dots, and is then another one.
        let is_kept = |text: &str| is_in_query || text.bytes().any(|b| b != b'.');
        all.retain(|text| !is_allowed(text) && is_kept(text));
        let text = self.generator.pick(&all).to_owned();
        request.wrong = Some(format!("the parameter {} is {text:?}", parameter["name"]));
        text
    }

    /// Body and its type of content.
    fn fill_body(&mut self, request: &mut Request<'a>, how: Option<Break>) {
        let operation = request.operation;
        if let Some(schema) = operation.json() {
            request.content_type = Some("application/json");
            self.fill_json(request, schema, how);
        } else if let Some(schema) = bytes_schema(operation) {
            request.content_type = Some("application/octet-stream");
            let is_parts = schema["format"] == "length-prefixed";
            let count = if is_parts { self.generator.rng.gen_range(0..4) } else { 1 };
            for n in 0..count {
                let length: u32 = self.generator.rng.gen_range(0..2_000);
                if is_parts {
                    request.body.extend(length.to_be_bytes());
                }
                request.body.extend((0..length).map(|at| (at * (n + 1)) as u8));
            }
            if how == Some(Break::CutParts) {
                request.body.extend([0, 0, 1, 0, 7]);
                request.wrong = Some("an artifact is cut".to_owned());
            }
        }
    }

    fn fill_json(&mut self, request: &mut Request<'a>, schema: &Value, how: Option<Break>) {
        let document = self.generator.document;
        let mut value = self.generator.valid(schema);
        let places = self.generator.places(schema, &value);
        let place = self.generator.rng.gen_range(0..places.len());
        let (at, inner) = places[place].clone();
        match how {
            Some(Break::Value) => {
                let old = value.pointer(&at).cloned().unwrap_or_default();
                let new = self.generator.doubtful(inner, &old);
                replace(&mut value, &at, new);
            }
            Some(Break::Huge) => {
                let huge = match self.generator.chance(50) {
                    true => json!("x".repeat(1_000_000)),
                    false => json!(vec![0; 200_000]),
                };
                replace(&mut value, &at, huge);
            }
            Some(Break::Missing) => self.change_object(&mut value, |generator, fields| {
                let names: Vec<String> = fields.keys().cloned().collect();
                let place = generator.rng.gen_range(0..names.len());
                fields.remove(&names[place]);
            }),
            Some(Break::Unknown) => self.change_object(&mut value, |_, fields| {
                fields.insert("unknown".to_owned(), json!(1));
            }),
            Some(Break::Deep) => replace(&mut value, &at, json!("@deep@")),
            _ => {}
        }
        if value["wait_ms"].is_u64() {
            // One number is as good as another, and nobody waits.
            value["wait_ms"] = 0.into();
        }
        request.wrong =
            document.violation(schema, &value).map(|wrong| format!("the body: {wrong}"));
        if let Some(cursor) = value["cursor"].as_str()
            && !cursor.is_empty()
            && !self.generator.knows("cursor", cursor)
        {
            // Its schema cannot say what it is, but that it is what an answer had.
            request.wrong = Some("a cursor that no answer had".to_owned());
        }
        request.body = value.to_string().into_bytes();
        self.break_bytes(request, schema, &value, how);
    }

    /// Changes one of the objects with fields in the value.
    fn change_object(
        &mut self,
        value: &mut Value,
        change: impl FnOnce(&mut Generator<'a>, &mut serde_json::Map<String, Value>),
    ) {
        let mut all = Vec::new();
        objects(value, String::new(), &mut all);
        if all.is_empty() {
            return;
        }
        let place = self.generator.rng.gen_range(0..all.len());
        if let Some(Value::Object(fields)) = value.pointer_mut(&all[place]) {
            change(&mut self.generator, fields);
        }
    }

    /// Breaks what no value can break.
    fn break_bytes(
        &mut self,
        request: &mut Request<'a>,
        schema: &Value,
        value: &Value,
        how: Option<Break>,
    ) {
        let body = &mut request.body;
        let rng = &mut self.generator.rng;
        let why = match how {
            Some(Break::Cut) => {
                body.truncate(rng.gen_range(1..body.len()));
                "the JSON is cut"
            }
            Some(Break::Trailing) => {
                body.push(b'x');
                "something follows the JSON"
            }
            Some(Break::Utf8) => {
                body.insert(rng.gen_range(0..body.len()), 0xff);
                "a byte is not of UTF-8"
            }
            Some(Break::Deep) => {
                let levels = if rng.gen_bool(0.5) { 200 } else { 20_000 };
                let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
                let text = value.to_string().replace("\"@deep@\"", &deep);
                *body = text.into_bytes();
                "too many levels"
            }
            Some(Break::Empty) => {
                body.clear();
                "there is no body"
            }
            Some(Break::ContentType) => {
                let types = [
                    None,
                    Some("text/plain"),
                    Some("application/xml"),
                    Some("multipart/form-data"),
                ];
                request.content_type = types[rng.gen_range(0..types.len())];
                "the type of content"
            }
            Some(Break::TwiceField) => match self.with_field_twice(schema, value) {
                Some(text) => {
                    request.body = text.into_bytes();
                    "a field comes twice"
                }
                None => return,
            },
            _ => return,
        };
        request.wrong = Some(why.to_owned());
    }

    /// The JSON of the value, with a field twice in an object whose fields the document names; [`None`] if it has none.
    fn with_field_twice(&mut self, schema: &Value, value: &Value) -> Option<String> {
        let document = self.generator.document;
        let mut places = self.generator.places(schema, value);
        places.retain(|(at, schema)| {
            let fields = value.pointer(at).and_then(Value::as_object);
            fields.is_some_and(|fields| !fields.is_empty())
                && document.keyword(schema, "additionalProperties") == Some(&json!(false))
        });
        if places.is_empty() {
            return None;
        }
        let (at, _) = &places[self.generator.rng.gen_range(0..places.len())];
        let (name, first) = value.pointer(at)?.as_object()?.iter().next()?;
        // Marked, and then written as it was, with its twin.
        let mut marked = value.clone();
        let fields = marked.pointer_mut(at)?.as_object_mut()?;
        fields.insert("@twin@".to_owned(), first.clone());
        let twin = format!("{}:", Value::from(name.as_str()));
        Some(marked.to_string().replace("\"@twin@\":", &twin))
    }

    /// Sends a request, and says what is wrong with the answer.
    async fn send(&mut self, target: &Target, request: &Request<'a>) -> Result<(), String> {
        let Request { operation, method, path, content_type, body, wrong } = request;
        let method: reqwest::Method = method.parse().unwrap();
        let mut sent = target.http.request(method, format!("{}{path}", target.url));
        if let Some(kind) = content_type {
            sent = sent.header("content-type", *kind);
        }
        if !body.is_empty() {
            sent = sent.body(body.clone());
        }
        let answer = sent.bearer_auth(&target.token).send().await;
        let answer = answer.map_err(|error| format!("no answer: {error}"))?;
        let status = answer.status().as_u16();
        let kind = answer.headers().get("content-type");
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
        let bytes = body_of(answer).await?;
        let shown_answer = format!("{status} {}", String::from_utf8_lossy(&bytes));
        let code = serde_json::from_slice::<Value>(&bytes).unwrap_or_default()["code"].clone();
        if wrong.as_deref() == Some("the method") {
            return match (status, code.as_str()) {
                (405, Some("BRK-033")) => Ok(()),
                _ => Err(format!("another method was answered {shown_answer}")),
            };
        }
        let document = self.generator.document;
        let found = document.check_answer(*operation, status, kind.as_deref(), &bytes);
        let value = found.map_err(|wrong| format!("{wrong}: {shown_answer}"))?;
        let is_right = match wrong {
            None => status < 500 && code != "BRK-010",
            Some(_) => (400..500).contains(&status),
        };
        if !is_right {
            return Err(format!("it was answered {shown_answer}"));
        }
        *self.outcomes.entry(operation.id().to_owned()).or_default().entry(status).or_default() +=
            1;
        if status < 300 {
            let content = &operation.spec["responses"][status.to_string()]["content"];
            if let Some(value) = value {
                self.generator.learn(&content["application/json"]["schema"], &value);
            }
            if operation.id() == "PutArtifact" {
                self.generator.know("Digest", Digest::of(body).to_string().into());
            }
        }
        Ok(())
    }
}

/// The schema of a body of bytes.
fn bytes_schema(operation: Operation<'_>) -> Option<&Value> {
    Some(&operation.contents()?.get("application/octet-stream")?["schema"])
}

/// Whether the parameter names the bytes that are sent.
fn names_the_body(operation: Operation<'_>, parameter: &Value) -> bool {
    let is_digest = parameter["schema"]["$ref"] == "#/components/schemas/Digest";
    is_digest && operation.contents().is_some()
}

/// Percent-encoded but for the characters of names.
fn encoded(text: &str) -> String {
    let byte = |b: u8| match b.is_ascii_alphanumeric() || b"._-".contains(&b) {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn replace(value: &mut Value, at: &str, new: Value) {
    match value.pointer_mut(at) {
        Some(place) => *place = new,
        None => panic!("there is no {at} to replace"),
    }
}

/// Pointers to the objects in a value that have fields.
fn objects(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                objects(value, format!("{at}/{name}"), all);
            }
            if !fields.is_empty() {
                all.push(at);
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                objects(item, format!("{at}/{n}"), all);
            }
        }
        _ => {}
    }
}

/// Goal: the fuzzer breaks what it says it breaks. Method: its own pieces.
#[test]
fn the_pieces_of_the_fuzzer_do_what_they_say() {
    assert_eq!(encoded("a.b_c-9 /é"), "a.b_c-9%20%2F%C3%A9");
    let value = json!({ "a": { "b/c": [{ "d": 1 }] }, "e": {} });
    let mut all = Vec::new();
    objects(&value, String::new(), &mut all);
    assert_eq!(all, ["/a/b~1c/0", "/a", ""]);
    let mut changed = value.clone();
    replace(&mut changed, "/a/b~1c/0/d", json!(2));
    assert_eq!(changed["a"]["b/c"][0]["d"], 2);

    let document = Document::new(&rollmill_broker::openapi::document());
    let rng = StdRng::seed_from_u64(1);
    let mut fuzzer =
        Fuzzer { generator: Generator::new(&document, rng), outcomes: BTreeMap::new() };
    for operation in document.operations() {
        let Some(schema) = operation.json() else { continue };
        for _ in 0..20 {
            let value = fuzzer.generator.valid(schema);
            assert_eq!(document.violation(schema, &value), None, "{}", shown(&value));
            if let Some(text) = fuzzer.with_field_twice(schema, &value) {
                // What comes twice has one value, so that the last one is the first.
                assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
                assert!(text.len() > value.to_string().len());
            }
        }
    }
}
