//! `jackfield plugin list`.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output::answer;
use crate::broker::{self, PluginSummary};

#[derive(Debug, Args)]
pub(super) struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// List the plugins that are built in.
    List,
}

pub(super) fn run(args: &PluginArgs) -> ExitCode {
    match args.command {
        PluginCommand::List => answer(rendered(&broker::builtin_plugins())),
    }
}

/// One line a plugin: name, version, description, in columns.
fn rendered(plugins: &[PluginSummary]) -> String {
    let width = |text: fn(&PluginSummary) -> usize| plugins.iter().map(text).max().unwrap_or_default();
    let name_width = width(|plugin| plugin.name.chars().count());
    let version_width = width(|plugin| plugin.version.chars().count());
    let line = |plugin: &PluginSummary| {
        let PluginSummary { name, version, description } = plugin;
        format!("{name:name_width$}  {version:version_width$}  {description}").trim_end().to_owned()
    };
    plugins.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_stand_in_columns() {
        let plugin = |name: &str, description: &str| PluginSummary {
            name: name.into(),
            version: "0.1.0".into(),
            description: description.into(),
        };
        let shown = rendered(&[plugin("core", "The core commands."), plugin("auth-open", "")]);
        assert_eq!(shown, "core       0.1.0  The core commands.\nauth-open  0.1.0");
    }
}
