use jackfield_plugin_api::{Error, Manifest};
use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::{Map, Value, json};

use super::{key, location};
use crate::config::{Config, ConfigError};

/// What is wrong with a plugin's table. It quotes no value, which may be a secret.
pub(super) struct Mistake {
    /// Where: a JSON pointer into the table.
    pointer: String,
    message: String,
    /// What was found and what there is to choose from, where that helps.
    choices: Option<(String, Vec<String>)>,
}

/// A plugin's table of the configuration file, checked against the schema that the plugin declares.
pub(super) fn read(config: &Config, service: &str, manifest: &Manifest) -> Result<Value, Vec<ConfigError>> {
    let located = |mistakes: Vec<Mistake>| {
        mistakes.into_iter().map(|mistake| mistake.located(config, service, manifest)).collect()
    };
    check(manifest, from_file(config, service, manifest)).map_err(located)
}

/// What the configuration file gives a plugin, unchecked.
pub(super) fn from_file(config: &Config, service: &str, manifest: &Manifest) -> Option<Value> {
    config.services.get(service)?.plugin_tables.get(&manifest.name)?;
    let anything = Value::Bool(true);
    Some(config.plugin_table(service, &manifest.name, manifest.config_schema.as_ref().unwrap_or(&anything)))
}

/// Checks the table that a plugin is given, if any.
pub(super) fn check(manifest: &Manifest, given: Option<Value>) -> Result<Value, Vec<Mistake>> {
    let Some(schema) = &manifest.config_schema else {
        let is_empty = given.is_none_or(|table| table == json!({}));
        let none = Mistake::new("", "this plugin has no table");
        return if is_empty { Ok(Value::Object(Map::new())) } else { Err(vec![none]) };
    };
    let table = given.unwrap_or_else(|| Value::Object(Map::new()));
    let validator = jsonschema::validator_for(schema)
        .map_err(|error| vec![Mistake::new("", format!("the plugin's own schema is wrong: {error}"))])?;
    let mut mistakes: Vec<Mistake> = validator.iter_errors(&table).map(|error| wrong_value(&error)).collect();
    mistakes.extend(unknown_keys(schema, &table));
    if mistakes.is_empty() { Ok(table) } else { Err(mistakes) }
}

/// What a client is told of a table that it sent.
pub(super) fn refusal(mistakes: &[Mistake]) -> Error {
    let texts: Vec<String> = mistakes.iter().map(Mistake::told).collect();
    let first = texts.first().map(String::as_str).unwrap_or_default();
    let error = Error::invalid_value(first);
    if texts.len() > 1 { error.with_details(json!({ "problems": texts })) } else { error }
}

fn wrong_value(error: &ValidationError<'_>) -> Mistake {
    let expected = match error.kind() {
        ValidationErrorKind::Required { property } => format!("expected key {property}"),
        _ => format!("expected what the plugin's schema says: {}", error.masked()),
    };
    Mistake::new(error.instance_path().to_string(), expected)
}

fn unknown_keys(schema: &Value, table: &Value) -> Vec<Mistake> {
    let (Some(properties), Some(table)) =
        (schema.get("properties").and_then(Value::as_object), table.as_object())
    else {
        return Vec::new();
    };
    if schema.get("additionalProperties").is_some() {
        return Vec::new();
    }
    let unknown = table.keys().filter(|key| !properties.contains_key(*key));
    let valid: Vec<String> = properties.keys().cloned().collect();
    unknown
        .map(|key| Mistake {
            choices: Some((key.clone(), valid.clone())),
            ..Mistake::new(format!("/{key}"), "unknown key")
        })
        .collect()
}

impl Mistake {
    fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into(), choices: None }
    }

    fn dotted(&self) -> String {
        self.pointer.replace('/', ".")
    }

    fn told(&self) -> String {
        format!("config{}: {}", self.dotted(), self.message)
    }

    fn located(self, config: &Config, service: &str, manifest: &Manifest) -> ConfigError {
        let path = format!("plugin.{}{}", manifest.name, self.dotted());
        let error = ConfigError::new(location(config, service, &path), key(service, &path), self.message);
        match &self.choices {
            Some((found, valid)) => error.with_nearest(found, valid.iter().map(String::as_str)),
            None => error,
        }
    }
}
