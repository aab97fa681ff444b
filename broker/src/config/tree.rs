//! The merged configuration before it is read into types: a tree whose every node knows where it was set.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::error::ConfigError;
use super::location::{Location, SourceFile};

/// A value and where it was set. No `Debug`: values may be secrets.
#[derive(Clone)]
pub(super) struct Node {
    /// Where its key stands.
    pub(super) key: Location,
    /// Where the value itself stands.
    pub(super) at: Location,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    Table(BTreeMap<String, Node>),
    List(Vec<Node>),
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    /// From the environment or `--set`: text where the key is a string, else TOML.
    Written(String),
}

impl Value {
    /// The kind of value, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Table(_) => "a table",
            Self::List(_) => "a list",
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Datetime(_) => "a date or time",
            Self::Written(_) => "a text that is no TOML value",
        }
    }
}

impl Node {
    /// A node that is all at one place.
    pub(super) fn new(at: Location, value: Value) -> Self {
        Self { key: at.clone(), at, value }
    }

    /// The child of that name.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Table(table) => table.get(key),
            _ => None,
        }
    }

    /// The node at a path of names.
    pub(super) fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The node with a written text read as TOML, where it is any.
    pub(super) fn interpreted(&self) -> Cow<'_, Self> {
        let Value::Written(text) = &self.value else { return Cow::Borrowed(self) };
        let Ok(parsed) = DeValue::parse(text.trim()) else { return Cow::Borrowed(self) };
        let place = |_| self.at.clone();
        let mut placing = Placing::new(&place);
        let value = placing.value(parsed.into_inner(), &self.at);
        if placing.problems.is_empty() {
            Cow::Owned(Self { key: self.key.clone(), at: self.at.clone(), value })
        } else {
            Cow::Borrowed(self)
        }
    }
}

/// Reads a file's text; its syntax errors, one for each line, where it has any.
pub(super) fn parse_file(file: &Arc<SourceFile>) -> Result<Node, Vec<ConfigError>> {
    let place = |span| Location::in_file(file, span);
    let (table, errors) = DeTable::parse_recoverable(&file.text);
    let mut placing = Placing::new(&place);
    let value = Value::Table(placing.table(table.into_inner()));
    let mut problems = placing.problems;
    problems.extend(errors.iter().map(|error| syntax_error(file, error)));
    problems.sort_by_key(|problem| problem.location().and_then(Location::line));
    problems.dedup_by_key(|problem| problem.location().and_then(Location::line));
    if problems.is_empty() { Ok(Node::new(place(0..0), value)) } else { Err(problems) }
}

fn syntax_error(file: &Arc<SourceFile>, error: &toml::de::Error) -> ConfigError {
    let location = Location::in_file(file, error.span().unwrap_or(0..0));
    ConfigError::new(Some(location), "", format!("not TOML: {}", error.message().replace('\n', ", ")))
}

/// Turns what the TOML parser gives into nodes; integers that do not fit are reported.
struct Placing<'a> {
    place: &'a dyn Fn(Range<usize>) -> Location,
    problems: Vec<ConfigError>,
}

impl<'a> Placing<'a> {
    fn new(place: &'a dyn Fn(Range<usize>) -> Location) -> Self {
        Self { place, problems: Vec::new() }
    }

    fn node(&mut self, key: Range<usize>, value: Spanned<DeValue<'_>>) -> Node {
        let at = (self.place)(value.span());
        let value = self.value(value.into_inner(), &at);
        Node { key: (self.place)(key), at, value }
    }

    fn value(&mut self, value: DeValue<'_>, at: &Location) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Boolean(boolean) => Value::Boolean(boolean),
            DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
            DeValue::Integer(integer) => Value::Integer(self.integer(&integer, at)),
            DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Array(items) => {
                Value::List(items.into_iter().map(|item| self.node(item.span(), item)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        }
    }

    fn integer(&mut self, integer: &DeInteger<'_>, at: &Location) -> i64 {
        i64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or_else(|_| {
            let message = "expected an integer that fits 64 bits";
            self.problems.push(ConfigError::new(Some(at.clone()), "", message));
            0
        })
    }

    fn table(&mut self, table: DeTable<'_>) -> BTreeMap<String, Node> {
        let entries = table.into_iter().map(|(key, value)| {
            let node = self.node(key.span(), value);
            (key.into_inner().into_owned(), node)
        });
        entries.collect()
    }
}
