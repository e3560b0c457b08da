//! `config`: the effective settings, a sample of the file, and the page of all settings.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::layers::{Program, Value};
use super::{Kind, Setting};
use crate::messages;

pub(super) const COMMAND: &str = "config";

/// The subcommand as clap knows it.
pub(super) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new(COMMAND)
        .about("Print the effective settings, a sample file or a page of all settings")
        .arg(flag("print", "Print the effective settings as TOML, without secrets (default)"))
        .arg(flag("sample", "Print a settings file with every setting commented out"))
        .arg(flag("markdown", "Print a table of all settings in Markdown"))
        .group(clap::ArgGroup::new("what").args(["print", "sample", "markdown"]))
}

pub(super) fn answer(
    program: &Program,
    arguments: &ArgMatches,
    values: &[Option<Value>],
) -> String {
    if arguments.get_flag("sample") {
        sample(program)
    } else if arguments.get_flag("markdown") {
        markdown(program)
    } else {
        effective(program, values)
    }
}

/// The settings by table with their positions, in the order of their declarations. Keys without a table come
/// first, since in a file they must.
fn by_table(program: &Program) -> Vec<(&str, Vec<(usize, &Setting)>)> {
    let mut tables: Vec<(&str, Vec<(usize, &Setting)>)> = vec![("", Vec::new())];
    for (i, setting) in program.settings.iter().enumerate() {
        let (table, _) = setting.place();
        match tables.iter_mut().find(|(known, _)| *known == table) {
            Some((_, settings)) => settings.push((i, setting)),
            None => tables.push((table, vec![(i, setting)])),
        }
    }
    tables.retain(|(_, settings)| !settings.is_empty());
    tables
}

/// A value as it is written in the file.
fn toml(kind: Kind, text: &str) -> String {
    let quoted = |text: &str| toml::Value::String(messages::without_credentials(text)).to_string();
    match kind {
        Kind::Number | Kind::Bool => text.to_owned(),
        Kind::Text => quoted(text),
        Kind::List => {
            let items: Vec<String> =
                text.split(',').filter(|item| !item.is_empty()).map(quoted).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// The declared default, as text.
fn default(setting: &Setting) -> Option<String> {
    let default = setting.arg.get_default_values().first()?;
    Some(default.to_string_lossy().into_owned())
}

/// A description of the value: its name, its bounds or its possible values.
fn type_of(setting: &Setting) -> String {
    let name = setting.value_name();
    if let Some(bounds) = setting.bounds() {
        return format!("{name}, {}", bounds.range());
    }
    let possible: Vec<String> = setting
        .arg
        .get_possible_values()
        .iter()
        .filter(|_| setting.kind == Kind::Text)
        .map(|value| value.get_name().to_owned())
        .collect();
    match possible.is_empty() {
        true => name.to_owned(),
        false => format!("{name}: {}", possible.join(", ")),
    }
}

/// TOML of every setting, each below its help; an unset one is a comment.
fn effective(program: &Program, values: &[Option<Value>]) -> String {
    let mut out = String::new();
    for (table, settings) in by_table(program) {
        if !table.is_empty() {
            out.push_str(&format!("[{table}]\n\n"));
        }
        for (i, setting) in settings {
            let (_, name) = setting.place();
            out.push_str(&format!("# {} [env: {}]\n", setting.summary(), setting.variable));
            match &values[i] {
                Some(value) => {
                    out.push_str(&format!("{name} = {}\n\n", toml(setting.kind, &value.text)));
                }
                None => out.push_str(&format!("# {name} =\n\n")),
            }
        }
    }
    out
}

/// A settings file with every setting at its default, as a comment.
fn sample(program: &Program) -> String {
    let name = program.name();
    let mut out = format!(
        "# Settings of `{name}`: every key at its default. Remove the `#` of a key to set it.\n\
         # Start with `{name} --config FILE`, or name the file in {}.\n\
         # Flags and environment variables override this file.\n\n",
        program.config_variable()
    );
    for (table, settings) in by_table(program) {
        if !table.is_empty() {
            out.push_str(&format!("[{table}]\n\n"));
        }
        for (_, setting) in settings {
            let (_, name) = setting.place();
            for line in setting.help.lines() {
                out.push_str(&match line {
                    "" => "#\n".to_owned(),
                    line => format!("# {line}\n"),
                });
            }
            out.push_str(&format!("# [{}] [env: {}]\n", type_of(setting), setting.variable));
            match default(setting) {
                Some(value) => {
                    out.push_str(&format!("#{name} = {}\n\n", toml(setting.kind, &value)));
                }
                None => out.push_str(&format!("#{name} =\n\n")),
            }
        }
    }
    out
}

/// A section of docs/config.md.
fn markdown(program: &Program) -> String {
    let name = program.name();
    let mut out = format!(
        "## {name}\n\nThe file is named by `--config FILE` or `{}`; \
         [config/{name}.toml](config/{name}.toml) is a sample.\n\n",
        program.config_variable()
    );
    for (table, settings) in by_table(program) {
        let head = match table {
            "" => "top of the file".to_owned(),
            table => format!("table `[{table}]`"),
        };
        out.push_str(&format!(
            "### {name}: {head}\n\n\
             | key | value | default | environment variable | flag | meaning |\n\
             | --- | --- | --- | --- | --- | --- |\n"
        ));
        for (_, setting) in settings {
            let (meaning, in_words) = meaning(&setting.help);
            let default = match default(setting) {
                Some(value) if in_words.is_empty() => format!("`{}`", toml(setting.kind, &value)),
                _ if in_words.is_empty() => "-".to_owned(),
                _ => in_words,
            };
            let cells = [
                format!("`{}`", setting.place().1),
                type_of(setting),
                default,
                format!("`{}`", setting.variable),
                format!("`--{}`", setting.flag),
                meaning,
            ];
            out.push_str(&format!("| {} |\n", cells.map(|c| c.replace('|', "\\|")).join(" | ")));
        }
        out.push('\n');
    }
    out
}

/// A help text as whole sentences on one line, and the default that it states in words.
fn meaning(help: &str) -> (String, String) {
    const DEFAULT: &str = " [default: ";
    let (help, default) = match help.split_once(DEFAULT) {
        Some((before, rest)) => {
            let (default, after) = rest.split_once(']').unwrap_or((rest, ""));
            (format!("{before}{after}"), default.to_owned())
        }
        None => (help.to_owned(), String::new()),
    };
    let paragraphs = help.split("\n\n").map(|paragraph| {
        let text = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{}.", text.trim_end_matches('.'))
    });
    (paragraphs.collect::<Vec<_>>().join(" "), default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_help_text_becomes_sentences_and_a_default() {
        let of = |help| {
            let (meaning, default) = meaning(help);
            format!("{meaning}|{default}")
        };
        assert_eq!(of("Time limit"), "Time limit.|");
        assert_eq!(
            of("URL [default: none, a\nlocal one]\n\nIt is\nasked."),
            "URL. It is asked.|none, a\nlocal one"
        );
    }
}
