use std::{borrow::Cow, fmt};

use super::{RawJson, is_plain, one_line};

/// A JSON value as text, borrowed: valid, but perhaps on several lines. [`Scan`](super::Scan) finds it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JsonText<'a> {
    text: &'a str,
    /// Whether it is a string without escapes.
    is_plain_string: bool,
}

impl<'a> JsonText<'a> {
    /// Text that is known to be valid, and to be no string, or one that has escapes.
    pub(super) fn of_any(text: &'a str) -> Self {
        Self { text, is_plain_string: false }
    }

    /// Text that is known to be a string without escapes.
    pub(super) fn of_plain_string(text: &'a str) -> Self {
        Self { text, is_plain_string: true }
    }

    /// What a string says that has no escapes.
    pub(super) fn plain_string(self) -> Option<&'a str> {
        if self.is_plain_string { self.text.get(1..self.text.len() - 1) } else { None }
    }

    /// The text as it stands there.
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// The same in memory of its own.
    pub fn to_json(self) -> RawJson {
        match self.text {
            "{}" => RawJson::empty(),
            text => RawJson(one_line(text).into_owned().into()),
        }
    }

    #[cfg_attr(not(feature = "schema"), expect(dead_code, reason = "schemas ask"))]
    pub(crate) fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    pub(crate) fn is_null(self) -> bool {
        self.text == "null"
    }

    /// What a string says, borrowed where it has no escapes. `None` for what is no string, and for one that means
    /// nothing: half of a surrogate pair.
    ///
    /// ```
    /// use jackfield_plugin_api::json::Scan;
    ///
    /// assert_eq!(Scan::new(r#""\u00e9""#).value().unwrap().text().unwrap(), "é");
    /// assert!(Scan::new("7").value().unwrap().text().is_none());
    /// ```
    pub fn text(self) -> Option<Cow<'a, str>> {
        if let Some(plain) = self.plain_string() {
            return Some(Cow::Borrowed(plain));
        }
        if self.text.starts_with('"') { serde_json::from_str(self.text).ok().map(Cow::Owned) } else { None }
    }
}

impl Default for JsonText<'_> {
    /// `{}`, which is what a message without data carries.
    fn default() -> Self {
        Self::of_any("{}")
    }
}

impl<'a> From<&'a RawJson> for JsonText<'a> {
    fn from(json: &'a RawJson) -> Self {
        let text = json.as_str();
        let says = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        Self { text, is_plain_string: says.is_some_and(is_plain) }
    }
}

impl fmt::Debug for JsonText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the text: data may carry secrets, and Debug output ends in logs.
        write!(f, "JsonText({} bytes)", self.text.len())
    }
}
