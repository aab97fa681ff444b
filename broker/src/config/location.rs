//! Where a key was set.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::excerpt::excerpt;

/// A configuration file as it was read.
pub(super) struct SourceFile {
    /// Its path, as it was given.
    pub(super) path: PathBuf,
    /// Its text.
    pub(super) text: String,
}

/// Where a key was set: a place in the file, a variable, or an option of the command line.
#[derive(Clone)]
pub struct Location(Place);

#[derive(Clone)]
enum Place {
    File { file: Arc<SourceFile>, span: Range<usize> },
    Environment(Arc<str>),
    Set(Arc<str>),
    Flag(&'static str),
}

impl Location {
    pub(super) fn in_file(file: &Arc<SourceFile>, span: Range<usize>) -> Self {
        Self(Place::File { file: Arc::clone(file), span })
    }

    pub(super) fn environment(variable: &str) -> Self {
        Self(Place::Environment(variable.into()))
    }

    /// `--set`; `key` without the value, which may be a secret.
    pub(super) fn set(key: &str) -> Self {
        Self(Place::Set(key.into()))
    }

    /// An option other than `--set`.
    pub(super) fn flag(name: &'static str) -> Self {
        Self(Place::Flag(name))
    }

    /// The file, where the key was set in one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Place::File { file, .. } => Some(&file.path),
            _ => None,
        }
    }

    /// The line in the file, from 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.position().map(|(line, _)| line)
    }

    /// The column in the line, in characters from 1.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.position().map(|(_, column)| column)
    }

    /// The source line with its number and a mark below the place; values of secrets are masked. None outside a file.
    #[must_use]
    pub fn excerpt(&self) -> Option<String> {
        match &self.0 {
            Place::File { file, span } => Some(excerpt(&file.text, span)),
            _ => None,
        }
    }

    /// How late the layer is applied: a higher one wins.
    pub(super) fn layer(&self) -> u8 {
        match self.0 {
            Place::File { .. } => 0,
            Place::Environment(_) => 1,
            Place::Set(_) => 2,
            Place::Flag(_) => 3,
        }
    }

    /// Sorts as the reader meets them: the file by position, then variables, then options.
    pub(super) fn order(&self) -> (u8, usize) {
        match &self.0 {
            Place::File { span, .. } => (self.layer(), span.start),
            _ => (self.layer(), 0),
        }
    }

    fn position(&self) -> Option<(usize, usize)> {
        let Place::File { file, span } = &self.0 else { return None };
        let before = file.text.get(..span.start)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Some((line, before.get(line_start..)?.chars().count() + 1))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0, self.position()) {
            (Place::File { file, .. }, Some((line, column))) => {
                write!(f, "{}:{line}:{column}", file.path.display())
            }
            (Place::File { file, .. }, None) => write!(f, "{}", file.path.display()),
            (Place::Environment(variable), _) => write!(f, "environment variable {variable}"),
            (Place::Set(key), _) => write!(f, "--set {key}"),
            (Place::Flag(name), _) => f.write_str(name),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}
