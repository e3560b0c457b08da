//! An OpenAPI document, with a validator for the keywords of JSON Schema that the broker's uses. A keyword that it does
//! not know is a panic, so that none is passed over.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::{Map, Value};

/// Content type of server-sent events.
pub const EVENT_STREAM: &str = "text/event-stream";

/// A document.
pub struct Document {
    root: Value,
    /// The patterns of its schemas.
    patterns: BTreeMap<String, Regex>,
}

/// An operation.
#[derive(Clone, Copy)]
pub struct Operation<'a> {
    pub path: &'a str,
    /// In upper case.
    pub method: &'static str,
    /// The rest of it.
    pub spec: &'a Value,
}

impl<'a> Operation<'a> {
    pub fn id(self) -> &'a str {
        self.spec["operationId"].as_str().unwrap()
    }

    /// The types of content that its body may have, with their schemas.
    pub fn contents(self) -> Option<&'a Map<String, Value>> {
        self.spec["requestBody"]["content"].as_object()
    }

    /// The schema of its body, if that is JSON.
    pub fn json(self) -> Option<&'a Value> {
        Some(&self.contents()?.get("application/json")?["schema"])
    }

    /// Its parameters of the path or of the query.
    pub fn parameters(self, place: &'static str) -> impl Iterator<Item = &'a Value> {
        let all = self.spec["parameters"].as_array().unwrap();
        all.iter().filter(move |parameter| parameter["in"] == place)
    }
}

impl Document {
    pub fn new(text: &str) -> Self {
        let root: Value = serde_json::from_str(text).unwrap();
        let mut patterns = BTreeMap::new();
        find_patterns(&root, &mut patterns);
        Self { root, patterns }
    }

    pub fn root(&self) -> &Value {
        &self.root
    }

    pub fn operations(&self) -> Vec<Operation<'_>> {
        let methods = [("get", "GET"), ("put", "PUT"), ("post", "POST"), ("delete", "DELETE")];
        let mut all = Vec::new();
        for (path, item) in self.root["paths"].as_object().unwrap() {
            for (name, spec) in item.as_object().unwrap() {
                let (_, method) = methods.into_iter().find(|(lower, _)| lower == name).unwrap();
                all.push(Operation { path: path.as_str(), method, spec });
            }
        }
        all
    }

    /// What a reference names, or the value itself.
    pub fn target<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').expect("a reference to this document");
                self.root.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
            }
            None => value,
        }
    }

    /// The value of a keyword of a schema, of what it refers to, or of the first of its parts that has it.
    pub fn keyword<'a>(&'a self, schema: &'a Value, name: &str) -> Option<&'a Value> {
        if let Some(value) = schema.get(name) {
            return Some(value);
        }
        if schema.get("$ref").is_some() {
            return self.keyword(self.target(schema), name);
        }
        let parts = ["allOf", "anyOf"].iter().filter_map(|all| schema.get(*all)?.as_array());
        parts.flatten().find_map(|part| self.keyword(part, name))
    }

    /// The schema of a property, or of an item where there is no name.
    pub fn below<'a>(&'a self, schema: &'a Value, name: Option<&str>) -> Option<&'a Value> {
        let Some(name) = name else { return self.keyword(schema, "items") };
        let own = self.keyword(schema, "properties").and_then(|all| all.get(name));
        own.or_else(|| self.keyword(schema, "additionalProperties").filter(|all| all.is_object()))
    }

    /// What is wrong with an answer, and else its body if that is JSON.
    pub fn check_answer(
        &self,
        operation: Operation<'_>,
        status: u16,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Option<Value>, String> {
        let answer = operation.spec["responses"].get(status.to_string());
        let answer = self.target(answer.ok_or("the document does not list the status")?);
        let Some(contents) = answer["content"].as_object() else {
            return match body.is_empty() && content_type.is_none() {
                true => Ok(None),
                false => Err("a body, where there should be none".to_owned()),
            };
        };
        let kind = content_type.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        let content = contents.get(kind).ok_or_else(|| format!("the content type is `{kind}`"))?;
        match kind {
            "application/json" => self.check_json(&content["schema"], body).map(Some),
            EVENT_STREAM => self.check_events(content, body).map(|()| None),
            _ => Ok(None),
        }
    }

    fn check_json(&self, schema: &Value, text: &[u8]) -> Result<Value, String> {
        let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        match self.violation(schema, &value) {
            Some(wrong) => Err(wrong),
            None => Ok(value),
        }
    }

    /// The start of a stream: the first event of the document's list once, then others of it.
    fn check_events(&self, content: &Value, body: &[u8]) -> Result<(), String> {
        let listed = content["x-events"].as_array().ok_or("the document lists no events")?;
        let events = events(body);
        if events.is_empty() {
            return Err("the stream has no event".to_owned());
        }
        for (n, (name, data)) in events.iter().enumerate() {
            let place = listed.iter().position(|event| event["name"] == name.as_str());
            let place = place.filter(|place| (*place == 0) == (n == 0));
            let place = place.ok_or_else(|| format!("`{name}` is event {n} of the stream"))?;
            self.check_json(&listed[place]["schema"], data.as_bytes())
                .map_err(|wrong| format!("event `{name}`: {wrong}"))?;
        }
        Ok(())
    }

    /// What of a value its schema does not allow.
    pub fn violation(&self, schema: &Value, value: &Value) -> Option<String> {
        self.first(schema, value, "")
    }

    fn first(&self, schema: &Value, value: &Value, at: &str) -> Option<String> {
        let keywords = schema.as_object().expect("a schema is an object");
        keywords.iter().find_map(|(name, wanted)| {
            let is_met = match name.as_str() {
                "description" | "format" => true,
                "type" => match wanted {
                    Value::Array(kinds) => kinds.iter().any(|kind| is_kind(value, kind)),
                    kind => is_kind(value, kind),
                },
                "enum" => wanted.as_array().unwrap().contains(value),
                "not" => self.first(wanted, value, at).is_some(),
                "minimum" => compare(value, wanted).is_none_or(Ordering::is_ge),
                "maximum" => compare(value, wanted).is_none_or(Ordering::is_le),
                "minLength" => length(value).is_none_or(|length| length >= number(wanted)),
                "maxLength" => length(value).is_none_or(|length| length <= number(wanted)),
                "maxItems" => value.as_array().is_none_or(|all| all.len() <= number(wanted)),
                "maxProperties" => value.as_object().is_none_or(|all| all.len() <= number(wanted)),
                "pattern" => {
                    let pattern = &self.patterns[wanted.as_str().unwrap()];
                    value.as_str().is_none_or(|text| pattern.is_match(text))
                }
                "required" => value.as_object().is_none_or(|fields| {
                    let mut names = wanted.as_array().unwrap().iter();
                    names.all(|name| fields.contains_key(name.as_str().unwrap()))
                }),
                "anyOf" => {
                    let mut parts = wanted.as_array().unwrap().iter();
                    parts.any(|part| self.first(part, value, at).is_none())
                }
                _ => return self.inner(schema, name, value, at),
            };
            (!is_met).then(|| format!("`{at}`: `{name}` is not met by {}", shown(value)))
        })
    }

    /// The keywords whose violation is one of another schema.
    fn inner(&self, schema: &Value, name: &str, value: &Value, at: &str) -> Option<String> {
        let wanted = &schema[name];
        let none = Map::new();
        let fields = value.as_object().unwrap_or(&none);
        match name {
            "$ref" => self.first(self.target(schema), value, at),
            "allOf" => {
                let mut parts = wanted.as_array().unwrap().iter();
                parts.find_map(|part| self.first(part, value, at))
            }
            "items" => {
                let mut items = value.as_array().into_iter().flatten().enumerate();
                items.find_map(|(n, item)| self.first(wanted, item, &format!("{at}/{n}")))
            }
            "properties" => wanted.as_object().unwrap().iter().find_map(|(name, schema)| {
                self.first(schema, fields.get(name)?, &format!("{at}/{name}"))
            }),
            "propertyNames" => {
                fields.keys().find_map(|name| self.first(wanted, &Value::from(name.as_str()), at))
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                let is_known = |name: &str| known.is_some_and(|known| known.contains_key(name));
                let mut others = fields.iter().filter(|(name, _)| !is_known(name));
                others.find_map(|(name, value)| match wanted {
                    Value::Bool(true) => None,
                    Value::Bool(false) => Some(format!("`{at}`: there is no field `{name}`")),
                    schema => self.first(schema, value, &format!("{at}/{name}")),
                })
            }
            other => panic!("the validator does not know the keyword `{other}`"),
        }
    }
}

/// Name and data of the server-sent events that are there as a whole. A comment has neither.
pub fn events(bytes: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(bytes);
    let whole = text.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n"));
    let line = |event: &str, start: &str| {
        event.lines().find_map(|line| line.strip_prefix(start)).map(str::to_owned)
    };
    whole.filter_map(|event| Some((line(event, "event: ")?, line(event, "data: ")?))).collect()
}

fn find_patterns(value: &Value, found: &mut BTreeMap<String, Regex>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(pattern)) = fields.get("pattern") {
                let compiled = Regex::new(pattern);
                found
                    .insert(pattern.clone(), compiled.unwrap_or_else(|e| panic!("{pattern}: {e}")));
            }
            fields.values().for_each(|value| find_patterns(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| find_patterns(item, found)),
        _ => {}
    }
}

fn is_kind(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => whole(value).is_some() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the validator does not know the type `{other}`"),
    }
}

/// A number that is whole and has at most 64 bits.
pub fn whole(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

/// Exact where both are whole, also where one is read as a float for having more than 64 bits; [`None`] where one is no
/// number.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    // The conversion is exact below 2^127, and keeps the order above.
    let exact = |value: &Value| {
        let float = value.as_f64().filter(|n| n.fract() == 0.0);
        whole(value).or_else(|| float.map(|n| n as i128))
    };
    match (exact(a), exact(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// In characters.
fn length(value: &Value) -> Option<usize> {
    Some(value.as_str()?.chars().count())
}

fn number(wanted: &Value) -> usize {
    usize::try_from(wanted.as_u64().unwrap()).unwrap()
}

/// The start of a value.
pub fn shown(value: &Value) -> String {
    value.to_string().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A document with the schema, which its parts may refer to.
    fn document(schema: &Value) -> Document {
        let small = json!({ "type": "integer", "maximum": 9 });
        let root = json!({ "components": { "schemas": { "Small": small, "It": schema } } });
        Document::new(&root.to_string())
    }

    /// Goal: each keyword accepts what it should and rejects the rest.
    #[test]
    fn the_validator_knows_every_keyword() {
        let small = json!({ "$ref": "#/components/schemas/Small" });
        let table: [(Value, &[Value], &[Value]); 18] = [
            (json!({ "type": "integer" }), &[json!(1), json!(1.0)], &[json!(1.5), json!("1")]),
            (json!({ "type": ["string", "null"] }), &[json!("a"), json!(null)], &[json!(1)]),
            (json!({ "enum": ["a", "b"] }), &[json!("a")], &[json!("c"), json!(null)]),
            (json!({ "not": { "enum": ["a"] } }), &[json!("b"), json!(null)], &[json!("a")]),
            (json!({ "minimum": 2 }), &[json!(2), json!(2.5), json!("x")], &[json!(1), json!(1.9)]),
            (
                json!({ "maximum": u64::MAX }),
                &[json!(u64::MAX), json!(i64::MIN)],
                &[json!(18446744073709551616.0_f64)],
            ),
            (
                json!({ "maximum": i64::MAX }),
                &[json!(i64::MAX)],
                &[json!(i64::MAX as u64 + 1), json!(u64::MAX)],
            ),
            (json!({ "minLength": 2 }), &[json!("éé"), json!(1)], &[json!("é"), json!("")]),
            (json!({ "maxLength": 2 }), &[json!("éé")], &[json!("abc")]),
            (json!({ "pattern": r"^[^\u0000]{1,2}$" }), &[json!("a\n")], &[json!("\0"), json!("")]),
            (json!({ "items": small }), &[json!([]), json!([9]), json!(1)], &[json!([1, 10])]),
            (json!({ "maxItems": 1 }), &[json!([1])], &[json!([1, 2])]),
            (json!({ "required": ["a"] }), &[json!({ "a": 1 }), json!(1)], &[json!({ "b": 1 })]),
            (
                json!({ "properties": { "a": small }, "additionalProperties": false }),
                &[json!({ "a": 1 }), json!({})],
                &[json!({ "a": 10 }), json!({ "b": 1 })],
            ),
            (
                json!({ "additionalProperties": small, "propertyNames": { "maxLength": 1 } }),
                &[json!({ "a": 1 })],
                &[json!({ "a": 10 }), json!({ "ab": 1 })],
            ),
            (json!({ "maxProperties": 1 }), &[json!({ "a": 1 })], &[json!({ "a": 1, "b": 2 })]),
            (
                json!({ "anyOf": [small, { "type": "null" }] }),
                &[json!(1), json!(null)],
                &[json!(10)],
            ),
            (
                json!({ "allOf": [small, { "minimum": 3 }], "description": "-", "format": "x" }),
                &[json!(3), json!(9)],
                &[json!(2), json!(10)],
            ),
        ];
        for (schema, good, bad) in table {
            let document = document(&schema);
            for value in good {
                assert_eq!(document.violation(&schema, value), None, "{schema}");
            }
            for value in bad {
                assert!(document.violation(&schema, value).is_some(), "{schema}: {value}");
            }
        }
    }

    /// Goal: a stream that is not as the document says is found. Method: one that is, and changes of it.
    #[test]
    fn the_events_of_a_stream_are_those_of_the_list_in_their_order() {
        let small = json!({ "$ref": "#/components/schemas/Small" });
        let listed =
            [json!({ "name": "first", "schema": {} }), json!({ "name": "more", "schema": small })];
        let content = json!({ "x-events": listed });
        let document = document(&json!({}));
        let check = |text: &str| document.check_events(&content, text.as_bytes());
        let (first, more) = ("event: first\ndata: {}\n\n", "event: more\ndata: 9\n\n");
        for good in [
            first.to_owned(),
            format!("{first}{more}:\n\n{more}"),
            format!("{first}event: more\ndata: 10"),
        ] {
            assert_eq!(check(&good), Ok(()), "{good}");
        }
        for bad in [
            String::new(),
            more.to_owned(),
            format!("{first}{first}"),
            format!("{first}event: other\ndata: 9\n\n"),
            format!("{first}event: more\ndata: 10\n\n"),
            format!("{first}event: more\ndata: {{\n\n"),
        ] {
            assert!(check(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    #[should_panic(expected = "does not know the keyword `minItems`")]
    fn a_keyword_that_the_validator_does_not_know_is_not_passed_over() {
        let schema = json!({ "minItems": 1 });
        document(&schema).violation(&schema, &json!([]));
    }

    #[test]
    fn the_place_of_a_violation_is_named() {
        let schema = json!({ "properties": { "a": { "items": { "type": "string" } } } });
        let found = document(&schema).violation(&schema, &json!({ "a": ["x", 1] }));
        assert_eq!(found.unwrap(), "`/a/1`: `type` is not met by 1");
    }
}
