use std::process::ExitCode;
use clap::Args;
#[derive(Debug, Args)]
pub(super) struct ListenArgs;
pub(super) async fn run(_args: ListenArgs) -> ExitCode { ExitCode::SUCCESS }
