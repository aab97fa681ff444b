use std::process::ExitCode;
use clap::Args;
#[derive(Debug, Args)]
pub(super) struct CallArgs;
pub(super) async fn run(_args: CallArgs) -> ExitCode { ExitCode::SUCCESS }
