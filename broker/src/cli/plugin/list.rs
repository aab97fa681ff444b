//! `jackfield plugin list`.

use std::process::ExitCode;

use clap::Args;
use jackfield_plugin_api::PluginInfo;

use super::{
    super::{
        block_on,
        connect::{ConnectArgs, exit_code},
        output::answer,
    },
    remote,
};
use crate::broker;

/// Lists plugins: without --url, --user or another option of a connection those that this binary has built in, each with
/// name, version and description; with one those that a running broker has loaded, each also with its kind (builtin,
/// library, session) and its state.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) fn run(args: ListArgs) -> ExitCode {
    if !args.connect.asks_for_broker() {
        let builtin = broker::builtin_plugins();
        let rows = builtin.into_iter().map(|plugin| [plugin.name, plugin.version, plugin.description]);
        return answer(columns(&rows.collect::<Vec<_>>()));
    }
    block_on(async move {
        match remote::ask::<Vec<PluginInfo>>(&args.connect, "list", &serde_json::Map::new()).await {
            Ok(plugins) => {
                let row = |plugin: PluginInfo| {
                    [plugin.name, plugin.version, plugin.kind, plugin.state, plugin.description]
                };
                answer(columns(&plugins.into_iter().map(row).collect::<Vec<_>>()))
            }
            Err(failure) => exit_code(Err(failure)),
        }
    })
}

/// One line a row, its texts in columns.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = text.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(text, width)| format!("{text:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_stand_in_columns() {
        let rows = [["core", "0.1.0", "The core commands."], ["auth-open", "0.1.0", ""]];
        let shown = columns(&rows.map(|row| row.map(String::from)));
        assert_eq!(shown, "core       0.1.0  The core commands.\nauth-open  0.1.0");
    }
}
