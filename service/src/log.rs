//! Logs, on standard error: for a person or, as JSON lines, for a collector.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Common, LogFormat};
use crate::error::Error;

pub(crate) fn start(common: &Common) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&common.log_level).map_err(|error| Error::Setting {
        origin: "service.log_level".into(),
        message: format!(
            "{error}; use error, warn, info, debug, trace or a filter like broker=debug"
        ),
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
