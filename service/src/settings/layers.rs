//! Merges the layers into typed settings.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches as _};

use super::{
    Commands, Common, Conflict, NoCommands, Setting, Settings, deployment, file, pages, prefix,
};
use super::{settings, value_error, with_range};
use crate::error::Error;
use crate::messages;

/// The parsed settings and command of a process.
#[derive(Debug)]
pub(crate) struct Loaded<C, S> {
    pub(crate) config: C,
    pub(crate) common: Common,
    pub(crate) command: Option<S>,
    /// The subcommand `check` was requested; the value is how long it waits.
    pub(crate) check: Option<Option<u64>>,
    pub(crate) unknown_variables: Vec<UnknownVariable>,
}

/// A variable with the program's prefix that names no setting, and the most similar known name.
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

pub(crate) enum Parsed<C, S> {
    Run(Box<Loaded<C, S>>),
    /// Help, version or printed settings: print and exit.
    Answer {
        text: String,
        unknown_variables: Vec<UnknownVariable>,
    },
}

/// Reads the layers of the running process. `has_checks` adds the subcommand `check`.
pub(crate) fn from_command_line<C: Settings, S: Commands>(
    name: &'static str,
    command: Command,
    has_checks: bool,
) -> Result<Parsed<C, S>, Error> {
    let variables = std::env::vars_os().collect();
    parse(name, command, has_checks, std::env::args_os(), variables)
}

/// Reads settings only from the layers passed, for tests and embedding programs.
///
/// `arguments` are flags without the program's name; `variables` are (name, value).
///
/// # Errors
/// As the program's own.
pub fn load<C: Settings>(
    name: &'static str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<(C, Common), Error> {
    load_with_command::<C, NoCommands>(name, arguments, variables)
        .map(|(config, common, _)| (config, common))
}

/// As [`load`], for a program with subcommands. Text to print, such as a help text, is returned as
/// [`Error::Usage`].
///
/// # Errors
/// As the program's own.
pub fn load_with_command<C: Settings, S: Commands>(
    name: &'static str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<(C, Common, Option<S>), Error> {
    let arguments = std::iter::once(name).chain(arguments.iter().copied()).map(OsString::from);
    let variables = variables.iter().map(|(k, v)| (k.into(), v.into())).collect();
    match parse::<C, S>(name, Command::new(name), true, arguments, variables)? {
        Parsed::Run(loaded) => Ok((loaded.config, loaded.common, loaded.command)),
        Parsed::Answer { text, .. } => Err(Error::Usage { message: text }),
    }
}

fn parse<C: Settings, S: Commands>(
    name: &'static str,
    command: Command,
    has_checks: bool,
    arguments: impl Iterator<Item = OsString>,
    variables: Vec<(OsString, OsString)>,
) -> Result<Parsed<C, S>, Error> {
    let prefix = prefix(name);
    let settings = settings::<C>(&prefix);
    let program = Program { command, settings, prefix, has_checks, shows_variables: false };
    let arguments: Vec<OsString> = arguments.collect();
    let none = BTreeMap::new();

    // First the command line alone: it names the settings file, and a help text shows the declared
    // defaults.
    let matches = match program.build::<S>(&none).try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => {
            // Again, with the variables in the help.
            let shown = program.with_variables().build::<S>(&none).try_get_matches_from(&arguments);
            let text = shown.err().unwrap_or(error).to_string();
            return Ok(Parsed::Answer { text, unknown_variables: Vec::new() });
        }
        Err(error) => return Err(program.message(&error, &arguments)),
    };
    let deepest = deepest(&matches);
    let mut lower = program.below_flags(deepest, &variables)?;
    let given = program.of_deployment::<C>(deepest, &lower)?;
    for fact in &given {
        let (text, origin) = (fact.text.clone(), fact.origin.clone());
        lower.entry(fact.setting).or_insert(Lower { text, origin });
    }

    // Then with the other layers as the defaults of the flags.
    let matches = program.build::<S>(&lower).try_get_matches_from(&arguments);
    let matches = matches.map_err(|error| program.usage(&error))?;
    let values = program.values(self::deepest(&matches), &lower);
    let unknown_variables = program.unknown(&variables, &values);
    program.check_flags(&values)?;
    program.check_ports(&values)?;
    program.check_deployment(&given, &values)?;
    let read = |error: clap::Error| program.usage(&error);
    let config = C::from_arg_matches(self::deepest(&matches)).map_err(read)?;
    let common = Common::from_arg_matches(self::deepest(&matches)).map_err(read)?;
    common.check().map_err(|conflict| program.conflict(&conflict, &values))?;
    config.check(&common).map_err(|conflict| program.conflict(&conflict, &values))?;
    let (mut command, mut check) = (None, None);
    match matches.subcommand() {
        Some((pages::COMMAND, arguments)) => {
            let text = pages::answer(&program, arguments, &values);
            return Ok(Parsed::Answer { text, unknown_variables });
        }
        Some((CHECK, arguments)) if has_checks => {
            check = Some(arguments.get_one::<u64>("wait").copied());
        }
        Some(_) => command = Some(S::from_arg_matches(&matches).map_err(read)?),
        None => {}
    }
    let loaded = Loaded { config, common, command, check, unknown_variables };
    Ok(Parsed::Run(Box::new(loaded)))
}

const CONFIG: &str = "config";
const CHECK: &str = "check";
/// Key of the setting that names the deployment's file.
const DEPLOYMENT: &str = "service.deployment";

/// A value of a layer below the flags.
pub(super) struct Lower {
    text: String,
    origin: String,
}

/// The effective value of a setting as text, and where it was set.
pub(super) struct Value {
    pub(super) text: String,
    origin: String,
}

/// The command line of a program.
pub(super) struct Program {
    command: Command,
    pub(super) settings: Vec<Setting>,
    prefix: String,
    has_checks: bool,
    shows_variables: bool,
}

impl Program {
    pub(super) fn name(&self) -> &str {
        self.command.get_name()
    }

    pub(super) fn config_variable(&self) -> String {
        format!("{}CONFIG", self.prefix)
    }

    /// The whole command line, with these defaults below the flags.
    fn build<S: Commands>(&self, lower: &BTreeMap<usize, Lower>) -> Command {
        // The derive describes the program by the comment of the enum.
        let about = self.command.get_about().cloned().unwrap_or_default();
        let mut command = S::augment_subcommands(self.command.clone()).about(about);
        command = command.long_about(None);
        if S::IS_REQUIRED {
            command = command.subcommand_required(true);
        }
        if self.has_checks {
            let wait = Arg::new("wait")
                .long("wait")
                .value_name("SECONDS")
                .value_parser(crate::values::whole(0..=86_400_u64))
                .help("Retry for this long while something is unreachable [default: no retry]");
            let check = Command::new(CHECK).about(
                "Check what the program needs: one line per check; exit with 1 if one fails",
            );
            command = command.subcommand(check.arg(wait));
        }
        command = command.subcommand(pages::command());
        debug_assert_eq!(self.unknown_key(S::USES.iter().flat_map(|(_, uses)| *uses)), None);
        let args = self.args(lower);
        command = command.mut_subcommands(|command| hide_unused::<S>(command, &args, None));
        command.args(args)
    }

    fn args(&self, lower: &BTreeMap<usize, Lower>) -> Vec<Arg> {
        let file = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(clap::value_parser!(OsString))
            .global(true)
            .help_heading("Service")
            .help("Read settings from this TOML file; flags and environment override it [default: none]");
        let file = match self.shows_variables {
            true => file.env(self.config_variable()).hide_env_values(true),
            false => file,
        };
        let mut args = Vec::new();
        for (i, setting) in self.settings.iter().enumerate() {
            let arg = setting.arg.clone();
            args.push(match lower.get(&i) {
                _ if self.shows_variables => arg.env(&setting.variable).hide_env_values(true),
                None => arg,
                Some(lower) => arg.default_value(&lower.text),
            });
        }
        args.push(file);
        args
    }

    /// The program for a help text. Elsewhere the variables are a layer that is read before clap parses, so
    /// that a message can name the variable.
    fn with_variables(self) -> Self {
        Self { shows_variables: true, ..self }
    }

    /// The values of the file and of the environment, without secrets that a flag overrides: those are not read.
    fn below_flags(
        &self,
        matches: &ArgMatches,
        variables: &[(OsString, OsString)],
    ) -> Result<BTreeMap<usize, Lower>, Error> {
        let variable = |requested: &str| {
            let found = variables.iter().find(|(name, _)| name.to_str() == Some(requested));
            found.map(|(_, value)| value)
        };
        let config_variable = self.config_variable();
        let flag = matches.get_one::<OsString>(CONFIG).map(|path| (path, "--config"));
        let path = flag.or_else(|| Some((variable(&config_variable)?, config_variable.as_str())));
        let by_flag = |setting: &Setting| {
            matches.value_source(&setting.key) == Some(ValueSource::CommandLine)
        };
        let overridden = |s: &Setting| by_flag(s) || variable(&s.variable).is_some();
        let mut lower = match path {
            Some((path, setting)) => self.of_file(path, setting, &overridden)?,
            None => BTreeMap::new(),
        };
        for (i, setting) in self.settings.iter().enumerate() {
            if let Some(value) = variable(&setting.variable) {
                lower.insert(i, self.of_variable(setting, value, by_flag(setting))?);
            }
        }
        // As the default of its flag it would be read.
        let settings = &self.settings;
        lower.retain(|i, _| !(settings[*i].is_secret() && by_flag(&settings[*i])));
        Ok(lower)
    }

    /// The values of a settings file, parsed by the flags' parsers. `setting` names the file.
    fn of_file(
        &self,
        path: &OsString,
        setting: &str,
        overridden: &dyn Fn(&Setting) -> bool,
    ) -> Result<BTreeMap<usize, Lower>, Error> {
        let shown = path.to_string_lossy().into_owned();
        if shown.is_empty() {
            return Err(Error::Setting { message: super::empty(setting) });
        }
        let text = crate::secret::read_bounded(path.as_ref()).map_err(|source| {
            Error::SettingsFile { path: shown.clone(), setting: setting.to_owned(), source }
        })?;
        let wrong = |line: usize, message: String| Error::Setting {
            message: format!("{shown}, line {line}: {message}"),
        };
        let leaves = file::read(&text, &self.settings)
            .map_err(|rejected| wrong(rejected.line, rejected.message))?;
        let mut values = BTreeMap::new();
        for leaf in leaves {
            let setting = &self.settings[leaf.setting];
            let accepted = accept(setting, &leaf.text, &setting.key, overridden(setting));
            accepted.map_err(|m| wrong(leaf.line, m))?;
            let origin = format!("{shown}, line {}", leaf.line);
            values.insert(leaf.setting, Lower { text: leaf.text, origin });
        }
        Ok(values)
    }

    /// What the file of the deployment sets, if one is named.
    fn of_deployment<C: Settings>(
        &self,
        matches: &ArgMatches,
        lower: &BTreeMap<usize, Lower>,
    ) -> Result<Vec<deployment::Given>, Error> {
        let Some(at) = self.settings.iter().position(|setting| setting.key == DEPLOYMENT) else {
            return Ok(Vec::new());
        };
        let by_flag = matches.get_raw(DEPLOYMENT).and_then(|mut raw| raw.next());
        let by_flag =
            by_flag.map(|path| (path.to_owned(), format!("--{}", self.settings[at].flag)));
        let below = || lower.get(&at).map(|it| (OsString::from(&it.text), it.origin.clone()));
        match by_flag.or_else(below) {
            Some((path, _)) if path.is_empty() => Ok(Vec::new()),
            Some((path, named_by)) => {
                deployment::read(&path, &named_by, C::DEPLOYMENT, &self.settings)
            }
            None => Ok(Vec::new()),
        }
    }

    /// Rejects a setting that says another deployment than the deployment's file.
    fn check_deployment(
        &self,
        given: &[deployment::Given],
        values: &[Option<Value>],
    ) -> Result<(), Error> {
        for fact in given.iter().filter(|fact| fact.is_identity) {
            if let Some(value) = &values[fact.setting]
                && !fact.agrees(&value.text)
            {
                let set = described(&self.settings[fact.setting], value);
                let message = format!(
                    "{set} contradicts {} ({}); remove one of the two, or name the file of that deployment",
                    fact.text, fact.origin
                );
                return Err(Error::Setting { message });
            }
        }
        Ok(())
    }

    fn of_variable(
        &self,
        setting: &Setting,
        value: &OsString,
        is_overridden: bool,
    ) -> Result<Lower, Error> {
        let name = &setting.variable;
        let wrong = |message: String| Error::Setting { message };
        let text = value.to_str().ok_or_else(|| wrong(format!("the value of {name} is not UTF-8")));
        let text = text?.to_owned();
        accept(setting, &text, name, is_overridden).map_err(wrong)?;
        Ok(Lower { text, origin: name.clone() })
    }

    /// The effective values, by setting. An unset setting has none.
    fn values(&self, matches: &ArgMatches, lower: &BTreeMap<usize, Lower>) -> Vec<Option<Value>> {
        let value = |(i, setting): (usize, &Setting)| {
            let raw = matches.get_raw(&setting.key)?;
            let items: Vec<_> = raw.map(|item| item.to_string_lossy()).collect();
            let origin = match matches.value_source(&setting.key) {
                Some(ValueSource::CommandLine) => format!("--{}", setting.flag),
                _ => lower.get(&i).map_or("default", |lower| lower.origin.as_str()).to_owned(),
            };
            Some(Value { text: items.join(","), origin })
        };
        self.settings.iter().enumerate().map(value).collect()
    }

    /// Variables with the program's prefix that are no setting, and that no setting names: `env:NAME`, or the name
    /// alone.
    fn unknown(
        &self,
        variables: &[(OsString, OsString)],
        values: &[Option<Value>],
    ) -> Vec<UnknownVariable> {
        let named = |name: &str| {
            values.iter().flatten().any(|v| v.text.strip_prefix("env:").unwrap_or(&v.text) == name)
        };
        let known: BTreeSet<String> = self.settings.iter().map(|s| s.variable.clone()).collect();
        let config = self.config_variable();
        let names = variables.iter().filter_map(|(name, _)| name.to_str());
        let unknown = names
            .filter(|name| name.starts_with(&self.prefix))
            .filter(|name| *name != config && !known.contains(*name) && !named(name));
        let all = self.settings.iter().map(|s| (s.variable.as_str(), s.place().1));
        let all = all.chain([(config.as_str(), CONFIG)]);
        let with_nearest = |name: &str| {
            let inner = name.strip_prefix(&self.prefix).unwrap_or(name).to_lowercase();
            let nearest = messages::nearest_in_any_table((name, &inner), all.clone());
            UnknownVariable { name: name.to_owned(), nearest: nearest.map(str::to_owned) }
        };
        unknown.map(with_nearest).collect()
    }

    /// Rejects an empty text given by a flag; the other layers were checked when they were read.
    fn check_flags(&self, values: &[Option<Value>]) -> Result<(), Error> {
        for (setting, value) in self.settings.iter().zip(values) {
            let is_empty = |value: &Value| value.text.trim().is_empty();
            let flag = format!("--{}", setting.flag);
            if value.as_ref().is_some_and(|value| is_empty(value) && value.origin == flag)
                && setting.kind != super::Kind::List
            {
                return Err(Error::Setting { message: super::empty(&flag) });
            }
        }
        Ok(())
    }

    /// A key that is neither a setting nor a table is a bug in the program, which any test of it shows.
    fn unknown_key<'a>(
        &self,
        mut keys: impl Iterator<Item = &'a &'static str>,
    ) -> Option<&'a &'static str> {
        let is_known = |key: &str| {
            let inner = format!("{key}.");
            self.settings.iter().any(|s| s.key == key || s.key.starts_with(&inner))
        };
        keys.find(|key| !is_known(key))
    }

    /// Rejects two settings that would listen on one port.
    fn check_ports(&self, values: &[Option<Value>]) -> Result<(), Error> {
        let listeners: Vec<(&Setting, &Value)> = self
            .settings
            .iter()
            .zip(values)
            .filter(|(setting, _)| setting.is_listener())
            .filter_map(|(setting, value)| Some((setting, value.as_ref()?)))
            .collect();
        for (i, (one, x)) in listeners.iter().enumerate() {
            for (other, y) in &listeners[i + 1..] {
                if messages::share_a_port(&x.text, &y.text) {
                    let (one, other) = (described(one, x), described(other, y));
                    let message = format!("{one} and {other} are one port; change one of them");
                    return Err(Error::Setting { message });
                }
            }
        }
        Ok(())
    }

    fn conflict(&self, conflict: &Conflict, values: &[Option<Value>]) -> Error {
        debug_assert_eq!(self.unknown_key(conflict.keys.iter()), None);
        let shown = conflict.keys.iter().map(|key| {
            let at = self.settings.iter().position(|setting| setting.key == *key);
            match at.and_then(|at| Some((&self.settings[at], values[at].as_ref()?))) {
                Some((setting, value)) => described(setting, value),
                None => format!("{key} (not set)"),
            }
        });
        let shown: Vec<String> = shown.collect();
        Error::Setting { message: format!("{}: {}", shown.join(" and "), conflict.why) }
    }

    /// As [`Self::usage`], with a tip for a boolean value that does not follow its flag by `=`.
    fn message(&self, error: &clap::Error, arguments: &[OsString]) -> Error {
        let mut message = self.usage(error);
        let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
            return message;
        };
        let flag = arguments.windows(2).find(|pair| pair[1].to_str() == Some(word));
        let flag = flag.and_then(|pair| pair[0].to_str()?.strip_prefix("--"));
        let is_bool = |s: &Setting| Some(s.flag.as_str()) == flag && s.kind == super::Kind::Bool;
        if let (true, Some(flag), Error::Usage { message }) =
            (self.settings.iter().any(is_bool), flag, &mut message)
        {
            *message = format!(
                "unexpected `{word}` after --{flag}; write --{flag}=true or --{flag}=false"
            );
        }
        message
    }

    fn usage(&self, error: &clap::Error) -> Error {
        usage(error, |arg| self.settings.iter().any(|s| arg == format!("--{}", s.flag)))
    }
}

/// clap's error about the command line as one line.
fn usage(error: &clap::Error, is_setting: impl Fn(&str) -> bool) -> Error {
    let arg = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) if arg.starts_with("--") => {
            arg.split([' ', '=', '[']).next().unwrap_or(arg)
        }
        // A positional argument: `<JOB>...`, or `[TENANT]` if it is optional.
        Some(ContextValue::String(arg)) => {
            &format!("<{}>", arg.trim_end_matches('.').trim_matches(['<', '>', '[', ']']))
        }
        _ => "",
    };
    if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue)
        && let Some(message) = value_error(error, arg)
    {
        return match is_setting(arg) {
            true => Error::Setting { message },
            false => Error::Usage { message },
        };
    }
    Error::Usage { message: messages::of_clap(&error.to_string()) }
}

/// Parses the command line of a program without settings: with the bounds of numbers in its help, and with
/// errors of one line.
///
/// # Errors
/// [`Error::Usage`]. A text to print, such as a help text, is the other value.
pub fn command_line<T: clap::CommandFactory + clap::FromArgMatches>(
    arguments: impl Iterator<Item = OsString>,
) -> Result<Result<T, String>, Error> {
    let command = T::command().mut_args(with_range).mut_subcommands(|sub| sub.mut_args(with_range));
    let read = |matches: ArgMatches| T::from_arg_matches(&matches);
    match command.try_get_matches_from(arguments).and_then(read) {
        Ok(parsed) => Ok(Ok(parsed)),
        Err(error) if !error.use_stderr() => Ok(Err(error.to_string())),
        Err(error) => Err(usage(&error, |_| false)),
    }
}

/// The setting's value with where it was set. URLs are shown without credentials.
fn described(setting: &Setting, value: &Value) -> String {
    let shown = messages::without_credentials(&value.text);
    format!("{} = {shown} ({})", setting.key, value.origin)
}

/// Checks a value of the file or of the environment with the flag's parser. `what` names it as the user
/// wrote it. A secret that a higher layer overrides is not read: it may be on another machine.
pub(super) fn accept(
    setting: &Setting,
    text: &str,
    what: &str,
    is_overridden: bool,
) -> Result<(), String> {
    if text.trim().is_empty() && setting.kind != super::Kind::List {
        return Err(super::empty(what));
    }
    if is_overridden && setting.is_secret() {
        let checked = crate::Secret::check_reference(text);
        return checked.map_err(|why| format!("invalid value for {what}: {why}"));
    }
    setting.parse(text).map_err(|error| {
        let message = value_error(&error, what);
        message.unwrap_or_else(|| format!("invalid value for {what}: {}", setting.expected()))
    })
}

/// Hides the settings that a subcommand does not use from its help. It accepts them nevertheless, so that it
/// can run with the file and the flags of the server beside it.
fn hide_unused<S: Commands>(
    command: Command,
    args: &[Arg],
    above: Option<&'static [&'static str]>,
) -> Command {
    let name = command.get_name().to_owned();
    let own = S::USES.iter().find(|(of, _)| *of == name).map(|(_, uses)| *uses);
    let is_serving = above.is_none() && [CHECK, pages::COMMAND, "serve"].contains(&name.as_str());
    let uses = if above.is_none() { Some(own.unwrap_or(&[])) } else { own.or(above) };
    let is_used = |id: &str| {
        let listed = |known: &&str| id == *known || id.starts_with(&format!("{known}."));
        is_serving
            || id == CONFIG
            || id.starts_with("service.log_")
            || uses.is_some_and(|uses| uses.iter().any(listed))
    };
    let hidden = args.iter().filter(|arg| !is_used(arg.get_id().as_str()));
    command
        .arg_required_else_help(false)
        .mut_args(|arg| {
            // So that the message is about the number, and not about an unknown flag `-1`.
            let takes_values = arg.get_action().takes_values();
            with_range(arg.allow_negative_numbers(takes_values))
        })
        .args(hidden.map(|arg| arg.clone().hide(true)))
        .mut_subcommands(|command| hide_unused::<S>(command, args, uses))
}

/// The matches of the innermost subcommand: clap copies a global flag down to it from any level.
fn deepest(matches: &ArgMatches) -> &ArgMatches {
    let mut deepest = matches;
    while let Some((_, inner)) = deepest.subcommand() {
        deepest = inner;
    }
    deepest
}
