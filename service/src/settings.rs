//! Settings from five layers: flags, environment, file, the deployment's file, defaults.
//!
//! A program declares each setting once, as a field of a struct that derives [`clap::Args`]. The name of
//! the field (or its `id`) is the key in the file; flag and variable follow from it. Values of the file and
//! of the environment become the defaults of the flags, so that clap parses all layers with one parser.

mod deployment;
mod file;
mod layers;
mod pages;

use std::any::TypeId;
use std::error::Error as _;
use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::ContextKind;
use clap::{Arg, ArgAction, Args as _, Command};

pub use deployment::{DEPLOYMENT_FORMAT, Fact};
pub(crate) use layers::{Loaded, Parsed, UnknownVariable, from_command_line};
pub use layers::{command_line, load, load_with_command};

use rollmill_net::{Tls, TlsFiles};

use crate::values::{self, Bounds, Guarded};
use crate::{Error, TraceSettings, messages};

/// The settings of a program.
///
/// Each field has a doc comment (its help), a value name with its unit, a default unless it is an
/// [`Option`], and a parser that knows the bounds of numbers ([`values::whole`]). The key in the file is the
/// field's name, or the `id` of its attribute: `id = "node.poll_ms"` is the key `poll_ms` in the table
/// `[node]`, the flag `--node-poll-ms` and the variable `ROLLMILL_<PROGRAM>_NODE_POLL_MS`.
pub trait Settings: clap::Args + Send + 'static {
    /// The settings that the program takes from the file of `service.deployment`. They rank right above the declared
    /// defaults.
    const DEPLOYMENT: &'static [Fact] = &[];

    /// Rejects settings that cannot work together.
    ///
    /// # Errors
    /// The settings that exclude each other, and what to do.
    fn check(&self, _common: &Common) -> Result<(), Conflict> {
        Ok(())
    }

    /// Where the program sends traces, if it records any.
    fn traces(&self) -> Option<&TraceSettings> {
        None
    }
}

/// The subcommands of a program, an enum that derives [`clap::Subcommand`].
pub trait Commands: clap::Subcommand + Send + 'static {
    /// The settings that a subcommand uses: its name, and keys or tables of the file. Its help lists
    /// these, and those of `[service]` that concern logs; the others are accepted too.
    const USES: &'static [(&'static str, &'static [&'static str])] = &[];

    /// Whether the program does nothing without a subcommand.
    const IS_REQUIRED: bool = false;

    /// Whether the subcommand starts the server, with its checks and its admin endpoint.
    fn serves(&self) -> bool {
        false
    }
}

/// The subcommands of a program without any.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub enum NoCommands {}

impl Commands for NoCommands {}

/// Settings that cannot work together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    keys: Vec<&'static str>,
    why: String,
}

impl Conflict {
    /// The keys of the settings, and why they exclude each other and what to do, without a full stop. The
    /// message shows the value of each key and where it was set.
    pub fn new(keys: &[&'static str], why: impl Into<String>) -> Self {
        Self { keys: keys.to_vec(), why: why.into() }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line per event
    #[default]
    Human,
    /// One JSON object per event
    Json,
}

/// Settings that every program has, in the file's table `[service]`.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// File of the deployment, as `rollmill-l1 deploy` writes it [default: none]
    ///
    /// It sets what the program needs of the deployment, such as the chain ID and the address of the rollup. Flags,
    /// environment and settings file override it, but must not name another deployment.
    #[arg(id = "service.deployment", long, value_name = "FILE", help_heading = "Service")]
    pub deployment: Option<PathBuf>,

    /// Serve metrics, status and health on this address [default: none, nothing is served]
    ///
    /// The paths are `/metrics`, `/status`, `/health` and `/ready`.
    #[arg(id = "service.admin_listen", long, value_name = "HOST:PORT", help_heading = "Service")]
    #[arg(value_parser = values::listen_address)]
    pub admin_listen: Option<String>,

    /// Time for a graceful shutdown after SIGTERM or SIGINT
    ///
    /// A second signal ends the process within 3 s: it releases open work instead of finishing it.
    #[arg(id = "service.grace_seconds", long, value_name = "SECONDS", help_heading = "Service")]
    #[arg(default_value_t = 30, value_parser = values::whole(0..=86_400_u64))]
    pub grace_seconds: u64,

    /// PEM file with certificates of authorities to trust as a client, beside those of the system [default: none]
    ///
    /// It concerns every `https://` URL in the settings. The file is read again each minute and at SIGHUP.
    #[arg(id = "service.tls_ca", long, value_name = "FILE", help_heading = "TLS")]
    pub tls_ca: Option<PathBuf>,

    /// PEM file with the certificate chain to present to servers that ask for one [default: none]
    #[arg(id = "service.tls_cert", long, value_name = "FILE", help_heading = "TLS")]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the private key of `service.tls_cert` [default: none]
    #[arg(id = "service.tls_key", long, value_name = "FILE", help_heading = "TLS")]
    pub tls_key: Option<PathBuf>,

    /// Send tokens over plain HTTP to other machines too
    ///
    /// For a network that encrypts by itself, such as a VPN or a service mesh. Without it a token goes over plain HTTP
    /// only to `localhost` and to loopback addresses.
    #[arg(id = "service.plain_tokens", long, help_heading = "TLS")]
    pub plain_tokens: bool,

    /// Format of log lines
    #[arg(id = "service.log_format", long, value_name = "FORMAT", help_heading = "Logging")]
    #[arg(value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,

    /// Log level or filter
    ///
    /// A level is off, error, warn, info, debug or trace. A filter sets a level per target, for example
    /// `info,rollmill_broker=debug`.
    #[arg(id = "service.log_level", long, value_name = "FILTER", help_heading = "Logging")]
    #[arg(default_value = "info", value_parser = crate::log::check_level)]
    pub log_level: String,
}

impl Common {
    /// Rejects a certificate without its key, and the reverse.
    fn check(&self) -> Result<(), Conflict> {
        match self.tls_cert.is_some() == self.tls_key.is_some() {
            true => Ok(()),
            false => Err(Conflict::new(
                &["service.tls_cert", "service.tls_key"],
                "a certificate is presented with its key; set both or none",
            )),
        }
    }

    /// Opens the files of the process's clients, and uses them for every client from now on, with the rule for tokens.
    pub(crate) fn install_tls(&self) -> Result<Tls, Error> {
        let identity = self.tls_cert.clone().zip(self.tls_key.clone());
        let files = TlsFiles { ca: self.tls_ca.clone(), identity };
        let tls = Tls::open(files).map_err(|error| {
            let names = ["--tls-ca", "--tls-cert", "--tls-key"];
            let [ca, cert, key] = [&self.tls_ca, &self.tls_cert, &self.tls_key];
            let setting = error.settings(&[(names[0], ca), (names[1], cert), (names[2], key)]);
            Error::Tls { setting, error }
        })?;
        let tls = tls.with_plain_tokens(self.plain_tokens);
        // Fails only in a program that runs a second service in its process.
        tls.clone().install();
        Ok(tls)
    }
}

impl Default for Common {
    fn default() -> Self {
        defaults()
    }
}

/// The default settings.
///
/// # Panics
/// If a declared default does not pass its own parser; a test of each program calls this.
pub fn defaults<C: clap::Args>() -> C {
    let command = C::augment_args(Command::new("defaults").no_binary_name(true));
    let matches = command.try_get_matches_from(Vec::<String>::new());
    match matches.and_then(|matches| C::from_arg_matches(&matches)) {
        Ok(settings) => settings,
        Err(error) => panic!("the declared defaults do not parse: {error}"),
    }
}

/// The type of a setting's value in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Bool,
    List,
}

/// A declared setting.
#[derive(Debug, Clone)]
struct Setting {
    /// Its key in the file, with its table: `node.poll_ms`.
    key: String,
    flag: String,
    variable: String,
    kind: Kind,
    /// Its help: one line, and details in further paragraphs.
    help: String,
    /// The flag as clap knows it, with the declared default.
    arg: Arg,
}

const SERVICE: &str = "service.";

impl Setting {
    /// The setting for an argument of a derived struct. Flag and variable are derived from its id.
    fn new(arg: &Arg, prefix: &str) -> Self {
        let key = arg.get_id().to_string();
        let flag = key.strip_prefix(SERVICE).unwrap_or(&key).replace(['.', '_'], "-");
        let variable = format!("{prefix}{}", flag.to_uppercase().replace('-', "_"));
        let kind = kind(arg);
        let mut arg = arg.clone().long(flag.clone()).global(true).allow_negative_numbers(true);
        if kind == Kind::Bool {
            let default = arg.get_default_values().first().cloned();
            arg = arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value(default.map_or("false".into(), clap::builder::OsStr::from))
                .value_name("BOOL");
        }
        if arg.get_help_heading().is_none() {
            arg = arg.help_heading("Settings");
        }
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string);
        let help = help.unwrap_or_default();
        Self { key, flag, variable, kind, help, arg: with_range(arg) }
    }

    /// Its table (empty for the top of the file) and its name there.
    fn place(&self) -> (&str, &str) {
        self.key.rsplit_once('.').unwrap_or(("", &self.key))
    }

    /// The first line of its help.
    fn summary(&self) -> &str {
        self.help.lines().next().unwrap_or_default()
    }

    /// The bounds of a number.
    fn bounds(&self) -> Option<Bounds> {
        bounds(&self.arg)
    }

    /// Parses a value as the flag's parser does.
    fn parse(&self, text: &str) -> Result<(), clap::Error> {
        parse(&self.arg, text)
    }

    /// The name of a value, with its unit: `SECONDS`.
    fn value_name(&self) -> &str {
        self.arg.get_value_names().and_then(|names| names.first()).map_or("VALUE", |n| n.as_str())
    }

    /// A description of the valid values.
    fn expected(&self) -> String {
        match (self.kind, self.bounds()) {
            (Kind::Number, Some(bounds)) => with_unit(&bounds, self.value_name()),
            (Kind::Number, None) => "expected a whole number".to_owned(),
            (Kind::Bool, _) => "expected true or false".to_owned(),
            (Kind::List, _) => {
                "expected a list of texts in quotes, without commas in them".to_owned()
            }
            (Kind::Text, _) => "expected text in quotes".to_owned(),
        }
    }

    /// Whether its value names a secret, which its parser reads.
    fn is_secret(&self) -> bool {
        self.arg.get_value_parser().type_id() == TypeId::of::<crate::Secret>()
    }

    /// Whether the setting is an address to listen on.
    fn is_listener(&self) -> bool {
        self.value_name() == "HOST:PORT"
    }
}

fn kind(arg: &Arg) -> Kind {
    let id = arg.get_value_parser().type_id();
    let numbers = [
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
    ];
    // A type of its own that is read as a number within bounds is a number as well.
    if numbers.iter().any(|number| id == *number) || bounds(arg).is_some() {
        Kind::Number
    } else if id == TypeId::of::<bool>() {
        Kind::Bool
    } else if id == TypeId::of::<Vec<String>>() {
        Kind::List
    } else {
        Kind::Text
    }
}

/// Parses a value with the argument's own parser, without its relations to other arguments.
fn parse(arg: &Arg, text: &str) -> Result<(), clap::Error> {
    let mut alone = Arg::new("value").long("value").value_parser(arg.get_value_parser().clone());
    if let Some(names) = arg.get_value_names() {
        alone = alone.value_names(names.iter().cloned());
    }
    let command = Command::new("value").no_binary_name(true).arg(alone);
    command.try_get_matches_from([format!("--value={text}")]).map(drop)
}

/// The bounds of an argument that is a number, from the error of its parser.
fn bounds(arg: &Arg) -> Option<Bounds> {
    parse(arg, "not a number").err()?.source()?.downcast_ref::<Bounds>().copied()
}

/// The argument with its bounds in the help text, if it is a number.
fn with_range(arg: Arg) -> Arg {
    let Some(bounds) = bounds(&arg) else { return arg };
    let range = format!(" [{}]", bounds.range());
    let with = |text: &StyledStr| {
        let text = text.to_string();
        match text.split_once("\n\n") {
            Some((first, rest)) => format!("{first}{range}\n\n{rest}"),
            None => format!("{text}{range}"),
        }
    };
    let (short, long) = (arg.get_help().map(with), arg.get_long_help().map(with));
    let arg = match short {
        Some(short) => arg.help(short),
        None => arg,
    };
    match long {
        Some(long) => arg.long_help(long),
        None => arg,
    }
}

/// The valid numbers, with the unit from the value name.
fn with_unit(bounds: &Bounds, value_name: &str) -> String {
    let unit = match value_name {
        "SECONDS" => " of seconds",
        "MILLISECONDS" => " of milliseconds",
        "BYTES" => " of bytes",
        "MIB" => " of MiB",
        "GWEI" => " of gwei",
        "BLOCKS" => " of blocks",
        _ => "",
    };
    bounds.to_string().replacen("whole number", &format!("whole number{unit}"), 1)
}

/// clap's error about a value, worded for the flag, variable or key `what`; `None` for other errors.
fn value_error(error: &clap::Error, what: &str) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(clap::error::ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let value = text(ContextKind::InvalidValue)?;
    let source = error.source();
    if let Some(guarded) = source.and_then(|source| source.downcast_ref::<Guarded>()) {
        return Some(format!("invalid value for {what}: {guarded}"));
    }
    if value.is_empty() && error.kind() == clap::error::ErrorKind::InvalidValue {
        let usage = text(ContextKind::InvalidArg).unwrap_or(what);
        return Some(format!("the value of {what} is missing; write {usage}"));
    }
    if value.is_empty() {
        return Some(empty(what));
    }
    let name = text(ContextKind::InvalidArg)
        .and_then(|arg| arg.split(['<', '>']).nth(1))
        .unwrap_or_default();
    let expected = match source {
        Some(source) => match source.downcast_ref::<Bounds>() {
            Some(bounds) => with_unit(bounds, name),
            None => rollmill_errors::uncoded(&source.to_string()),
        },
        None => {
            let Some(clap::error::ContextValue::Strings(valid)) =
                error.get(ContextKind::ValidValue)
            else {
                return None;
            };
            let mut expected = format!("expected one of: {}", valid.join(", "));
            // clap also suggests names that only share some letters.
            if let Some(nearest) = messages::nearest(value, valid.iter().map(String::as_str)) {
                expected.push_str(&format!("; did you mean `{nearest}`?"));
            }
            expected
        }
    };
    Some(format!("invalid value `{value}` for {what}: {expected}"))
}

fn empty(what: &str) -> String {
    format!("the value of {what} is empty; leave the setting out to use its default")
}

/// The settings of a program, those of the frame last.
fn settings<C: Settings>(prefix: &str) -> Vec<Setting> {
    let command = Common::augment_args(C::augment_args(Command::new("settings")));
    command.get_arguments().map(|arg| Setting::new(arg, prefix)).collect()
}

/// The prefix of the environment variables of a program.
fn prefix(name: &str) -> String {
    format!("ROLLMILL_{}_", name.to_uppercase().replace('-', "_"))
}
