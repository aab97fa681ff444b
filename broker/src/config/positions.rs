//! Where each key of a configuration was set, kept for checks that come after reading: plugins' own tables.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use super::location::Location;
use super::tree::{Node, Value};

/// The places of a table's, or a list's, parts. `Debug` is empty: it may hold what was written for a secret.
#[derive(Clone, Default)]
pub(super) struct Positions {
    at: Option<Location>,
    /// The text from the environment or `--set`, where the value was one.
    written: Option<Arc<str>>,
    parts: BTreeMap<String, Positions>,
}

impl Positions {
    /// The place of the deepest part of `path` that was set; none where not even its first part was.
    pub(super) fn locate(&self, path: &[&str]) -> Option<&Location> {
        let Some((first, rest)) = path.split_first() else { return self.at.as_ref() };
        let part = self.parts.get(*first)?;
        part.locate(rest).or(part.at.as_ref())
    }

    /// The part at `path`.
    pub(super) fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |part, key| part.parts.get(*key))
    }

    /// Puts back what was written where `schema` wants a string: `12345` is a password too.
    pub(super) fn restore_strings(&self, json: &mut Json, schema: &Schema<'_>) {
        match json {
            Json::Object(table) => {
                for (key, value) in table {
                    if let (Some(part), Some(schema)) = (self.parts.get(key), schema.property(key)) {
                        part.restore_strings(value, &schema);
                    }
                }
            }
            Json::String(_) => {}
            other => {
                if let Some(written) = self.written.as_deref().filter(|_| schema.is_string()) {
                    *other = Json::String(written.to_owned());
                }
            }
        }
    }
}

impl From<&Node> for Positions {
    fn from(node: &Node) -> Self {
        let written = match &node.value {
            Value::Written(text) => Some(text.as_str().into()),
            _ => None,
        };
        let parts = match &node.interpreted().value {
            Value::Table(table) => table.iter().map(|(key, node)| (key.clone(), node.into())).collect(),
            Value::List(items) => {
                items.iter().enumerate().map(|(index, node)| (index.to_string(), node.into())).collect()
            }
            _ => BTreeMap::new(),
        };
        Self { at: Some(node.key.clone()), written, parts }
    }
}

impl fmt::Debug for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Positions")
    }
}

/// A JSON Schema, or a part of one.
pub(super) struct Schema<'a> {
    root: &'a Json,
    here: &'a Json,
}

impl<'a> Schema<'a> {
    pub(super) fn new(root: &'a Json) -> Self {
        Self { root, here: root }
    }

    /// The schema of a table's key.
    fn property(&self, key: &str) -> Option<Self> {
        let named = self.alternatives().find_map(|schema| schema.here.get("properties")?.get(key));
        let here =
            named.or_else(|| self.alternatives().find_map(|schema| schema.here.get("additionalProperties")));
        Some(Self { root: self.root, here: here? })
    }

    /// Whether a string fits.
    fn is_string(&self) -> bool {
        self.alternatives().any(|schema| match schema.here.get("type") {
            Some(Json::String(kind)) => kind == "string",
            Some(Json::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
            _ => false,
        })
    }

    /// This schema with its reference followed, and what it is put together from.
    fn alternatives(&self) -> impl Iterator<Item = Self> {
        let target = self.here.get("$ref").and_then(Json::as_str).and_then(|target| target.strip_prefix('#'));
        let here = target.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(self.here);
        let groups = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|group| here.get(group)?.as_array());
        let parts: Vec<&'a Json> = std::iter::once(here).chain(groups.flatten()).collect();
        let root = self.root;
        parts.into_iter().map(move |part| {
            let target = part.get("$ref").and_then(Json::as_str).and_then(|target| target.strip_prefix('#'));
            Self { root, here: target.and_then(|pointer| root.pointer(pointer)).unwrap_or(part) }
        })
    }
}
