//! The OpenAPI document by itself: it is well-formed, and says what the tables say. Whether the broker does what it says
//! is in `conformance.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::document::{Document, EVENT_STREAM};
use rollmill_broker::openapi::{self, LEFT_OUT, OF_NO_OPERATION};
use rollmill_broker_client::routes::{COMMON_CODES, RouteName, Spec};
use rollmill_broker_client::{Code, Role, SHAPE_LISTS};
use serde_json::{Value, json};

fn document() -> Document {
    Document::new(&openapi::document())
}

/// Every object in a value, with its place.
fn objects<'a>(value: &'a Value, at: String, all: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(fields) => {
            all.push((at.clone(), value));
            fields.iter().for_each(|(name, value)| objects(value, format!("{at}/{name}"), all));
        }
        Value::Array(items) => items.iter().for_each(|item| objects(item, at.clone(), all)),
        _ => {}
    }
}

/// The schemas of a document that have a name, and those of parameters, bodies and answers.
fn schemas(document: &Document) -> Vec<&Value> {
    let mut all = Vec::new();
    objects(document.root(), String::new(), &mut all);
    let named = document.root()["components"]["schemas"].as_object().unwrap().values();
    let others = all.into_iter().filter_map(|(_, value)| {
        // A field of that name would be a schema itself.
        value.get("schema").filter(|schema| schema.is_object())
    });
    named.chain(others).collect()
}

/// Goal: a program can read the document. Method: follow every reference, and let the validator walk every schema; it
/// panics at a keyword, a type or a pattern that it does not know.
#[test]
fn every_reference_of_the_document_resolves_and_every_keyword_is_known() {
    let document = document();
    let mut all = Vec::new();
    objects(document.root(), String::new(), &mut all);
    let references = all.iter().filter(|(_, value)| value.get("$ref").is_some());
    let mut count = 0;
    for (_, value) in references {
        // Panics if it leads nowhere.
        assert!(document.target(value).is_object());
        count += 1;
    }
    assert!(count > 100, "{count} references");
    let values = [json!(null), json!(1), json!("x"), json!([{}]), json!({ "a": 1 })];
    for schema in schemas(&document) {
        for value in &values {
            let _ = document.violation(schema, value);
        }
    }
    // No doc comment has a link of rustdoc, which means nothing to a reader of the document.
    for (at, value) in &all {
        let says = value["description"].as_str().unwrap_or_default();
        assert!(!says.contains("[`"), "{at}: {says}");
    }
}

/// Goal: every route of the table is in the document, and no other. Method: compare both as sets, with names, roles and
/// parameters.
#[test]
fn the_document_has_the_routes_of_the_table_and_no_others() {
    let document = document();
    let operations = document.operations();
    let listed: BTreeMap<(&str, &str), &str> = operations
        .iter()
        .map(|operation| ((operation.path, operation.method), operation.id()))
        .collect();
    let names: Vec<String> = RouteName::ALL.iter().map(|route| format!("{route:?}")).collect();
    let table: BTreeMap<(&str, &str), &str> = RouteName::ALL
        .iter()
        .zip(&names)
        .map(|(route, name)| ((route.spec().path, route.spec().method.as_str()), name.as_str()))
        .collect();
    assert_eq!(listed, table);
    assert_eq!(operations.len(), RouteName::ALL.len());
    for route in RouteName::ALL {
        let Spec { path, roles, success, .. } = route.spec();
        let name = format!("{route:?}");
        let operation = operations.iter().find(|operation| operation.id() == name).unwrap();
        let in_path: Vec<&Value> = operation.parameters("path").map(|it| &it["name"]).collect();
        assert_eq!(in_path.len(), path.matches('{').count(), "{name}");
        assert!(in_path.iter().all(|it| path.contains(&format!("{{{}}}", it.as_str().unwrap()))));
        assert!(operation.spec["responses"].get(success.to_string()).is_some(), "{name}");
        let requirements = operation.spec["security"].as_array().unwrap();
        let open: BTreeSet<&str> =
            requirements.iter().map(|one| one["token"][0].as_str().unwrap()).collect();
        let roles = roles.iter().chain([&Role::Operator]).map(|role| role.as_str());
        let roles: BTreeSet<&str> = roles.collect();
        assert_eq!(open, roles, "{name}");
    }
    let schemes = document.root()["components"]["securitySchemes"].as_object().unwrap();
    assert_eq!(schemes.keys().collect::<Vec<_>>(), ["token"]);
}

/// Goal: an operation lists the codes of its route with their statuses, and no code that does not exist.
#[test]
fn every_code_that_the_document_lists_exists_and_every_code_is_listed() {
    let document = document();
    let mut seen = BTreeSet::new();
    for operation in document.operations() {
        let id = operation.id();
        let mut listed = BTreeSet::new();
        for (status, answer) in operation.spec["responses"].as_object().unwrap() {
            let schema = &document.target(answer)["content"]["application/json"]["schema"];
            let codes = schema["allOf"][1]["properties"]["code"]["enum"].as_array();
            for code in codes.into_iter().flatten() {
                let code = code.as_str().unwrap();
                match Code::parse(code) {
                    Some(known) => assert_eq!(&known.status().to_string(), status, "{id}: {code}"),
                    // Those of the frame of the server: the page of TLS has them.
                    None => assert!(
                        ["SVC-012", "SVC-013", "SVC-014", "SVC-015"].contains(&code),
                        "{id}: there is no code {code}"
                    ),
                }
                assert!(listed.insert(code.to_owned()), "{id}: {code} is there twice");
            }
        }
        let route = RouteName::ALL.iter().find(|route| format!("{route:?}") == id).unwrap();
        let own = COMMON_CODES.iter().chain(route.spec().codes).map(|code| code.text());
        let own: BTreeSet<String> = own.collect();
        let found: BTreeSet<String> =
            listed.iter().filter(|code| code.starts_with("BRK-")).cloned().collect();
        assert_eq!(found, own, "{id}");
        seen.extend(listed);
    }
    let missing: Vec<Code> =
        Code::ALL.into_iter().filter(|code| !seen.contains(&code.text())).collect();
    assert_eq!(missing, OF_NO_OPERATION);
}

/// Goal: each type of the tables is a schema with its fields, strict where the broker is.
#[test]
fn every_type_of_the_tables_is_a_schema_with_its_fields() {
    let document = document();
    let schemas = &document.root()["components"]["schemas"];
    for shape in SHAPE_LISTS.iter().copied().flatten() {
        let schema = &schemas[shape.name];
        let listed: BTreeSet<&str> =
            schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let fields: BTreeSet<&str> = shape.fields.iter().map(|field| field.name).collect();
        assert_eq!(listed, fields, "{}", shape.name);
        let is_strict = schema["additionalProperties"] == false;
        assert_eq!(is_strict, shape.strict, "{}", shape.name);
        let required = schema["required"].as_array().unwrap();
        for field in shape.fields {
            let is_required = required.contains(&json!(field.name));
            let can_lack = shape.strict && field.is_optional();
            assert_eq!(is_required, !can_lack, "{}.{}", shape.name, field.name);
        }
    }
}

/// Goal: a reader knows which paths are not described, and a path that is described is not among them.
#[test]
fn the_document_names_the_paths_that_it_leaves_out() {
    let document = document();
    let text = document.root()["info"]["description"].as_str().unwrap();
    for path in LEFT_OUT {
        assert!(text.contains(&format!("`{path}`")), "{path}");
        assert!(document.root()["paths"].get(path).is_none(), "{path}");
    }
}

/// Goal: a client knows the events of a stream. Method: every operation that answers with a stream lists them, with the
/// schemas of types that are in the document.
#[test]
fn every_stream_lists_its_events() {
    let document = document();
    let mut streams = Vec::new();
    for operation in document.operations() {
        let content = &operation.spec["responses"]["200"]["content"][EVENT_STREAM];
        for event in content["x-events"].as_array().into_iter().flatten() {
            let name = event["name"].as_str().unwrap();
            assert!(document.target(&event["schema"])["properties"].is_object(), "{name}");
            streams.push((operation.id(), name));
        }
    }
    assert_eq!(streams, [("Events", "caller"), ("Events", "overview")]);
}

/// Goal: bounds and patterns are those of the types. Method: values at the bounds, one beyond, and near misses.
#[test]
fn the_bounds_of_the_schemas_are_those_of_the_types() {
    let document = document();
    let digest = "0".repeat(64);
    let id = |epoch: &str| format!("{epoch}:leaf:{digest}");
    for (name, value, is_valid) in [
        ("Digest", json!(digest), true),
        ("Digest", json!(digest.to_uppercase().replace('0', "A")), false),
        ("Digest", json!("0".repeat(63)), false),
        ("JobId", json!(id("0")), true),
        ("JobId", json!(id("9223372036854775807")), true),
        ("JobId", json!(id("9223372036854775808")), false),
        ("JobId", json!(id("10000000000000000000")), false),
        ("JobId", json!(id("07")), false),
        ("AgentId", json!("a".repeat(100)), true),
        ("AgentId", json!("a".repeat(101)), false),
        ("AgentId", json!(".."), false),
        ("AgentId", json!("a b"), false),
        ("KindName", json!("x".repeat(60)), true),
        ("KindName", json!("x".repeat(61)), false),
        ("TokenLabel", json!("GPU farm/7 é"), true),
        ("TokenLabel", json!("a\nb"), false),
        ("JobState", json!("input_wanted"), true),
        ("JobState", json!("lost"), false),
        ("NewToken", json!({ "label": "a.b", "role": "reader" }), true),
        ("NewToken", json!({ "label": "brokers", "role": "reader" }), true),
        ("NewToken", json!({ "label": "broker", "role": "reader" }), false),
        ("NewToken", json!({ "label": "loopback", "role": "fleet" }), false),
        ("NewToken", json!({ "label": "operator.token", "role": "agent", "agent": "a" }), false),
        ("NewToken", json!({ "label": "a.b", "role": "fleet" }), false),
        ("NewToken", json!({ "label": "a.b", "role": "agent" }), false),
        ("NewToken", json!({ "label": "a.b", "role": "agent", "agent": "a" }), true),
        ("NewToken", json!({ "label": "a.b", "role": "agent", "agent": "a.b" }), false),
        ("NewToken", json!({ "label": "a", "role": "reader", "agent": "a" }), false),
        ("NewToken", json!({ "label": "a", "role": "reader", "certificate": "a.b" }), true),
        ("NewToken", json!({ "label": "a", "role": "agent", "certificate": "a.b" }), true),
        ("NewToken", json!({ "label": "a", "role": "operator", "certificate": "a.b" }), false),
        ("NewToken", json!({ "label": "a", "role": "fleet", "certificate": "a b" }), false),
        ("CloseEpochRequest", json!({ "outcome": "final" }), true),
        ("CloseEpochRequest", json!({ "outcome": "silent" }), false),
        ("FreeJson", json!({ "a": [1, null, { "b": "\u{1}" }] }), true),
        ("FreeJson", json!({ "a": ["\u{0}"] }), false),
    ] {
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        let found = document.violation(&schema, &value);
        assert_eq!(found.is_none(), is_valid, "{name}: {value}: {found:?}");
    }
}
