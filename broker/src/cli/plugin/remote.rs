//! `jackfield plugin load`, `unload` and `reload`: the commands `core plugin` of a running broker.

use std::{fmt, process::ExitCode};

use clap::Args;
use jackfield_client::{Client, Error, Reconnect};
use jackfield_plugin_api::PluginInfo;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

use super::super::{
    call::describe,
    connect::{ConnectArgs, Failure, exit_code},
    output::answer,
};
use crate::config::PluginRef;

/// Loads a plugin.
#[derive(Debug, Args)]
pub(super) struct LoadArgs {
    /// A plugin that is built in, or the path of a library on the broker's machine
    #[arg(value_name = "NAME|PATH")]
    plugin: String,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Unloads a plugin.
#[derive(Debug, Args)]
pub(super) struct UnloadArgs {
    /// The plugin
    name: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Loads a plugin anew.
#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    /// The plugin
    name: String,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, Args)]
struct TableArgs {
    /// The plugin's table as a JSON object, or @FILE for a file that holds it
    #[arg(long, value_name = "JSON|@FILE")]
    plugin_config: Option<TableText>,
}

/// A table as it was typed. It may hold secrets, so it is neither printed nor quoted.
#[derive(Clone)]
struct TableText(String);

impl From<String> for TableText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for TableText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

pub(super) async fn load(args: LoadArgs) -> ExitCode {
    let named = reference(&args.plugin);
    finish(change(&args.connect, "load", named, &args.table).await, "loaded")
}

pub(super) async fn reload(args: ReloadArgs) -> ExitCode {
    let named = Ok(("name", args.name));
    finish(change(&args.connect, "reload", named, &args.table).await, "loaded anew")
}

pub(super) async fn unload(args: UnloadArgs) -> ExitCode {
    let data = Map::from_iter([("name".to_owned(), Value::from(args.name.as_str()))]);
    match ask::<IgnoredAny>(&args.connect, "unload", &data).await {
        Ok(IgnoredAny) => answer(format_args!("{} is unloaded", args.name)),
        Err(failure) => exit_code(Err(failure)),
    }
}

fn finish(outcome: Result<PluginInfo, Failure>, what: &str) -> ExitCode {
    match outcome {
        Ok(PluginInfo { name, version, .. }) => answer(format_args!("{name} {version} is {what}")),
        Err(failure) => exit_code(Err(failure)),
    }
}

/// The field that names the plugin. The broker has a working directory of its own, so it gets a whole path.
fn reference(plugin: &str) -> Result<(&'static str, String), Failure> {
    if !PluginRef::is_path(plugin) {
        return Ok(("name", plugin.to_owned()));
    }
    let path = std::path::absolute(plugin)
        .map_err(|error| Failure::usage(format!("{plugin}: expected a path: {error}")))?;
    let path = path.into_os_string().into_string();
    Ok(("path", path.map_err(|_| Failure::usage("the library's path is no UTF-8"))?))
}

async fn change(
    connect: &ConnectArgs,
    cmd: &str,
    named: Result<(&'static str, String), Failure>,
    table: &TableArgs,
) -> Result<PluginInfo, Failure> {
    let (field, text) = named?;
    let mut data = Map::from_iter([(field.to_owned(), Value::String(text))]);
    if let Some(table) = &table.plugin_config {
        data.insert("config".to_owned(), Value::Object(table.read()?));
    }
    ask(connect, cmd, &data).await
}

/// Asks a running broker `core plugin CMD`.
pub(super) async fn ask<T: DeserializeOwned>(
    connect: &ConnectArgs,
    cmd: &str,
    data: &Map<String, Value>,
) -> Result<T, Failure> {
    let client = Client::connect(connect.options()?.reconnect(Reconnect::Never)).await?;
    let data = serde_json::value::to_raw_value(data).map_err(|error| Failure::run_time(error.to_string()))?;
    let asked = client.request("core", "plugin", cmd, Some(data)).await;
    client.close().await;
    let reply = asked.map_err(|error| match error {
        Error::Answer(error) => Failure::answer(describe(&error)),
        other => other.into(),
    })?;
    serde_json::from_str(reply.get())
        .map_err(|error| Failure::run_time(format!("the broker's answer is odd: {error}")))
}

impl TableText {
    fn read(&self) -> Result<Map<String, Value>, Failure> {
        let text = match self.0.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|error| Failure::usage(format!("--plugin-config {file}: {error}")))?,
            None => self.0.clone(),
        };
        // Only the place of the mistake: serde_json's text may quote a value.
        serde_json::from_str(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Failure::usage(format!(
                "--plugin-config: expected a JSON object (mistake in line {line}, column {column})"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_whole() {
        assert_eq!(reference("gelf").unwrap(), ("name", "gelf".to_owned()));
        for path in ["./libx.so", "libx.so", "../x/y"] {
            let (field, text) = reference(path).unwrap();
            assert!(field == "path" && text.starts_with('/'), "{field} {text}");
        }
    }

    #[test]
    fn a_table_is_not_quoted() {
        let table = TableText("{\"token\": \"t0k3n".into());
        assert!(!format!("{table:?} {:?}", table.read().unwrap_err()).contains("t0k3n"));
        assert!(TableText("[1]".into()).read().is_err());
        assert_eq!(TableText("{\"a\": 1}".into()).read().unwrap()["a"], 1);
    }
}
