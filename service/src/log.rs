//! Logs on standard error: text for people or JSON lines for a collector.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::error::Error;
use crate::settings::{Common, LogFormat};

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
/// Libraries whose events these programs can show, besides their own `rollmill_…`.
const LIBRARIES: &[&str] =
    &["alloy", "axum", "hyper", "redb", "reqwest", "rustls", "sqlx", "tokio", "wgpu", "naga"];

/// Rejects a filter that would match nothing because a word in it is misspelt.
pub(crate) fn check_level(text: &str) -> Result<String, String> {
    let expected = "expected off, error, warn, info, debug or trace, or a filter such as \
                    info,rollmill_broker=debug";
    // The caller shows the whole value, so only a part of it is named here.
    let part = |part: &str, what: &str| match part == text {
        true => expected.to_owned(),
        false => format!("`{part}` is not {what}; {expected}"),
    };
    for directive in text.split(',').map(str::trim) {
        let (target, level) = directive.split_once('=').unwrap_or(("", directive));
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(part(level, "a log level"));
        }
        let name = target.split("::").next().unwrap_or_default();
        let known = LIBRARIES.iter().any(|l| name == *l || name.starts_with(&format!("{l}_")));
        if directive.contains('=') && !name.starts_with("rollmill_") && !known {
            return Err(part(target, "a log target of this program"));
        }
    }
    Ok(text.to_owned())
}

pub(crate) fn start(common: &Common) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&common.log_level).map_err(|error| Error::Setting {
        message: format!("invalid value for --log-level: {error}"),
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match common.log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Human => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    if started.is_err() {
        // A program that runs several services in one process keeps the first one's logs.
        tracing::debug!("logs were already started");
    }
    Ok(())
}

/// The requested format, as far as it is known before the settings are read: from the flag or the
/// variable.
pub(crate) fn asked_for_json(name: &str) -> LogFormat {
    let variable = format!("ROLLMILL_{}_LOG_FORMAT", name.to_uppercase().replace('-', "_"));
    let arguments: Vec<_> = std::env::args_os().collect();
    let flag = arguments.windows(2).any(|pair| pair[0] == "--log-format" && pair[1] == "json")
        || arguments.iter().any(|argument| argument == "--log-format=json");
    let asked = flag || std::env::var_os(variable).is_some_and(|value| value == "json");
    if asked { LogFormat::Json } else { LogFormat::Human }
}

/// The last line of a failed process, in the form of its JSON logs.
pub(crate) fn failure_line(error: &str) -> String {
    let mut timestamp = String::new();
    // Writing into a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    serde_json::json!({
        "timestamp": timestamp, "level": "ERROR", "message": "process failed", "error": error,
    })
    .to_string()
}
