//! Values that a schema allows, values near those that it does not, and what a fuzzer learns from answers.

use std::collections::BTreeMap;

use proptest::strategy::{Strategy, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Map, Value, json};

use super::document::{Document, shown, whole};
use super::target;

/// Values of one name that are remembered.
const KNOWN_MAX: usize = 40;
/// Deepest free JSON.
const DEPTH_MAX: usize = 4;
/// Texts that break what does not expect them.
const TEXTS: [&str; 8] =
    ["", "a", "é", "\u{0}", "\u{7f}", "'; DROP TABLE job; --", "../..", "\u{10ffff}\u{feff}"];

/// Makes values.
pub struct Generator<'a> {
    pub document: &'a Document,
    pub rng: StdRng,
    /// Values that are there at the broker, by the name of their schema, or `cursor`.
    known: BTreeMap<String, Vec<Value>>,
}

impl<'a> Generator<'a> {
    pub fn new(document: &'a Document, rng: StdRng) -> Self {
        Self { document, rng, known: BTreeMap::new() }
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.gen_range(0..100) < percent
    }

    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        *all.choose(&mut self.rng).expect("something to pick from")
    }

    /// Remembers a value that is there.
    pub fn know(&mut self, name: &str, value: Value) {
        let all = self.known.entry(name.to_owned()).or_default();
        if all.contains(&value) || value == target::LABEL {
            return;
        }
        match all.len() < KNOWN_MAX {
            true => all.push(value),
            false => {
                let place = self.rng.gen_range(0..KNOWN_MAX);
                all[place] = value;
            }
        }
    }

    /// Whether a value was remembered, and is still.
    pub fn knows(&self, name: &str, value: &str) -> bool {
        self.known.get(name).is_some_and(|all| all.iter().any(|known| known == value))
    }

    fn known(&mut self, name: &str) -> Option<Value> {
        self.known.get(name)?.choose(&mut self.rng).cloned()
    }

    /// Remembers ids, labels and cursors of an answer.
    pub fn learn(&mut self, schema: &Value, value: &Value) {
        let document = self.document;
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            let target = document.target(schema);
            match target.get("pattern").is_some() {
                true if value.is_string() => self.know(name, value.clone()),
                _ => self.learn(target, value),
            }
        }
        let parts = schema["anyOf"].as_array().into_iter().flatten();
        parts.for_each(|part| self.learn(part, value));
        for item in value.as_array().into_iter().flatten() {
            self.learn(&schema["items"], item);
        }
        let properties = schema["properties"].as_object();
        for (name, schema) in properties.into_iter().flatten() {
            match (name.as_str(), &value[name]) {
                ("label", Value::String(label)) => {
                    self.know("TokenLabel", label.as_str().into());
                }
                ("cursor", cursor @ Value::String(_)) => self.know("cursor", cursor.clone()),
                (_, value) => self.learn(schema, value),
            }
        }
    }

    /// A value that the schema allows.
    pub fn valid(&mut self, schema: &Value) -> Value {
        for _ in 0..200 {
            let value = self.value(schema, 0);
            if self.document.violation(schema, &value).is_none() {
                return value;
            }
        }
        panic!("no value was found that is valid by {}", shown(schema));
    }

    /// A value that the schema allows, in nearly all cases.
    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            if name == "JobId" && self.chance(40) {
                return self.job_id();
            }
            if self.chance(60)
                && let Some(known) = self.known(name)
            {
                return known;
            }
        }
        if let Some(parts) = schema["anyOf"].as_array()
            && schema.get("properties").is_none()
        {
            let part = parts.choose(&mut self.rng).expect("parts");
            return self.value(part, depth);
        }
        let merged = Value::Object(self.merged(schema));
        self.plain(&merged, depth)
    }

    /// An id of a job whose input may be stored.
    fn job_id(&mut self) -> Value {
        let (kind, digest) = (self.known("KindName"), self.known("Digest"));
        let epoch = self.rng.gen_range(0..9);
        let text = |value: Option<Value>| value.and_then(|value| Some(value.as_str()?.to_owned()));
        let (kind, digest) = (text(kind).unwrap_or_default(), text(digest).unwrap_or_default());
        format!("{epoch}:{kind}:{digest}").into()
    }

    /// The keywords of a schema, of what it refers to and of all of its parts; of one of them where any will do. The
    /// keywords of a part are narrower, and win.
    fn merged(&mut self, schema: &Value) -> Map<String, Value> {
        let document = self.document;
        let mut all = Map::new();
        for (name, value) in schema.as_object().expect("a schema is an object") {
            if !matches!(name.as_str(), "$ref" | "allOf" | "anyOf") {
                all.insert(name.clone(), value.clone());
            }
        }
        let mut parts: Vec<&Value> = Vec::new();
        if schema.get("$ref").is_some() {
            parts.push(document.target(schema));
        }
        parts.extend(schema["allOf"].as_array().into_iter().flatten());
        parts.extend(schema["anyOf"].as_array().and_then(|any| any.choose(&mut self.rng)));
        for part in parts {
            for (name, value) in self.merged(part) {
                let merged = match (all.remove(&name), value) {
                    (Some(Value::Object(mut have)), Value::Object(more)) => {
                        have.extend(more);
                        Value::Object(have)
                    }
                    (Some(Value::Array(mut have)), Value::Array(more)) if name == "required" => {
                        have.extend(more);
                        Value::Array(have)
                    }
                    (_, value) => value,
                };
                all.insert(name, merged);
            }
        }
        all
    }

    /// A value of a schema without references.
    fn plain(&mut self, schema: &Value, depth: usize) -> Value {
        if let Some(names) = schema["enum"].as_array() {
            return names.choose(&mut self.rng).expect("names").clone();
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            // The names of properties are strings.
            kind => vec![kind.as_str().unwrap_or("string")],
        };
        let is_simple = |kind: &&str| !matches!(*kind, "array" | "object");
        let simple: Vec<&str> = kinds.iter().copied().filter(is_simple).collect();
        let kinds = if depth >= DEPTH_MAX && !simple.is_empty() { simple } else { kinds };
        match self.pick(&kinds) {
            "null" => Value::Null,
            "boolean" => self.rng.gen_bool(0.5).into(),
            "integer" => self.integer(schema),
            "number" => self.number(schema),
            "string" => self.string(schema),
            "array" => self.array(schema, depth),
            "object" => self.object(schema, depth),
            other => panic!("the generator does not know the type `{other}`"),
        }
    }

    fn integer(&mut self, schema: &Value) -> Value {
        let (min, max) = (whole(&schema["minimum"]), whole(&schema["maximum"]));
        let (min, max) = (min.unwrap_or(0), max.unwrap_or(99));
        let near = max.min(min + 8);
        let number = match self.rng.gen_range(0..10) {
            0 => min,
            1 => max,
            2 => self.rng.gen_range(min..=max),
            _ => self.rng.gen_range(min..=near),
        };
        integer(number)
    }

    fn number(&mut self, schema: &Value) -> Value {
        match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
            (Some(min), Some(max)) => {
                // A few digits: reading a number of many may end at its neighbour.
                let between = (self.rng.gen_range(min..=max) * 1024.0).round() / 1024.0;
                self.pick(&[min, max, between]).into()
            }
            _ => self.pick(&[0.0, 0.5, 3.0, -2.25, 1e300, 5e-324]).into(),
        }
    }

    fn string(&mut self, schema: &Value) -> Value {
        if schema["format"] == "cursor" {
            // Without one there is none, which a null says.
            return self.known("cursor").unwrap_or_default();
        }
        let Some(pattern) = schema["pattern"].as_str() else {
            return self.pick(&TEXTS).into();
        };
        self.matching(pattern).into()
    }

    /// A text that matches.
    fn matching(&mut self, pattern: &str) -> String {
        let inner = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
        let strategy = string_regex(inner.expect("a pattern of the whole text"));
        let seed: [u8; 32] = self.rng.r#gen();
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        strategy.expect("a pattern that can be made").new_tree(&mut runner).unwrap().current()
    }

    fn array(&mut self, schema: &Value, depth: usize) -> Value {
        let count = self.rng.gen_range(0..4);
        (0..count).map(|_| self.value(&schema["items"], depth + 1)).collect()
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut fields = Map::new();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if name == "wait_ms" {
                fields.insert(name.clone(), json!(self.rng.gen_range(0_u64..3)));
            } else if required.contains(&name.as_str()) || self.chance(60) {
                fields.insert(name.clone(), self.value(schema, depth + 1));
            }
        }
        if schema["additionalProperties"].is_object() {
            for _ in 0..self.rng.gen_range(0..4) {
                let name = self.value(&schema["propertyNames"], depth + 1);
                let value = self.value(&schema["additionalProperties"], depth + 1);
                fields.insert(name.as_str().unwrap_or("a").to_owned(), value);
            }
        }
        fields.into()
    }

    /// Pointers to each value in this one, itself included, with the schema of each.
    pub fn places<'b>(&self, schema: &'b Value, value: &Value) -> Vec<(String, &'b Value)>
    where
        'a: 'b,
    {
        let mut all = Vec::new();
        let mut open = vec![(String::new(), schema, value)];
        while let Some((at, schema, value)) = open.pop() {
            match value {
                Value::Object(fields) => open.extend(fields.iter().filter_map(|(name, value)| {
                    let schema = self.document.below(schema, Some(name.as_str()))?;
                    let name = name.replace('~', "~0").replace('/', "~1");
                    Some((format!("{at}/{name}"), schema, value))
                })),
                Value::Array(items) => {
                    open.extend(items.iter().enumerate().filter_map(|(n, item)| {
                        Some((format!("{at}/{n}"), self.document.below(schema, None)?, item))
                    }))
                }
                _ => {}
            }
            all.push((at, schema));
        }
        all
    }

    /// A value that the schema may not allow: of another type, beyond a bound, or of other characters.
    pub fn doubtful(&mut self, schema: &Value, value: &Value) -> Value {
        let document = self.document;
        let keyword = |name: &str| document.keyword(schema, name);
        let size = |name: &str| keyword(name)?.as_u64().and_then(|n| usize::try_from(n).ok());
        let mut all = vec![
            json!(null),
            json!(true),
            json!(-1),
            json!(1.5),
            json!("x y\u{7f}"),
            json!("\u{0}"),
            json!(""),
            json!([]),
            json!({}),
            json!(u64::MAX),
            json!(1e300),
        ];
        for (name, step) in [("minimum", -1), ("maximum", 1)] {
            let bound = keyword(name).and_then(whole);
            all.extend(bound.map(|bound| integer(bound + step)));
        }
        let reserved = keyword("not").and_then(|not| not["enum"].as_array());
        all.extend(reserved.into_iter().flatten().cloned());
        if let Some(max) = size("maxLength") {
            all.extend([json!("a".repeat(max + 1)), json!("é".repeat(max + 1))]);
        }
        if let (Some(max), Some(first)) = (size("maxItems"), value.get(0)) {
            all.push(vec![first.clone(); max + 1].into());
        }
        if let (Some(max), true) = (size("maxProperties"), value.is_object()) {
            let first = value.as_object().and_then(|fields| fields.values().next());
            let first = first.cloned().unwrap_or_else(|| json!("v"));
            let many = (0..=max).map(|n| (format!("k{n}"), first.clone()));
            all.push(many.collect::<Map<_, _>>().into());
        }
        let place = self.rng.gen_range(0..all.len());
        all.swap_remove(place)
    }
}

/// A whole number as JSON; beyond 64 bits it has an exponent.
fn integer(number: i128) -> Value {
    let whole = i64::try_from(number).map(Value::from);
    let whole = whole.or_else(|_| u64::try_from(number).map(Value::from));
    whole.unwrap_or_else(|_| (number as f64).into())
}
