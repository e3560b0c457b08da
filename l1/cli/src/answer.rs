//! What a command prints: named values, as lines or as one JSON object.

use std::io::Write;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

/// Named values in the order in which they are printed.
#[derive(Debug, Default)]
pub(crate) struct Answer(Vec<(&'static str, Value)>);

impl Answer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a value.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        self.push(name, value);
        self
    }

    pub(crate) fn push(&mut self, name: &'static str, value: impl Serialize) {
        self.0.push((name, json!(value)));
    }

    /// Adds a value that is shown by its text, such as an address.
    #[must_use]
    pub(crate) fn with_text(self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.with(name, value.to_string())
    }

    /// Prints it. A closed pipe is no failure.
    pub(crate) fn print(&self, as_json: bool) {
        let text = match as_json {
            // Texts and numbers, which always make JSON.
            true => serde_json::to_string(&Ordered(self)).unwrap_or_default() + "\n",
            false => self.lines(),
        };
        let mut out = std::io::stdout();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn lines(&self) -> String {
        self.0.iter().map(|(name, value)| lines(name, value)).collect()
    }
}

struct Ordered<'a>(&'a Answer);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.0.len()))?;
        for (name, value) in &self.0.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A scalar is one line; of a list each item is one, and so is each field of an object.
fn lines(name: &str, value: &Value) -> String {
    match value {
        Value::Null => format!("{name} -\n"),
        Value::Array(items) if items.is_empty() => format!("{name} none\n"),
        Value::Array(items) => {
            items.iter().map(|item| format!("{name} {}\n", inline(item))).collect()
        }
        Value::Object(fields) => {
            fields.iter().map(|(field, value)| lines(&format!("{name}.{field}"), value)).collect()
        }
        scalar => format!("{name} {}\n", inline(scalar)),
    }
}

/// A value within a line.
fn inline(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // One line each, whatever somebody wrote into a proposal's description.
        Value::String(text) => text.chars().flat_map(printable).collect(),
        Value::Array(items) => items.iter().map(inline).collect::<Vec<_>>().join(","),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{name}={}", inline(value));
            fields.iter().map(field).collect::<Vec<_>>().join("  ")
        }
        other => other.to_string(),
    }
}

/// Control characters escaped, so that no text from L1 can move a terminal's cursor.
fn printable(c: char) -> Vec<char> {
    match c.is_control() {
        true => c.escape_default().collect(),
        false => vec![c],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_order_and_texts_their_line() {
        let answer = Answer::new()
            .with("zero", 0)
            .with_text("text", "a\nb\u{1b}[2J")
            .with("list", json!([{ "x": 1, "y": "2" }, { "x": 3, "y": null }]))
            .with("none", json!([]))
            .with("object", json!({ "a": true }));
        let expected = "zero 0\ntext a\\nb\\u{1b}[2J\nlist x=1  y=2\nlist x=3  y=-\nnone none\nobject.a true\n";
        assert_eq!(answer.lines(), expected);
        let text = serde_json::to_string(&Ordered(&answer)).unwrap();
        assert!(text.starts_with("{\"zero\":0,\"text\":"), "{text}");
    }
}
