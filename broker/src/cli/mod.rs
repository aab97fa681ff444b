//! The command line.
//!
//! stdout carries answers, stderr the log and errors. Exit status: 0 done, 1 failed at run time, 2 wrong usage or
//! configuration.

mod bench;
mod call;
mod check;
mod commands;
mod completions;
mod connect;
mod hash_password;
mod listen;
mod output;
mod plugin;
mod ready_file;
mod run;
mod sources;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::fail;

/// A message broker that plugins extend.
#[derive(Debug, Parser)]
#[command(name = "jackfield", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker.
    ///
    /// SIGTERM or SIGINT stops it: requests under way finish within timeouts.drain (10 s); a second signal exits at
    /// once, with status 1. SIGHUP reloads the configuration; a bad one changes nothing.
    Run(run::RunArgs),
    /// Check the configuration, and the plugins' tables, without starting anything.
    Check(check::CheckArgs),
    /// List every command: who provides it, and what data it takes.
    Commands(commands::CommandsArgs),
    /// What there is to know about plugins.
    Plugin(plugin::PluginArgs),
    /// Send one request, and print the answer's data.
    Call(call::CallArgs),
    /// Print events as they come, until stopped.
    Listen(listen::ListenArgs),
    /// Drive load at a running broker, verify what comes back, and measure.
    Bench(bench::BenchArgs),
    /// Hash a password for auth-static; it is read from stdin, or asked for on a terminal.
    HashPassword,
    /// Print the completions for a shell.
    Completions(completions::CompletionsArgs),
}

/// Runs the `jackfield` command line of this process. A binary of its own that links further plugins calls it as well.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report_usage(&error),
    };
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Commands(args) => commands::run(&args),
        Command::Plugin(args) => plugin::run(args),
        Command::Call(args) => block_on(call::run(args)),
        Command::Listen(args) => block_on(listen::run(args)),
        Command::Bench(args) => bench::run(&args),
        Command::HashPassword => hash_password::run(),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Help and version go to stdout and are no failure.
fn report_usage(error: &clap::Error) -> ExitCode {
    // A closed stdout or stderr leaves nobody to tell.
    drop(error.print());
    if error.use_stderr() { ExitCode::from(output::USAGE) } else { ExitCode::SUCCESS }
}

/// Runs a client command.
fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => fail(format_args!("cannot start the runtime: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
