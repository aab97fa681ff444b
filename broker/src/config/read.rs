//! Reads nodes into types, and gathers what is wrong on the way.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use jackfield_plugin_api::Permission;
use secrecy::SecretString;

use super::duration::parse_duration;
use super::error::ConfigError;
use super::excerpt::{MASK, names_secret};
use super::service::{PluginRef, PluginTables};
use super::tree::{Node, Value};

/// Where reading stands, and the problems found so far.
#[derive(Default)]
pub(super) struct Reader {
    path: String,
    problems: Vec<ConfigError>,
}

impl Reader {
    /// The problems found.
    pub(super) fn into_problems(self) -> Vec<ConfigError> {
        self.problems
    }

    /// Reads something below `key`.
    pub(super) fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.below(&format!("{dot}{}", written_key(key)), read)
    }

    /// Reports a problem with the node's value.
    pub(super) fn problem(&mut self, node: &Node, message: impl Into<String>) {
        self.report(ConfigError::new(Some(node.at.clone()), self.path.clone(), message));
    }

    /// Reports a key that the table does not have.
    pub(super) fn unknown_key(&mut self, node: &Node, found: &str, known: &[&str]) {
        let message = format!("unknown key, expected one of {}", known.join(", "));
        let problem = ConfigError::new(Some(node.key.clone()), self.path.clone(), message);
        self.report(problem.with_nearest(found, known.iter().copied()));
    }

    /// The node as a table; reports another kind of value.
    pub(super) fn table(&mut self, node: &Node) -> Option<BTreeMap<String, Node>> {
        match node.interpreted().into_owned().value {
            Value::Table(table) => Some(table),
            _ => self.wrong_kind(node, "a table"),
        }
    }

    /// Reports a problem with a place and key of its own.
    pub(super) fn report(&mut self, problem: ConfigError) {
        self.problems.push(problem);
    }

    fn below<T>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(step);
        let value = read(self);
        self.path.truncate(length);
        value
    }

    /// Reports a value of the wrong kind.
    fn wrong_kind<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        let found = node.interpreted().value.kind();
        self.problem(node, format!("expected {expected}, found {found}"));
        None
    }

    /// Reports a text that does not fit, and shows it where it is no secret.
    fn bad_text<T>(&mut self, node: &Node, text: &str, expected: impl Display) -> Option<T> {
        let shown = if names_secret(&self.path) || text.contains('@') { MASK } else { text };
        let quoted = matches!(node.value, Value::Written(_)) && text.starts_with(['"', '\'']);
        let hint = if quoted { " (taken as written: leave the quotes out)" } else { "" };
        self.problem(node, format!("{expected}, found `{}`{hint}", shown.escape_debug()));
        None
    }
}

/// A key as TOML writes it: quoted where it is not bare.
pub(super) fn written_key(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(bare) { key.to_owned() } else { format!("{key:?}") }
}

/// A string, not empty.
pub(super) fn string(node: &Node, reader: &mut Reader) -> Option<String> {
    let text = text(node, reader)?;
    if text.is_empty() {
        reader.problem(node, "expected a string that is not empty");
        return None;
    }
    Some(text.to_owned())
}

fn text<'a>(node: &'a Node, reader: &mut Reader) -> Option<&'a str> {
    match &node.value {
        Value::Text(text) | Value::Written(text) => Some(text),
        _ => reader.wrong_kind(node, "a string"),
    }
}

/// A string that cannot be printed.
pub(super) fn secret(node: &Node, reader: &mut Reader) -> Option<SecretString> {
    string(node, reader).map(SecretString::from)
}

/// True or false.
pub(super) fn flag(node: &Node, reader: &mut Reader) -> Option<bool> {
    match node.interpreted().value {
        Value::Boolean(flag) => Some(flag),
        _ => reader.wrong_kind(node, "true or false"),
    }
}

/// An integer within a range.
pub(super) fn count<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&Node, &mut Reader) -> Option<T> {
    move |node, reader| {
        let Value::Integer(found) = node.interpreted().value else {
            return reader.wrong_kind(node, "an integer");
        };
        let fitting = u64::try_from(found).ok().filter(|found| range.contains(found));
        let value = fitting.and_then(|found| T::try_from(found).ok());
        if value.is_none() {
            let (low, high) = (range.start(), range.end());
            reader.problem(node, format!("expected an integer from {low} to {high}, found {found}"));
        }
        value
    }
}

/// A duration with its unit.
pub(super) fn duration(node: &Node, reader: &mut Reader) -> Option<Duration> {
    if let Value::Integer(_) | Value::Float(_) = node.value {
        return reader.wrong_kind(node, "a number with a unit in quotes, such as \"5s\"");
    }
    let text = text(node, reader)?;
    parse_duration(text).or_else(|error| reader.bad_text(node, text, error).ok_or(())).ok()
}

/// A string with a form of its own.
pub(super) fn parsed<T: FromStr<Err: Display>>(node: &Node, reader: &mut Reader) -> Option<T> {
    let text = text(node, reader)?;
    text.parse().or_else(|error| reader.bad_text(node, text, error).ok_or(())).ok()
}

/// A path; a relative one in a file is relative to the file's directory.
pub(super) fn path(node: &Node, reader: &mut Reader) -> Option<PathBuf> {
    string(node, reader).map(|path| resolved(node, Path::new(&path)))
}

fn resolved(node: &Node, path: &Path) -> PathBuf {
    match node.at.file().and_then(Path::parent) {
        Some(directory) => directory.join(path),
        None => path.to_owned(),
    }
}

/// What may be left unset.
pub(super) fn optional<T>(
    read: impl Fn(&Node, &mut Reader) -> Option<T>,
) -> impl Fn(&Node, &mut Reader) -> Option<Option<T>> {
    move |node, reader| read(node, reader).map(Some)
}

/// A list; items that are wrong are reported and left out.
pub(super) fn list<T>(
    read: impl Fn(&Node, &mut Reader) -> Option<T>,
) -> impl Fn(&Node, &mut Reader) -> Option<Vec<T>> {
    move |node, reader| {
        let Value::List(items) = node.interpreted().into_owned().value else {
            return reader.wrong_kind(node, "a list");
        };
        let items = items.iter().enumerate();
        Some(
            items
                .filter_map(|(index, item)| reader.below(&format!("[{index}]"), |reader| read(item, reader)))
                .collect(),
        )
    }
}

/// A list with at least one item.
pub(super) fn nonempty<T>(
    read: impl Fn(&Node, &mut Reader) -> Option<Vec<T>>,
) -> impl Fn(&Node, &mut Reader) -> Option<Vec<T>> {
    move |node, reader| {
        if matches!(&node.interpreted().value, Value::List(items) if items.is_empty()) {
            reader.problem(node, "expected a list with at least one item");
            return None;
        }
        read(node, reader)
    }
}

/// A table of things by name. A name stands in permissions and keys, so it is plain.
pub(super) fn named<T>(
    read: impl Fn(&Node, &mut Reader) -> Option<T>,
) -> impl Fn(&Node, &mut Reader) -> Option<BTreeMap<String, T>> {
    move |node, reader| {
        let table = reader.table(node)?;
        let entries = table.into_iter().filter_map(|(name, child)| {
            reader
                .within(&name, |reader| {
                    if !is_plain_name(&name) {
                        let message = "expected a name of letters, digits, `-`, `_` and `.`";
                        reader.report(ConfigError::new(
                            Some(child.key.clone()),
                            reader.path.clone(),
                            message,
                        ));
                    }
                    read(&child, reader)
                })
                .map(|value| (name, value))
        });
        Some(entries.collect())
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A plugin: the path of a library where it looks like one, else a name.
pub(super) fn plugin_ref(node: &Node, reader: &mut Reader) -> Option<PluginRef> {
    let text = string(node, reader)?;
    match PluginRef::is_path(&text) {
        true => Some(PluginRef::Library(resolved(node, Path::new(&text)))),
        false if is_plain_name(&text) => Some(PluginRef::Builtin(text)),
        false => reader.bad_text(node, &text, "expected a plugin's name or a library's path"),
    }
}

/// A pattern of permissions: `ACTION:PATH`.
pub(super) fn permission(node: &Node, reader: &mut Reader) -> Option<String> {
    const ACTIONS: [&str; 5] = ["command", "subscribe", "publish", "register", "service"];
    let text = string(node, reader)?;
    let (action, path) = text.split_once(':').unwrap_or((&text, ""));
    if ACTIONS.contains(&action) && !path.is_empty() {
        return match text.parse::<Permission>() {
            Ok(_) => Some(text),
            Err(error) => reader.bad_text(node, &text, error.to_string()),
        };
    }
    let message =
        format!("expected ACTION:PATH where ACTION is one of {}, found `{text}`", ACTIONS.join(", "));
    let problem = ConfigError::new(Some(node.at.clone()), reader.path.clone(), message);
    reader.report(if ACTIONS.contains(&action) { problem } else { problem.with_nearest(action, ACTIONS) });
    None
}

/// A SHA-256 sum in hex; given back in lower case.
pub(super) fn sha256(node: &Node, reader: &mut Reader) -> Option<String> {
    let text = string(node, reader)?;
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(text.to_ascii_lowercase());
    }
    reader.bad_text(node, &text, "expected a SHA-256 sum of 64 hexadecimal digits")
}

/// Plugins' tables, kept as they are: their keys are the plugins' own.
pub(super) fn plugin_tables(node: &Node, reader: &mut Reader) -> Option<PluginTables> {
    let table = reader.table(node)?;
    let entries = table.iter().filter_map(|(name, child)| {
        reader.within(name, |reader| {
            reader.table(child)?;
            json(child, reader).map(|json| (name.clone(), json))
        })
    });
    Some(entries.collect())
}

/// The node as JSON. A date becomes its text, and so does a written text that is no TOML.
fn json(node: &Node, reader: &mut Reader) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    Some(match node.interpreted().into_owned().value {
        Value::Text(text) | Value::Datetime(text) | Value::Written(text) => Json::String(text),
        Value::Integer(integer) => Json::from(integer),
        Value::Boolean(flag) => Json::Bool(flag),
        Value::Float(float) => match serde_json::Number::from_f64(float) {
            Some(number) => Json::Number(number),
            None => return reader.wrong_kind(node, "a finite number"),
        },
        Value::List(items) => {
            let items = items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| reader.below(&format!("[{index}]"), |reader| json(item, reader)));
            Json::Array(items.collect())
        }
        Value::Table(table) => {
            let entries = table.iter().filter_map(|(key, child)| {
                reader.within(key, |reader| json(child, reader)).map(|json| (key.clone(), json))
            });
            Json::Object(entries.collect())
        }
    })
}
