//! The layers of a configuration: the file, the environment, `--set`, and the options with a name of their own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::location::{Location, SourceFile};
use super::read::written_key;
use super::tree::{Node, Value, parse_file};

/// What starts the name of an environment variable of ours.
const PREFIX: &str = "JACKFIELD_";

/// Where the configuration comes from. No `Debug`: values may be secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not start with `JACKFIELD_` are ignored.
    pub environment: Vec<(OsString, OsString)>,
    /// `--set KEY=VALUE`, in order.
    pub set: Vec<String>,
    /// `--listen URL`: replaces service `main`'s list where not empty.
    pub listen: Vec<String>,
    /// `--plugin NAME|PATH`: replaces service `main`'s list where not empty.
    pub plugins: Vec<String>,
}

impl Sources {
    /// The merged tree, and what is wrong with the layers themselves. A file with syntax errors gives those alone.
    pub(super) fn merged(&self) -> Result<(Node, Vec<ConfigError>), Vec<ConfigError>> {
        let mut problems = Vec::new();
        let mut root = match &self.file {
            Some(path) => read_file(path)?,
            None => Node::new(Location::flag("default"), Value::Table(BTreeMap::new())),
        };
        self.add_environment(&mut root, &mut problems);
        for assignment in &self.set {
            problems.extend(add_assignment(&mut root, assignment).err());
        }
        for (flag, key, values) in
            [("--listen", "listen", &self.listen), ("--plugin", "plugins", &self.plugins)]
        {
            if !values.is_empty() {
                let path = ["service", "main", key].map(str::to_owned);
                problems.extend(insert(&mut root, &path, list_of(&Location::flag(flag), values)).err());
            }
        }
        Ok((root, problems))
    }

    fn add_environment(&self, root: &mut Node, problems: &mut Vec<ConfigError>) {
        let mut variables: Vec<_> = self.environment.iter().collect();
        variables.sort();
        for (name, value) in variables {
            let name = name.to_string_lossy();
            let Some(levels) = name.strip_prefix(PREFIX) else { continue };
            let at = Location::environment(&name);
            let Some(value) = value.to_str() else {
                problems.push(ConfigError::new(Some(at), "", "expected UTF-8"));
                continue;
            };
            let path = self.spelt(root, levels);
            let leaf = Node::new(at, Value::Written(value.to_owned()));
            problems.extend(insert(root, &path, leaf).err());
        }
    }

    /// The path that a variable's levels mean. Variables know neither case nor `-`, so what is there already, or listed
    /// as a plugin, gives the spelling.
    fn spelt(&self, root: &Node, levels: &str) -> Vec<String> {
        let mut path: Vec<String> = Vec::new();
        for level in levels.split("__") {
            let parent: Vec<&str> = path.iter().map(String::as_str).collect();
            let mut known = Vec::new();
            if let Some(Value::Table(table)) = root.find(&parent).map(|node| &node.value) {
                known.extend(table.keys().cloned());
            }
            if matches!(parent.as_slice(), ["service", _, "plugin"]) {
                known.extend(self.listed_plugins(root));
            }
            let known = known.into_iter().find(|key| folded(key) == folded(level));
            path.push(known.unwrap_or_else(|| level.to_ascii_lowercase()));
        }
        path
    }

    /// Every plugin that the file or the command line lists, for any service.
    fn listed_plugins(&self, root: &Node) -> Vec<String> {
        let services = match root.get("service").map(|node| &node.value) {
            Some(Value::Table(services)) => services.values().collect(),
            _ => Vec::new(),
        };
        let lists = services.into_iter().filter_map(|service| match &service.get("plugins")?.value {
            Value::List(items) => Some(items),
            _ => None,
        });
        let names = lists.flatten().filter_map(|item| match &item.value {
            Value::Text(name) => Some(name.clone()),
            _ => None,
        });
        names.chain(self.plugins.iter().cloned()).collect()
    }
}

fn folded(key: &str) -> String {
    key.to_ascii_lowercase().replace('-', "_")
}

fn list_of(at: &Location, values: &[String]) -> Node {
    let items = values.iter().map(|value| Node::new(at.clone(), Value::Written(value.clone())));
    Node::new(at.clone(), Value::List(items.collect()))
}

fn read_file(path: &Path) -> Result<Node, Vec<ConfigError>> {
    let unreadable = |reason: String| {
        vec![ConfigError::new(
            None,
            "",
            format!("cannot read the configuration file {}: {reason}", path.display()),
        )]
    };
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| unreadable(error.utf8_error().to_string()))?;
    parse_file(&Arc::new(SourceFile { path: path.to_owned(), text }))
}

/// Adds one `KEY=VALUE`.
fn add_assignment(root: &mut Node, assignment: &str) -> Result<(), ConfigError> {
    let Some((key, value)) = split_assignment(assignment) else {
        // Not what was found: without its '=' nobody can tell a key from a password.
        return Err(ConfigError::new(Some(Location::flag("--set")), "", "expected KEY=VALUE"));
    };
    let at = Location::set(key);
    let Some(path) = dotted_key(key) else {
        let message = "expected a dotted key, such as service.main.listen, with quotes where TOML needs them";
        return Err(ConfigError::new(Some(at), "", message));
    };
    insert(root, &path, Node::new(at, Value::Written(value.to_owned())))
}

/// Splits at the first `=` outside quotes.
fn split_assignment(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let equals = text.bytes().position(|byte| {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
        quote.is_none() && byte == b'='
    })?;
    Some((text.get(..equals)?.trim(), text.get(equals + 1..)?))
}

/// The parts of a key as TOML reads it.
pub(super) fn dotted_key(key: &str) -> Option<Vec<String>> {
    if key.contains(['\n', '\r']) {
        return None;
    }
    let line = format!("{key} = 0");
    let table = DeTable::parse(&line).ok()?.into_inner();
    let mut value = DeValue::Table(table);
    let mut path = Vec::new();
    while let DeValue::Table(table) = value {
        let (part, below) = table.into_iter().next()?;
        path.push(part.into_inner().into_owned());
        value = below.into_inner();
    }
    Some(path)
}

/// Puts a leaf into the tree, in place of what was there; tables on the way are made.
fn insert(root: &mut Node, path: &[String], leaf: Node) -> Result<(), ConfigError> {
    let Some((last, parents)) = path.split_last() else { return Ok(()) };
    let mut node = root;
    for (depth, key) in parents.iter().enumerate() {
        let parent = table_of(node).ok_or_else(|| no_table(path, depth, &leaf.at))?;
        let empty = || Node::new(leaf.at.clone(), Value::Table(BTreeMap::new()));
        node = parent.entry(key.clone()).or_insert_with(empty);
    }
    let table = table_of(node).ok_or_else(|| no_table(path, parents.len(), &leaf.at))?;
    table.insert(last.clone(), leaf);
    Ok(())
}

/// The node's table; a written text is read as TOML first.
fn table_of(node: &mut Node) -> Option<&mut BTreeMap<String, Node>> {
    if matches!(node.value, Value::Written(_)) {
        *node = node.interpreted().into_owned();
    }
    match &mut node.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}

fn no_table(path: &[String], depth: usize, at: &Location) -> ConfigError {
    let dotted = |path: &[String]| path.iter().map(|key| written_key(key)).collect::<Vec<_>>().join(".");
    let parent = path.get(..depth).unwrap_or(path);
    ConfigError::new(Some(at.clone()), dotted(path), format!("`{}` is not a table", dotted(parent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_split_outside_quotes() {
        assert_eq!(split_assignment("a.b=c=d"), Some(("a.b", "c=d")));
        assert_eq!(split_assignment(r#"a."b=c" = d"#), Some((r#"a."b=c""#, " d")));
        assert_eq!(split_assignment("a.'b=c'=d"), Some(("a.'b=c'", "d")));
        assert_eq!(split_assignment("a.b"), None);
    }

    #[test]
    fn keys_are_toml_keys() {
        assert_eq!(dotted_key(r#"a."x@y.z".'q' "#).unwrap(), ["a", "x@y.z", "q"]);
        for bad in ["", "a b", "a.", "a = 1\nb", "#", "[a]\nb", "a@b"] {
            assert_eq!(dotted_key(bad), None, "{bad}");
        }
    }
}
