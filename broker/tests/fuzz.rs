//! Whatever a client sends to any route, the broker answers it with a status that is the client's fault or nobody's,
//! and lives on. What is sent here is made of a good request of each route; `conformance.rs` makes requests of the
//! schemas of the interface.

use crate::support::requests::request;
use crate::support::target::Target;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rollmill_broker::store::Rules;
use rollmill_broker_client::ErrorBody;
use rollmill_broker_client::routes::RouteName;
use serde_json::Value;

/// Requests in one run of the test, over all routes.
const CASES: u32 = 1_500;

/// Texts that break what does not expect them: of the database, of paths and of people.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        Just("\u{0}".to_owned()),
        Just("'; DROP TABLE job; --".to_owned()),
        Just("../../etc/passwd".to_owned()),
        Just("x".repeat(5_000)),
        Just("9223372036854775808".to_owned()),
        Just("{}".to_owned()),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![Just(0_i64), Just(-1), Just(i64::MAX), Just(i64::MIN)].prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((texts(), inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// What is done to a good body.
#[derive(Clone, Debug)]
enum Change {
    /// The value at a place becomes another.
    Replace(prop::sample::Index, Value),
    /// A field is gone, or a new one is there.
    Remove(prop::sample::Index),
    Add(String, Value),
    /// Nothing of it is left.
    Whole(Value),
    Bytes(Vec<u8>),
    Cut(prop::sample::Index),
    /// The path's parameter, percent-encoded.
    Path(String),
    Query(String),
}

fn changes() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (index(), values()).prop_map(|(at, value)| Change::Replace(at, value)),
        1 => index().prop_map(Change::Remove),
        1 => (texts(), values()).prop_map(|(name, value)| Change::Add(name, value)),
        1 => values().prop_map(Change::Whole),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Change::Bytes),
        1 => index().prop_map(Change::Cut),
        2 => texts().prop_map(Change::Path),
        1 => texts().prop_map(Change::Query),
    ]
}

/// Pointers to every value below this one, itself included.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), all));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| places(item, &format!("{at}/{n}"), all));
        }
        _ => {}
    }
}

fn in_path(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

/// The same without a wait: a number there is as good as any other.
fn impatient(body: Vec<u8>) -> Vec<u8> {
    match serde_json::from_slice::<Value>(&body) {
        Ok(mut value) if value["wait_ms"].is_u64() => {
            value["wait_ms"] = 0.into();
            value.to_string().into_bytes()
        }
        _ => body,
    }
}

fn apply(route: RouteName, change: Change) -> (String, Vec<u8>) {
    let (mut path, body) = request(route);
    let parsed: Option<Value> = serde_json::from_slice(&body).ok();
    let bytes = match (change, parsed) {
        (Change::Path(text), _) => {
            let spec = route.spec().path;
            if let (Some(open), Some(close)) = (spec.find('{'), spec.find('}')) {
                path = format!("{}{}{}", &spec[..open], in_path(&text), &spec[close + 1..]);
            }
            body
        }
        (Change::Query(text), _) => {
            path = format!("{}?epoch={1}&limit={1}&before={1}", route.spec().path, in_path(&text));
            path = path.replace(['{', '}'], "");
            body
        }
        (Change::Whole(value), _) => value.to_string().into_bytes(),
        (Change::Bytes(bytes), _) => bytes,
        (Change::Cut(at), _) if body.is_empty() => vec![at.index(256) as u8],
        (Change::Cut(at), _) => body[..at.index(body.len())].to_vec(),
        (Change::Replace(at, value), Some(mut good)) => {
            let mut all = Vec::new();
            places(&good, "", &mut all);
            if let Some(place) = good.pointer_mut(&all[at.index(all.len())]) {
                *place = value;
            }
            good.to_string().into_bytes()
        }
        (Change::Remove(at), Some(Value::Object(mut fields))) if !fields.is_empty() => {
            let name = fields.keys().nth(at.index(fields.len())).cloned();
            name.map(|name| fields.remove(&name));
            Value::Object(fields).to_string().into_bytes()
        }
        (Change::Add(name, value), Some(Value::Object(mut fields))) => {
            fields.insert(name, value);
            Value::Object(fields).to_string().into_bytes()
        }
        (Change::Replace(_, value) | Change::Add(_, value), _) => value.to_string().into_bytes(),
        (Change::Remove(_), _) => Vec::new(),
    };
    (path, impatient(bytes))
}

/// Goal: no request is answered 500, none 503 while nothing is wrong, and none ends the broker. Method: good requests of
/// every route, of which something is changed.
#[test]
fn no_request_of_any_route_is_the_brokers_fault() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let target = runtime.block_on(Target::new(Rules::default()));
    let Target { url, token, http, .. } = &target;
    let routes = prop::sample::select(RouteName::ALL.to_vec());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let tried = TestRunner::new(config).run(&(routes, changes()), |(route, change)| {
        let (path, body) = apply(route, change);
        let method: reqwest::Method = route.spec().method.as_str().parse().unwrap();
        let request = http
            .request(method, format!("{url}{path}"))
            .header("content-type", "application/json")
            .bearer_auth(token)
            .body(body);
        let (status, text) = runtime.block_on(async {
            let answer = request.send().await.map_err(|e| TestCaseError::fail(e.to_string()))?;
            let status = answer.status().as_u16();
            Ok::<_, TestCaseError>((status, answer.text().await.unwrap_or_default()))
        })?;
        prop_assert!(
            status < 500 && !matches!(status, 401 | 429),
            "{route:?} {path}: {status} {text}"
        );
        if status >= 400 {
            let error = serde_json::from_str::<ErrorBody>(&text);
            prop_assert!(error.is_ok(), "{route:?} {path}: {status} {text}");
        }
        Ok(())
    });
    tried.unwrap();
    // It serves still, and its tables are there.
    runtime.block_on(target.end_well());
}
