//! What is wrong with a configuration.

use std::fmt;

use super::location::Location;

/// One problem: where, which key, and what was expected.
#[derive(Debug, Clone)]
pub struct ConfigError {
    location: Option<Location>,
    key: String,
    message: String,
    nearest: Option<String>,
}

impl ConfigError {
    /// A problem with `key` (`service.main.listen`; empty where no key is to blame), set at `location`. `message` says
    /// what was expected and must not hold a secret.
    pub fn new(location: Option<Location>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { location, key: key.into(), message: message.into(), nearest: None }
    }

    /// Adds the valid key, or choice, that is nearest to `found`, where one is near.
    #[must_use]
    pub fn with_nearest<'a>(mut self, found: &str, valid: impl IntoIterator<Item = &'a str>) -> Self {
        self.nearest = nearest(found, valid).map(str::to_owned);
        self
    }

    /// Where the key was set; none for a default.
    #[must_use]
    pub fn location(&self) -> Option<&Location> {
        self.location.as_ref()
    }

    /// The key, dotted.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What was expected.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean `{nearest}`?")?;
        }
        match self.location.as_ref().and_then(Location::excerpt) {
            Some(excerpt) => write!(f, "\n{excerpt}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// All that is wrong with a configuration: at least one problem.
#[derive(Debug, Clone)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// `value`, or the problems where there are any, in the order of their places.
    ///
    /// # Errors
    /// When `problems` is not empty.
    pub fn none_in<T>(mut problems: Vec<ConfigError>, value: T) -> Result<T, Self> {
        if problems.is_empty() {
            return Ok(value);
        }
        problems.sort_by_key(|problem| problem.location.as_ref().map(Location::order));
        Err(Self(problems))
    }

    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(problem: ConfigError) -> Self {
        Self(vec![problem])
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The candidate nearest to `found`, if any is near enough to be meant.
fn nearest<'a>(found: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = valid.into_iter().map(|candidate| (strsim::jaro_winkler(found, candidate), candidate));
    let best = scored.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(score, _)| *score > 0.75).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_key_is_offered() {
        let keys = ["listen", "plugins", "admin_password", "admin_password_file"];
        assert_eq!(nearest("listn", keys), Some("listen"));
        assert_eq!(nearest("plugin", keys), Some("plugins"));
        assert_eq!(nearest("adminpassword", keys), Some("admin_password"));
        assert_eq!(nearest("zzz", keys), None);
    }
}
