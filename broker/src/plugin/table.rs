use jackfield_plugin_api::Manifest;
use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::{Map, Value};

use super::{key, location};
use crate::config::{Config, ConfigError};

/// A plugin's table, checked against the schema that the plugin declares.
pub(super) fn read(config: &Config, service: &str, manifest: &Manifest) -> Result<Value, Vec<ConfigError>> {
    let given = config.services.get(service).and_then(|service| service.plugin_tables.get(&manifest.name));
    let Some(schema) = &manifest.config_schema else {
        return match given {
            None => Ok(Value::Object(Map::new())),
            Some(_) => {
                Err(vec![problem(config, service, manifest, "", "this plugin has no table".to_owned())])
            }
        };
    };
    let table = config.plugin_table(service, &manifest.name, schema);
    let validator = jsonschema::validator_for(schema).map_err(|error| {
        vec![problem(config, service, manifest, "", format!("the plugin's own schema is wrong: {error}"))]
    })?;
    let mut problems: Vec<ConfigError> =
        validator.iter_errors(&table).map(|error| wrong_value(config, service, manifest, &error)).collect();
    problems.extend(unknown_keys(config, service, manifest, schema, &table));
    if problems.is_empty() { Ok(table) } else { Err(problems) }
}

/// Without the value that is wrong: it may be a secret.
fn wrong_value(
    config: &Config,
    service: &str,
    manifest: &Manifest,
    error: &ValidationError<'_>,
) -> ConfigError {
    let path = error.instance_path().to_string();
    let expected = match error.kind() {
        ValidationErrorKind::Required { property } => format!("expected key {property}"),
        _ => format!("expected what the plugin's schema says: {}", error.masked()),
    };
    problem(config, service, manifest, &path, expected)
}

fn unknown_keys(
    config: &Config,
    service: &str,
    manifest: &Manifest,
    schema: &Value,
    table: &Value,
) -> Vec<ConfigError> {
    let (Some(properties), Some(table)) =
        (schema.get("properties").and_then(Value::as_object), table.as_object())
    else {
        return Vec::new();
    };
    if schema.get("additionalProperties").is_some() {
        return Vec::new();
    }
    let unknown = table.keys().filter(|key| !properties.contains_key(*key));
    unknown
        .map(|key| {
            let problem = problem(config, service, manifest, &format!("/{key}"), "unknown key".to_owned());
            problem.with_nearest(key, properties.keys().map(String::as_str))
        })
        .collect()
}

/// A problem at a JSON pointer into the table.
fn problem(
    config: &Config,
    service: &str,
    manifest: &Manifest,
    pointer: &str,
    message: String,
) -> ConfigError {
    let path = format!("plugin.{}{}", manifest.name, pointer.replace('/', "."));
    ConfigError::new(location(config, service, &path), key(service, &path), message)
}
