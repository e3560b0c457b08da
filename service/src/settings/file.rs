//! The settings file: TOML, whose keys are the ids of settings.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Kind, Setting};
use crate::messages;

/// A value of the file for one setting.
pub(super) struct Leaf {
    /// Index into the settings.
    pub(super) setting: usize,
    /// The value as it would be written on the command line.
    pub(super) text: String,
    pub(super) line: usize,
}

/// Why a file cannot be used.
pub(super) struct Rejected {
    pub(super) line: usize,
    pub(super) message: String,
}

/// The values in `text`. Each has the type of its setting; the setting's parser has not checked it yet.
pub(super) fn read(text: &str, settings: &[Setting]) -> Result<Vec<Leaf>, Rejected> {
    let reader = Reader { text, settings };
    let table = DeTable::parse(text).map_err(|error| Rejected {
        line: error.span().map_or(1, |span| reader.line(span.start)),
        message: format!("not TOML: {}; `config --sample` prints a valid file", error.message()),
    })?;
    let mut leaves = Vec::new();
    reader.walk("", table.get_ref(), &mut leaves)?;
    Ok(leaves)
}

struct Reader<'a> {
    text: &'a str,
    settings: &'a [Setting],
}

/// The line of a byte of `text`, counted from 1.
pub(super) fn line(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before.bytes().filter(|byte| *byte == b'\n').count() + 1
}

impl Reader<'_> {
    /// The line of a byte, counted from 1.
    fn line(&self, at: usize) -> usize {
        line(self.text, at)
    }

    fn walk(
        &self,
        prefix: &str,
        table: &DeTable<'_>,
        leaves: &mut Vec<Leaf>,
    ) -> Result<(), Rejected> {
        for (name, value) in table {
            let line = self.line(name.span().start);
            let rejected = |message| Err(Rejected { line, message });
            let key = format!("{prefix}{}", name.get_ref());
            if let Some(setting) = self.settings.iter().position(|setting| setting.key == key) {
                match written(self.settings[setting].kind, value) {
                    Some(text) => leaves.push(Leaf { setting, text, line }),
                    None if value.get_ref().as_str().is_some_and(|text| text.trim().is_empty()) => {
                        return rejected(super::empty(&key));
                    }
                    None => {
                        let setting = &self.settings[setting];
                        let shown = shown(setting.kind, value);
                        let mut expected = setting.expected();
                        let text = value.get_ref().as_str();
                        let is_plain = matches!(setting.kind, Kind::Number | Kind::Bool);
                        if is_plain && text.is_some_and(|text| setting.parse(text).is_ok()) {
                            expected.push_str(", without quotes");
                        }
                        return rejected(format!("invalid value {shown} for {key}: {expected}"));
                    }
                }
                continue;
            }
            let inner = format!("{key}.");
            let is_table = self.settings.iter().any(|setting| setting.key.starts_with(&inner));
            match value.get_ref() {
                DeValue::Table(table) if is_table => self.walk(&inner, table, leaves)?,
                _ if is_table => {
                    return rejected(format!("{key} is not a setting, but a table: write [{key}]"));
                }
                DeValue::Table(_) => return rejected(self.unknown_table(&key)),
                _ => return rejected(self.unknown(prefix, &key)),
            }
        }
        Ok(())
    }

    fn unknown(&self, prefix: &str, key: &str) -> String {
        let keys = || self.settings.iter().map(|setting| setting.key.as_str());
        let known = self.settings.iter().map(|s| (s.key.as_str(), s.place().1));
        let inner = key.strip_prefix(prefix).unwrap_or(key);
        if let Some(nearest) = messages::nearest_in_any_table((key, inner), known) {
            return match (key.rsplit_once('.'), nearest.rsplit_once('.')) {
                (own, Some((table, name))) if own.map(|(table, _)| table) != Some(table) => {
                    format!("unknown key `{key}`; did you mean `{name}` in the table [{table}]?")
                }
                (Some(_), None) => {
                    format!("unknown key `{key}`; did you mean `{nearest}`, above all tables?")
                }
                _ => format!("unknown key `{key}`; did you mean `{nearest}`?"),
            };
        }
        let mut known: Vec<&str> = keys()
            .filter_map(|known| known.strip_prefix(prefix))
            .map(|rest| rest.split('.').next().unwrap_or(rest))
            .collect();
        known.sort_unstable();
        known.dedup();
        format!("unknown key `{key}`; expected one of: {}", known.join(", "))
    }

    fn unknown_table(&self, key: &str) -> String {
        let tables = || self.settings.iter().map(|s| s.place().0).filter(|table| !table.is_empty());
        if let Some(nearest) = messages::nearest(key, tables()) {
            return format!("unknown table [{key}]; did you mean [{nearest}]?");
        }
        let known: std::collections::BTreeSet<_> = tables().map(|t| format!("[{t}]")).collect();
        let known: Vec<String> = known.into_iter().collect();
        format!("unknown table [{key}]; expected one of: {}", known.join(", "))
    }
}

/// A value as it would be written on the command line; `None` if it has another type.
pub(super) fn written(kind: Kind, value: &Spanned<DeValue<'_>>) -> Option<String> {
    match (kind, value.get_ref()) {
        (Kind::Text, DeValue::String(text)) => Some(text.to_string()),
        (Kind::Number, DeValue::Integer(number)) => {
            let number = i128::from_str_radix(number.as_str(), number.radix()).ok()?;
            Some(number.to_string())
        }
        (Kind::Bool, DeValue::Boolean(value)) => Some(value.to_string()),
        (Kind::List, DeValue::Array(items)) => {
            let items = items.iter().map(|item| {
                // A comma would split it in two.
                item.get_ref().as_str().filter(|text| !text.contains(',')).map(str::to_owned)
            });
            Some(items.collect::<Option<Vec<_>>>()?.join(","))
        }
        _ => None,
    }
}

/// A value of a wrong type, as far as it may be shown: text of another setting may be a secret.
fn shown(kind: Kind, value: &Spanned<DeValue<'_>>) -> String {
    match (kind, value.get_ref()) {
        (_, DeValue::Integer(number)) => format!("`{number}`"),
        (_, DeValue::Boolean(value)) => format!("`{value}`"),
        (Kind::Number | Kind::Bool, DeValue::String(text)) => format!("`{text}`"),
        (_, DeValue::Array(_)) => "(a list)".to_owned(),
        (_, DeValue::Table(_)) => "(a table)".to_owned(),
        (_, DeValue::String(_)) => "(text)".to_owned(),
        (_, DeValue::Float(_) | DeValue::Datetime(_)) => "(a fraction or a date)".to_owned(),
    }
}
