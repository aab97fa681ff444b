//! The broker's log: on stderr, as text or JSON, filtered by `RUST_LOG`.

use std::env;
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};

use parking_lot::Mutex;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::forward::Forward;

/// How many lines may wait for stderr; the broker never waits for whoever reads its log. Each has its place in memory from
/// the start.
const MOST_LINES: usize = 4 << 10;

/// The thread that writes to stderr, and what it could not.
static WRITER: Mutex<Option<(WorkerGuard, ErrorCounter)>> = Mutex::new(None);

/// What is logged where `RUST_LOG` says nothing.
const DEFAULT_FILTER: &str = "info";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `RUST_LOG` is no filter.
    #[error("RUST_LOG: expected a filter such as \"info\" or \"jackfield=debug,info\": {0}")]
    Filter(String),
    /// The process has a log already.
    #[error("the log is set up already: {0}")]
    Twice(#[from] TryInitError),
}

/// Sends the process's log to stderr.
///
/// # Errors
/// When `RUST_LOG` is no filter, or the log was set up before.
pub fn init(format: LogFormat) -> Result<(), LoggingError> {
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MOST_LINES).finish(io::stderr());
    *WRITER.lock() = Some((guard, writer.error_counter()));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(env::var_os("RUST_LOG").as_deref())?)
        .with_writer(writer)
        .with_ansi(colours_on_stderr());
    match format {
        LogFormat::Text => subscriber.finish().with(Forward).try_init()?,
        LogFormat::Json => subscriber.json().flatten_event(true).finish().with(Forward).try_init()?,
    }
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic is a line of the log, as everything else: whoever reads JSON from stderr gets nothing but JSON.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let message = panic.payload_as_str().unwrap_or("?");
    tracing::error!(location, panic = message, "panicked");
}

/// Writes out what is left of the log, as long as stderr takes it: a second at most.
pub fn finish() {
    drop(WRITER.lock().take());
}

/// How many lines were dropped because stderr did not take them in time.
#[must_use]
pub fn dropped_lines() -> usize {
    WRITER.lock().as_ref().map_or(0, |(_, dropped)| dropped.dropped_lines())
}

/// Whether stderr takes colours: on a terminal, and `NO_COLOR` is not set.
#[must_use]
pub fn colours_on_stderr() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn filter(rust_log: Option<&std::ffi::OsStr>) -> Result<EnvFilter, LoggingError> {
    let Some(text) = rust_log.filter(|text| !text.is_empty()) else {
        return Ok(EnvFilter::new(DEFAULT_FILTER));
    };
    let text = text.to_str().ok_or_else(|| LoggingError::Filter("not UTF-8".to_owned()))?;
    EnvFilter::try_new(text).map_err(|error| LoggingError::Filter(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_bad_filter_is_an_error() {
        let shown = |text: &str| filter(Some(OsStr::new(text))).map(|filter| filter.to_string());
        assert_eq!(filter(None).unwrap().to_string(), "info");
        assert_eq!(shown("").unwrap(), "info");
        assert_eq!(shown("warn").unwrap(), "warn");
        let error = shown("jackfield=loud").unwrap_err().to_string();
        assert!(error.starts_with("RUST_LOG: expected a filter"), "{error}");
    }
}
