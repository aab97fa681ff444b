//! `jackfield check`.

use std::process::ExitCode;

use clap::Args;

use super::output::{answer, config_errors, start_error, warn};
use super::sources::SourceArgs;
use crate::broker;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    sources: SourceArgs,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let config = match args.sources.load() {
        Ok(config) => config,
        Err(errors) => return config_errors(&errors),
    };
    match broker::check(&config) {
        Ok(warnings) => {
            warnings.iter().for_each(warn);
            answer("The configuration is valid.")
        }
        Err(error) => start_error(&error),
    }
}
