//! Answers on stdout, errors on stderr, and the exit status that goes with them.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use crate::broker::StartError;
use crate::config::ConfigErrors;
use crate::telemetry::logging::colours_on_stderr;

/// The exit status of wrong usage or configuration.
pub(super) const USAGE: u8 = 2;

/// Prints an answer. A reader that went away is no failure.
pub(super) fn answer(text: impl Display) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            fail(format_args!("cannot write to stdout: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Reports a failure at run time.
pub(super) fn fail(text: impl Display) -> ExitCode {
    labelled("error", "31", &text);
    ExitCode::FAILURE
}

/// Reports wrong usage.
pub(super) fn usage_error(text: impl Display) -> ExitCode {
    labelled("error", "31", &text);
    ExitCode::from(USAGE)
}

/// Reports all that is wrong with a configuration.
pub(super) fn config_errors(errors: &ConfigErrors) -> ExitCode {
    for error in errors {
        labelled("error", "31", error);
    }
    ExitCode::from(USAGE)
}

/// Reports why the broker did not start.
pub(super) fn start_error(error: &StartError) -> ExitCode {
    match error {
        StartError::Config(_) => usage_error(error),
        StartError::Runtime(_) => fail(error),
    }
}

/// Prints what is odd but no failure.
pub(super) fn warn(text: impl Display) {
    labelled("warning", "33", &text);
}

/// One message on stderr; its label has a colour on a terminal.
fn labelled(label: &str, colour: &str, text: &dyn Display) {
    let mut stderr = io::stderr().lock();
    let written = if colours_on_stderr() {
        writeln!(stderr, "\x1b[1;{colour}m{label}\x1b[0m: {text}")
    } else {
        writeln!(stderr, "{label}: {text}")
    };
    // A closed stderr leaves nobody to tell.
    drop(written);
}
