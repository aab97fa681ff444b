//! `jackfield plugin`: what there is to know about plugins, and what can be done with them.

mod check;
mod list;
mod new;
mod remote;

use std::process::ExitCode;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(super) struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// List the plugins that are built in, or, with --url, those of a running broker.
    List(list::ListArgs),
    /// Say whether a library would load, or why not, and what it registers. None of its handlers runs.
    Check(check::CheckArgs),
    /// Write the skeleton of a new plugin.
    New(new::NewArgs),
    /// Load a plugin into a running broker; for administrators.
    Load(remote::LoadArgs),
    /// Unload a plugin of a running broker; for administrators.
    Unload(remote::UnloadArgs),
    /// Load a plugin of a running broker anew, without a request failing; for administrators.
    Reload(remote::ReloadArgs),
}

pub(super) fn run(args: PluginArgs) -> ExitCode {
    match args.command {
        PluginCommand::List(args) => list::run(args),
        PluginCommand::Check(args) => check::run(&args),
        PluginCommand::New(args) => new::run(&args),
        PluginCommand::Load(args) => super::block_on(remote::load(args)),
        PluginCommand::Unload(args) => super::block_on(remote::unload(args)),
        PluginCommand::Reload(args) => super::block_on(remote::reload(args)),
    }
}
