//! Settings from four layers: defaults, file, environment, flags.
//!
//! The layers are merged as a JSON tree whose shape is that of the defaults. The tree's leaves are
//! the keys: they give the names of variables and flags, so that no setting can exist in one layer
//! and be missing in another.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::{log, messages};

/// The settings of a process. Nested structs become tables of the file.
pub trait Settings: Default + Serialize + DeserializeOwned + Send + 'static {
    /// One line of help a key, as (`table.key`, text).
    const HELP: &'static [(&'static str, &'static str)] = &[];

    /// Refuses settings that cannot work together.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Refuses settings that cannot work with those that every process has.
    fn check_with(&self, _common: &Common) -> Result<(), String> {
        Ok(())
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line an event.
    #[default]
    Human,
    /// One JSON object an event.
    Json,
}

/// Settings that every process has, in the file's table `[service]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Common {
    /// `human` or `json`.
    pub log_format: LogFormat,
    /// A level, or a filter such as `info,rollmill_broker=debug`.
    pub log_level: String,
    /// Address of `/metrics`, `/status` and `/health`; not served when unset.
    pub admin_listen: Option<String>,
    /// How long a process may take to end after the first signal.
    pub grace_seconds: u64,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Human,
            log_level: "info".into(),
            admin_listen: None,
            grace_seconds: 30,
        }
    }
}

const COMMON: &str = "service";
const LOG_LEVEL: &str = "service.log_level";
const COMMON_HELP: &[(&str, &str)] = &[
    ("service.log_format", "human or json"),
    ("service.log_level", "error, warn, info, debug, trace, or a filter"),
    (
        "service.admin_listen",
        "address of /metrics, /status, /health and /ready; not served when unset",
    ),
    ("service.grace_seconds", "time to end in after the first signal"),
];

#[derive(Debug)]
pub(crate) struct Loaded<C> {
    pub(crate) config: C,
    pub(crate) common: Common,
    pub(crate) command: Option<(String, ArgMatches)>,
    pub(crate) unknown_variables: Vec<UnknownVariable>,
}

/// A variable with the program's prefix that names no setting, and the one that was probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnknownVariable {
    pub(crate) name: String,
    pub(crate) nearest: Option<String>,
}

impl std::fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "environment variable {} names no setting and is ignored", self.name)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

pub(crate) enum Parsed<C> {
    Run(Loaded<C>),
    /// Help, version or printed settings: show and leave.
    Answer {
        text: String,
        unknown_variables: Vec<UnknownVariable>,
    },
}

pub(crate) fn from_command_line<C: Settings>(
    name: &'static str,
    command: Command,
) -> Result<Parsed<C>, Error> {
    parse(name, command, std::env::args_os(), std::env::vars_os().collect())
}

/// Reads settings from the given layers alone: what a test or an embedding program needs.
///
/// `arguments` are flags without the program's name; `variables` are (name, value).
pub fn load<C: Settings>(
    name: &'static str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<(C, Common), Error> {
    let arguments = std::iter::once(name).chain(arguments.iter().copied()).map(OsString::from);
    let variables = variables.iter().map(|(k, v)| (k.into(), v.into())).collect();
    match parse::<C>(name, Command::new(name), arguments, variables)? {
        Parsed::Run(loaded) => Ok((loaded.config, loaded.common)),
        Parsed::Answer { text, .. } => Err(Error::Usage { message: text }),
    }
}

/// Reads a command line with a subcommand, as a program with it would; for tests of its messages.
///
/// # Errors
/// As the program's own.
pub fn check_arguments<C: Settings>(
    name: &'static str,
    subcommand: Command,
    arguments: &[&str],
) -> Result<(), Error> {
    let command = Command::new(name).subcommand(subcommand);
    let arguments = std::iter::once(name).chain(arguments.iter().copied()).map(OsString::from);
    parse::<C>(name, command, arguments, Vec::new()).map(drop)
}

fn parse<C: Settings>(
    name: &'static str,
    command: Command,
    arguments: impl Iterator<Item = OsString>,
    variables: Vec<(OsString, OsString)>,
) -> Result<Parsed<C>, Error> {
    let defaults = defaults::<C>();
    let keys = keys(&defaults);
    let prefix = format!("ROLLMILL_{}_", name.to_uppercase().replace('-', "_"));
    let command = with_flags::<C>(command, &prefix, &keys, &defaults);
    let matches = match command.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(answer) => {
            let text = answer.to_string();
            if !answer.use_stderr() {
                return Ok(Parsed::Answer { text, unknown_variables: Vec::new() });
            }
            return Err(Error::Usage { message: messages::of_clap(&text) });
        }
    };

    let mut tree = Tree::<C>::new(defaults);
    let variable = |wanted: &str| {
        variables.iter().find(|(name, _)| name.to_str() == Some(wanted)).map(|(_, value)| value)
    };
    let file = flag(&matches, "config")
        .map(OsString::from)
        .or_else(|| variable(&format!("{prefix}CONFIG")).cloned());
    if let Some(path) = file {
        tree.merge_file(&path)?;
    }

    let mut known = BTreeSet::from([format!("{prefix}CONFIG")]);
    for key in &keys {
        let name = format!("{prefix}{}", key.variable());
        if let Some(value) = variable(&name) {
            let value = value.to_str().ok_or_else(|| Error::Setting {
                origin: name.clone(),
                message: "the value is not UTF-8".into(),
            })?;
            tree.set(key, value, &name)?;
        }
        known.insert(name);
    }
    for key in &keys {
        if let Some(value) = flag(&matches, key.flag()) {
            tree.set(key, &value, &format!("--{}", key.flag()))?;
        }
    }

    let (config, common) =
        tree.typed().map_err(|message| Error::Setting { origin: "settings".into(), message })?;
    let checked = config.check().and_then(|()| config.check_with(&common));
    let checked = checked.and_then(|()| clash(&tree.values, &keys).map_or(Ok(()), Err));
    checked.map_err(|message| Error::Setting { origin: "settings".into(), message })?;
    let unknown = variables
        .iter()
        .filter_map(|(name, _)| name.to_str())
        .filter(|name| name.starts_with(&prefix) && !known.contains(*name));
    let unknown_variables: Vec<_> = unknown
        .map(|name| UnknownVariable {
            name: name.to_owned(),
            nearest: messages::nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
        })
        .collect();
    let command = matches.subcommand().map(|(name, m)| (name.to_owned(), m.clone()));
    if command.as_ref().is_some_and(|(name, _)| name == "config") {
        return Ok(Parsed::Answer { text: tree.print(&prefix, &keys), unknown_variables });
    }
    Ok(Parsed::Run(Loaded { config, common, command, unknown_variables }))
}

/// A leaf of the tree. `flag` is leaked once a process, since clap wants names that live as long.
struct Key {
    path: Vec<String>,
    flag: &'static str,
}

impl Key {
    fn new(path: Vec<String>) -> Self {
        let words = if path[0] == COMMON { &path[1..] } else { &path[..] };
        let flag = words.join("-").replace('_', "-");
        Self { path, flag: Box::leak(flag.into_boxed_str()) }
    }

    fn flag(&self) -> &'static str {
        self.flag
    }

    fn variable(&self) -> String {
        self.flag.to_uppercase().replace('-', "_")
    }

    fn dotted(&self) -> String {
        self.path.join(".")
    }
}

fn defaults<C: Settings>() -> Value {
    // Settings are plain data; a default that cannot be written as JSON shows as having no keys,
    // and every test of the process fails.
    let mut tree = serde_json::to_value(C::default()).unwrap_or(Value::Null);
    if !tree.is_object() {
        tree = Value::Object(Map::new());
    }
    tree[COMMON] = serde_json::to_value(Common::default()).unwrap_or(Value::Null);
    tree
}

fn keys(defaults: &Value) -> Vec<Key> {
    fn walk(path: &mut Vec<String>, value: &Value, out: &mut Vec<Key>) {
        match value {
            Value::Object(table) if !table.is_empty() || path.is_empty() => {
                for (key, value) in table {
                    path.push(key.clone());
                    walk(path, value, out);
                    path.pop();
                }
            }
            _ => out.push(Key::new(path.clone())),
        }
    }
    let mut out = Vec::new();
    walk(&mut Vec::new(), defaults, &mut out);
    out
}

/// What stands for a setting's value in `--help`: its unit or its kind, by the setting's name.
fn value_name(key: &Key, default: Option<&Value>) -> &'static str {
    let last = key.path.last().map_or("", String::as_str);
    let names: &[(&str, &str)] = &[
        ("_seconds", "SECONDS"),
        ("_ms", "MILLISECONDS"),
        ("_mib", "MIB"),
        ("_bytes_max", "BYTES"),
        ("_dir", "DIR"),
        ("_bin", "DIR"),
        ("database_url", "file:PATH|env:NAME"),
        ("token", "file:PATH|env:NAME"),
        ("password", "file:PATH|env:NAME"),
        ("urls", "URL,…"),
        ("url", "URL"),
        ("broker", "URL"),
        ("tx_sources", "URL,…"),
        ("listen", "HOST:PORT"),
        ("keystore", "FILE"),
        ("_file", "FILE"),
        ("genesis", "FILE"),
        ("client_key", "FILE"),
        ("rollup", "ADDRESS"),
        ("coinbase", "ADDRESS"),
        ("prover_id", "ADDRESS"),
        ("level", "LEVEL"),
    ];
    let named = names.iter().find(|(end, _)| last.ends_with(end)).map(|(_, name)| *name);
    named.unwrap_or(match default {
        Some(Value::Number(_)) => "N",
        Some(Value::Bool(_)) => "true|false",
        Some(Value::Array(_)) => "VALUE,…",
        _ => "VALUE",
    })
}

fn help_of<C: Settings>(key: &Key) -> String {
    let dotted = key.dotted();
    let help = C::HELP.iter().chain(COMMON_HELP).find(|(name, _)| *name == dotted);
    help.map_or(dotted.clone(), |(_, text)| (*text).to_owned())
}

fn with_flags<C: Settings>(
    mut command: Command,
    prefix: &str,
    keys: &[Key],
    defaults: &Value,
) -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .global(true)
        .help_heading("Settings")
        .help(format!(
            "TOML file of settings; flags and environment override it [env: {prefix}CONFIG]"
        ));
    command = command.arg(file).subcommand(
        Command::new("config").about("Print the effective settings as TOML, secrets hidden").arg(
            Arg::new("print").long("print").action(ArgAction::SetTrue).help("the only action"),
        ),
    );
    for key in keys {
        let default = at(defaults, &key.path);
        let mut text = help_of::<C>(key);
        match default {
            Some(Value::Null | Value::Object(_)) | None => {}
            Some(Value::String(value)) => text.push_str(&format!(" [default: {value}]")),
            Some(Value::Array(items)) => {
                let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                text.push_str(&format!(" [default: {}]", items.join(",")));
            }
            Some(value) => text.push_str(&format!(" [default: {value}]")),
        }
        text.push_str(&format!(" [env: {prefix}{}]", key.variable()));
        let mut arg = Arg::new(key.flag())
            .long(key.flag())
            .value_name(value_name(key, default))
            .global(true)
            .help_heading("Settings")
            .help(text);
        if matches!(default, Some(Value::Bool(_))) {
            arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
        }
        command = command.arg(arg);
    }
    with_negative_numbers(command)
}

/// Takes `-1` for a value where one is expected, so that the message names the argument and what it expects
/// instead of an unexpected argument.
fn with_negative_numbers(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let takes_values = arg.get_action().takes_values();
        arg.allow_negative_numbers(takes_values)
    });
    command.mut_subcommands(with_negative_numbers)
}

/// Says which two settings would listen on one port, if any do.
fn clash(values: &Value, keys: &[Key]) -> Option<String> {
    let listens: Vec<(&Key, &str)> = keys
        .iter()
        .filter(|key| key.path.last().is_some_and(|last| messages::is_address(last)))
        .filter_map(|key| Some((key, at(values, &key.path)?.as_str()?)))
        .collect();
    for (i, (one, x)) in listens.iter().enumerate() {
        for (other, y) in &listens[i + 1..] {
            let (one, other) = (one.flag(), other.flag());
            if x == y && messages::share_a_port(x, y) {
                return Some(format!("--{one} and --{other} are both {x}; change one"));
            }
            if messages::share_a_port(x, y) {
                let (one, other) = (format!("--{one} {x}"), format!("--{other} {y}"));
                return Some(format!("{one} and {other} are one port; change one"));
            }
        }
    }
    None
}

fn flag(matches: &ArgMatches, name: &str) -> Option<String> {
    // A global flag is copied down to the subcommand it was given to, so the deepest has it.
    let mut deepest = matches;
    while let Some((_, inner)) = deepest.subcommand() {
        deepest = inner;
    }
    for level in [deepest, matches] {
        if matches!(level.try_contains_id(name), Ok(true))
            && level.value_source(name) == Some(ValueSource::CommandLine)
        {
            return level.get_one::<String>(name).cloned();
        }
    }
    None
}

fn at<'a>(tree: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(tree, |node, key| node.get(key))
}

struct Tree<C> {
    defaults: Value,
    values: Value,
    shape: std::marker::PhantomData<C>,
}

impl<C: Settings> Tree<C> {
    fn new(defaults: Value) -> Self {
        Self { values: defaults.clone(), defaults, shape: std::marker::PhantomData }
    }

    /// The settings as they are typed, or the parser's refusal of a value.
    fn typed(&self) -> Result<(C, Common), String> {
        let mut own = self.values.clone();
        let common = own.as_object_mut().and_then(|table| table.remove(COMMON));
        let common: Common = serde_json::from_value(common.unwrap_or(Value::Null))
            .map_err(|error| error.to_string())?;
        Ok((serde_json::from_value(own).map_err(|error| error.to_string())?, common))
    }

    fn merge_file(&mut self, path: &OsString) -> Result<(), Error> {
        let shown = path.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::SettingsFile { path: shown.clone(), source })?;
        let refuse = |message: String| Error::Setting { origin: shown.clone(), message };
        let placed = |key: &str, message: String| {
            let line = messages::line_of(&text, key);
            refuse(line.map_or(message.clone(), |line| format!("line {line}: {message}")))
        };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(0, |s| text[..s.start.min(text.len())].lines().count());
            let line = line.max(1);
            let message = error.message();
            refuse(format!("line {line} is not TOML: {message}; `config --print` prints a sample"))
        })?;
        let file = serde_json::to_value(table).map_err(|error| refuse(error.to_string()))?;
        let mut leaves = Vec::new();
        leaves_of(&self.defaults, &file, &mut Vec::new(), &mut leaves)
            .map_err(|(key, message)| placed(&key, message))?;
        for (path, value) in leaves {
            let dotted = path.join(".");
            self.put(&path, value).map_err(|message| placed(&dotted, message))?;
        }
        Ok(())
    }

    /// Sets one leaf; on a refusal, which names the setting, nothing is changed.
    fn put(&mut self, path: &[String], value: Value) -> Result<(), String> {
        let dotted = path.join(".");
        messages::of_text(&dotted, &value)?;
        if let (true, Value::String(level)) = (dotted == LOG_LEVEL, &value) {
            log::check_level(level).map_err(|message| format!("{dotted}: {message}"))?;
        }
        let mut node = &mut self.values;
        for step in path {
            node = &mut node[step.as_str()];
        }
        let before = std::mem::replace(node, value.clone());
        match self.typed() {
            Ok(_) => Ok(()),
            Err(refusal) => {
                let mut node = &mut self.values;
                for step in path {
                    node = &mut node[step.as_str()];
                }
                *node = before;
                Err(messages::of_type(&dotted, &value, &refusal))
            }
        }
    }

    /// Sets one leaf from text. The default's type says how to read it; an unset default says
    /// nothing, so text is tried first and JSON second.
    fn set(&mut self, key: &Key, text: &str, origin: &str) -> Result<(), Error> {
        let json = || serde_json::from_str::<Value>(text).ok();
        let string = || Value::String(text.to_owned());
        let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let readings = match at(&self.defaults, &key.path) {
            Some(Value::String(_)) => vec![Some(string())],
            Some(Value::Array(_)) => vec![
                Some(items().map(|item| Value::String(item.into())).collect()),
                items()
                    .map(|item| serde_json::from_str::<Value>(item).ok())
                    .collect::<Option<Vec<_>>>()
                    .map(Value::Array),
                json(),
            ],
            Some(Value::Null) | None => vec![Some(string()), json()],
            Some(_) => vec![json(), Some(string())],
        };
        let mut first_refusal = None;
        for reading in readings.into_iter().flatten() {
            match self.put(&key.path, reading) {
                Ok(()) => return Ok(()),
                Err(message) => {
                    first_refusal.get_or_insert(message);
                }
            }
        }
        let message = first_refusal.unwrap_or_else(|| format!("{}: unreadable", key.dotted()));
        Err(Error::Setting { origin: origin.into(), message })
    }

    /// TOML of every setting, each under its help; what is unset stands as a comment.
    fn print(&self, prefix: &str, keys: &[Key]) -> String {
        let mut ordered: Vec<&Key> = keys.iter().collect();
        // Keys of a table follow its head, so the keys without a table come first.
        ordered.sort_by_key(|key| (key.path.len() > 1, key.path[..key.path.len() - 1].to_vec()));
        let (mut out, mut table) = (String::new(), Vec::new());
        for key in ordered {
            let (name, path) = (&key.path[key.path.len() - 1], &key.path[..key.path.len() - 1]);
            if path != table {
                table = path.to_vec();
                out.push_str(&format!("[{}]\n\n", table.join(".")));
            }
            let help = help_of::<C>(key);
            out.push_str(&format!("# {help} [env: {prefix}{}]\n", key.variable()));
            match at(&self.values, &key.path).and_then(toml_value) {
                Some(value) => out.push_str(&format!("{name} = {value}\n\n")),
                None => out.push_str(&format!("# {name} =\n\n")),
            }
        }
        out
    }
}

/// A value as TOML, URLs without credentials; `None` for what is unset.
fn toml_value(value: &Value) -> Option<String> {
    fn hidden(value: &Value) -> Value {
        match value {
            Value::String(text) => messages::without_credentials(text).into(),
            Value::Array(items) => items.iter().map(hidden).collect(),
            other => other.clone(),
        }
    }
    if value.is_null() {
        return None;
    }
    toml::Value::try_from(hidden(value)).ok().map(|value| value.to_string())
}

/// The leaves of a settings file, as (path, value). A key that the defaults do not have is refused, as
/// (key, message); a table that is empty in the defaults is a free map.
fn leaves_of(
    defaults: &Value,
    given: &Value,
    path: &mut Vec<String>,
    out: &mut Vec<(Vec<String>, Value)>,
) -> Result<(), (String, String)> {
    let (Value::Object(known), Value::Object(table)) = (defaults, given) else {
        if matches!(defaults, Value::Object(known) if !known.is_empty()) {
            let key = path.join(".");
            return Err((
                key.clone(),
                format!("{key}: `{given}` cannot be used; expected a table"),
            ));
        }
        out.push((path.clone(), given.clone()));
        return Ok(());
    };
    if known.is_empty() {
        out.push((path.clone(), given.clone()));
        return Ok(());
    }
    for (key, value) in table {
        path.push(key.clone());
        let Some(default) = known.get(key) else {
            let mut names: Vec<&str> = known.keys().map(String::as_str).collect();
            names.sort_unstable();
            let dotted = path.join(".");
            return Err((
                dotted.clone(),
                format!("unknown key `{dotted}`; known: {}", names.join(", ")),
            ));
        };
        leaves_of(default, value, path, out)?;
        path.pop();
    }
    Ok(())
}
