//! `jackfield bench`: load for a running broker, verified and measured.
//!
//! Each connection is a task (`drive`) with a [`Work`](drive::Work): an `Asker` sends, a `Responder` takes what comes.
//! `scenario` puts them together, `run` leads them through the phases, `report` says what came of it.

mod asker;
mod clock;
mod connection;
mod drive;
mod framing;
mod order;
mod pace;
mod payload;
mod progress;
mod report;
mod responder;
mod run;
mod scenario;
mod site;
mod tally;
mod usage;
mod verdict;
mod wire;

use std::{io::Write, process::ExitCode};

use clap::Args;

use self::{report::Report, scenario::Scenario};
use super::{
    connect::{Failure, exit_code, written},
    output::fail,
    run::raise_file_limit,
};

/// Drives load at a running broker, verifies what comes back, and measures.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    scenario: Scenario,
}

/// Runs the command: exit status 0 when all went well, 1 when the broker could not be reached or anything was lost,
/// wrong or refused, 2 for wrong usage.
pub(crate) fn run(args: &BenchArgs) -> ExitCode {
    raise_file_limit();
    let threads = args.scenario.common().threads();
    match tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
        Ok(runtime) => exit_code(runtime.block_on(bench(&args.scenario))),
        Err(error) => fail(format_args!("cannot start the runtime: {error}")),
    }
}

async fn bench(scenario: &Scenario) -> Result<(), Failure> {
    scenario.check()?;
    let report = run::run(scenario).await?;
    written(print(&report, scenario.common().json))?;
    match report.complaint() {
        None => Ok(()),
        Some(complaint) => Err(Failure::run_time(complaint)),
    }
}

fn print(report: &Report, json: bool) -> std::io::Result<()> {
    let text = if json { serde_json::to_string(report)? } else { report.table() };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}
