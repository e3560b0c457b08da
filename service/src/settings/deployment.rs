//! The deployment file: what L1 fixes of one deployment, as the layer right above the defaults.
//!
//! `rollmill-l1 deploy` writes the file. A program names the settings that it takes from there
//! ([`Settings::DEPLOYMENT`](super::Settings::DEPLOYMENT)); it reads no other key of the file.

use std::ffi::OsStr;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{Setting, file};
use crate::Error;

/// The version of the file that this release reads: its key `format`.
pub const DEPLOYMENT_FORMAT: i64 = 1;
const FORMAT_KEY: &str = "format";

/// What a program does with a fact of the deployment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It identifies the deployment: another layer may repeat it, but not contradict it.
    Identity,
    /// Another layer may replace it.
    Default,
    /// As `Default`; a path that is relative to the folder of the deployment file.
    Path,
}

/// A setting that a program takes from the deployment file.
#[derive(Debug, Clone, Copy)]
pub struct Fact {
    /// Key of the setting.
    setting: &'static str,
    /// Key in the deployment file, with its table.
    key: &'static str,
    kind: Use,
}

impl Fact {
    /// A value that identifies the deployment. If another layer has another value, the program does not start.
    pub const fn identity(setting: &'static str, key: &'static str) -> Self {
        Self { setting, key, kind: Use::Identity }
    }

    /// A value that each other layer overrides.
    pub const fn default(setting: &'static str, key: &'static str) -> Self {
        Self { setting, key, kind: Use::Default }
    }

    /// A file, whose path is relative to the deployment file. Each other layer overrides it.
    pub const fn path(setting: &'static str, key: &'static str) -> Self {
        Self { setting, key, kind: Use::Path }
    }
}

/// A value of the deployment file for one setting.
pub(super) struct Given {
    /// Index into the settings.
    pub(super) setting: usize,
    /// As it would be written on the command line.
    pub(super) text: String,
    /// Path of the file, and the line.
    pub(super) origin: String,
    pub(super) is_identity: bool,
}

impl Given {
    /// Whether a value of another layer is the same one. Hexadecimal digits may have either case.
    pub(super) fn agrees(&self, other: &str) -> bool {
        self.text.eq_ignore_ascii_case(other.trim())
    }
}

/// Reads the facts that the program takes. `named_by` is the flag, variable or key that names the file.
pub(super) fn read(
    path: &OsStr,
    named_by: &str,
    facts: &[Fact],
    settings: &[Setting],
) -> Result<Vec<Given>, Error> {
    let path = Path::new(path);
    let shown = path.display().to_string();
    let text = crate::secret::read_bounded(path).map_err(|source| Error::DeploymentFile {
        path: shown.clone(),
        setting: named_by.to_owned(),
        source,
    })?;
    let wrong = |line: usize, why: String| Error::Setting {
        message: format!("{shown}, line {line}: {why}; write it anew with `rollmill-l1 deploy`"),
    };
    let table = DeTable::parse(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| file::line(&text, span.start));
        wrong(line, format!("not TOML: {}", error.message()))
    })?;
    let table = table.get_ref();
    let format = table.get(FORMAT_KEY).and_then(|value| match value.get_ref() {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    });
    if format != Some(DEPLOYMENT_FORMAT) {
        let got = format.map_or("none".to_owned(), |format| format.to_string());
        let message = format!(
            "{shown}: not a deployment file of this release: {FORMAT_KEY} {DEPLOYMENT_FORMAT} expected, got {got}; \
             correct {named_by}"
        );
        return Err(Error::Setting { message });
    }
    let mut given = Vec::new();
    for fact in facts {
        let at = settings.iter().position(|setting| setting.key == fact.setting);
        debug_assert!(at.is_some(), "{} is no setting", fact.setting);
        let (Some(at), Some(value)) = (at, find(table, fact.key)) else { continue };
        let (setting, line) = (&settings[at], file::line(&text, value.span().start));
        let expected =
            || wrong(line, format!("invalid value for {}: {}", fact.key, setting.expected()));
        let text = file::written(setting.kind, value).ok_or_else(expected)?;
        let text = match (fact.kind, path.parent()) {
            (Use::Path, Some(folder)) => folder.join(&text).to_string_lossy().into_owned(),
            _ => text,
        };
        let accepted = super::layers::accept(setting, &text, fact.key, false);
        accepted.map_err(|why| wrong(line, why))?;
        let origin = format!("{shown}, line {line}");
        given.push(Given { setting: at, text, origin, is_identity: fact.kind == Use::Identity });
    }
    Ok(given)
}

/// The value of a key with its tables: `contracts.governance`.
fn find<'a, 'b>(table: &'a DeTable<'b>, key: &str) -> Option<&'a toml::Spanned<DeValue<'b>>> {
    match key.split_once('.') {
        None => table.get(key),
        Some((outer, inner)) => match table.get(outer)?.get_ref() {
            DeValue::Table(table) => find(table, inner),
            _ => None,
        },
    }
}
