//! Text that must not be printed.

use std::fmt;

/// A password or token. Its `Debug` is `***`, and it has no `Display`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text itself: for the login message and nothing else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
