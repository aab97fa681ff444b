//! `jackfield plugin check`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::super::{
    commands::paragraph,
    output::{answer, config_errors, fail},
};
use crate::{
    broker::{self, Inspection, StartError},
    config::{Config, Sources},
};

/// Says whether a library would load.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The library
    path: PathBuf,
    /// A configuration file: the plugin gets its table there, and `library_sha256` counts
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let config = match &args.config {
        None => Config::default(),
        Some(file) => match Config::load(&Sources { file: Some(file.clone()), ..Sources::default() }) {
            Ok(config) => config,
            Err(errors) => return config_errors(&errors),
        },
    };
    match broker::inspect(&args.path, &config) {
        Ok(inspection) => answer(rendered(&inspection)),
        Err(StartError::Config(problems)) => {
            for problem in &problems {
                fail(problem);
            }
            ExitCode::FAILURE
        }
        Err(error) => fail(error),
    }
}

/// What it is, a line each, then its commands.
fn rendered(inspection: &Inspection) -> String {
    let Inspection { plugin, commands, toolchain, abi: (major, minor), sha256, config_schema } = inspection;
    let mut lines = vec![
        format!("{} {}: would load", plugin.name, plugin.version),
        format!("toolchain: {toolchain}"),
        format!("ABI: {major}.{minor}"),
        format!("SHA-256: {sha256}"),
    ];
    let mut add = |label: &str, text: String| {
        if !text.is_empty() {
            lines.push(format!("{label}: {text}"));
        }
    };
    add("description", plugin.description.clone());
    add("depends on", plugin.depends.join(", "));
    add("table", config_schema.as_ref().map(ToString::to_string).unwrap_or_default());
    let counts = [
        ("authenticators", plugin.authenticators),
        ("authorizers", plugin.authorizers),
        ("event filters", plugin.event_filters),
        ("session observers", plugin.session_observers),
        ("log sinks", plugin.log_sinks),
        ("sinks of the broker's log", plugin.broker_log_sinks),
        ("services", plugin.services),
        ("commands", plugin.commands.len()),
    ];
    for (label, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        add(label, count.to_string());
    }
    lines.extend(commands.iter().map(paragraph));
    lines.join("\n")
}
