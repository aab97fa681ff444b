//! `jackfield commands`.

use std::process::ExitCode;

use clap::Args;
use jackfield_plugin_api::CommandInfo;
use serde_json::Value;

use super::output::{answer, config_errors, fail, start_error};
use super::sources::SourceArgs;
use crate::broker;

#[derive(Debug, Args)]
pub(super) struct CommandsArgs {
    #[command(flatten)]
    sources: SourceArgs,
    /// Print everything, schemas included, as one JSON array
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CommandsArgs) -> ExitCode {
    let config = match args.sources.load() {
        Ok(config) => config,
        Err(errors) => return config_errors(&errors),
    };
    match broker::commands(&config) {
        Ok(commands) if args.json => serde_json::to_string(&commands).map_or_else(fail, answer),
        Ok(commands) => answer(rendered(&commands)),
        Err(error) => start_error(&error),
    }
}

fn rendered(commands: &[CommandInfo]) -> String {
    commands.iter().map(paragraph).collect::<Vec<_>>().join("\n")
}

/// Name and provider, description, and the data it takes, one line each.
pub(super) fn paragraph(command: &CommandInfo) -> String {
    let CommandInfo { class, subclass, cmd, plugin, description, .. } = command;
    let aliases: String = command.aliases.iter().map(|alias| format!(", {alias}")).collect();
    let mut text = format!("{class}/{subclass}/{cmd}{aliases}  ({plugin})");
    let data = data(&command.data_schema);
    for line in [description, &data].into_iter().filter(|line| !line.is_empty()) {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

/// The fields of a command's data on one line: `user: string, body?: object = {}`. Empty where it takes none.
fn data(schema: &Value) -> String {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return String::new() };
    let required: Vec<&str> = strings(schema.get("required"));
    let fields = properties.iter().map(|(name, field)| {
        let mark = if required.contains(&name.as_str()) { "" } else { "?" };
        let default = field.get("default").filter(|default| !default.is_null());
        let default = default.map(|default| format!(" = {default}")).unwrap_or_default();
        format!("{name}{mark}: {}{default}", kind(schema, field))
    });
    let fields: Vec<String> = fields.collect();
    if fields.is_empty() { String::new() } else { format!("data: {}", fields.join(", ")) }
}

/// What kind of value fits: its types without null, its choices, or `any`.
fn kind(root: &Value, schema: &Value) -> String {
    let kinds: Vec<String> = kinds(root, schema).into_iter().filter(|kind| kind != "null").collect();
    if kinds.is_empty() { "any".to_owned() } else { kinds.join(" | ") }
}

fn kinds(root: &Value, schema: &Value) -> Vec<String> {
    let reference = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
    if let Some(target) = reference.and_then(|pointer| root.pointer(pointer)) {
        return kinds(root, target);
    }
    let list = |key| schema.get(key).and_then(Value::as_array);
    if let Some(choices) = list("enum") {
        return choices.iter().map(Value::to_string).collect();
    }
    if let Some(parts) = list("anyOf").or_else(|| list("oneOf")) {
        return parts.iter().flat_map(|part| kinds(root, part)).collect();
    }
    match schema.get("const") {
        Some(constant) => vec![constant.to_string()],
        None => strings(schema.get("type")).into_iter().map(str::to_owned).collect(),
    }
}

/// A string, or those of a list.
fn strings(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn command(data_schema: Value) -> CommandInfo {
        CommandInfo {
            class: "core".to_owned(),
            subclass: "user".to_owned(),
            cmd: "login".to_owned(),
            aliases: Vec::new(),
            description: "Logs in.".to_owned(),
            plugin: "core".to_owned(),
            permission: "command:core/user/login".to_owned(),
            data_schema,
            reply_schema: Value::Null,
        }
    }

    #[test]
    fn a_command_shows_the_data_it_takes() {
        let schema = json!({
            "properties": {
                "events": {"$ref": "#/$defs/Events", "default": "ack"},
                "level": {"type": ["integer", "null"], "default": null},
                "meta": {"anyOf": [{"type": "object"}, {"type": "null"}]},
                "user": {"type": "string"},
                "what": true,
            },
            "required": ["user"],
            "$defs": {"Events": {"oneOf": [{"const": "ack"}, {"enum": ["push"]}]}},
        });
        let expected = "core/user/login, signin  (core)\n    Logs in.\n    data: \
            events?: \"ack\" | \"push\" = \"ack\", level?: integer, meta?: object, user: string, what?: any";
        let command = CommandInfo { aliases: vec!["signin".to_owned()], ..command(schema) };
        assert_eq!(paragraph(&command), expected);
    }

    #[test]
    fn a_command_without_data_has_two_lines() {
        assert_eq!(rendered(&[command(json!({"type": "object"}))]), "core/user/login  (core)\n    Logs in.");
        assert_eq!(rendered(&[]), "");
    }
}
