//! JSON that is passed on keeps its text: numbers of any size, the order of keys, escapes.

mod arguments;
mod data;
mod scan;
mod special;
mod text;

use std::{borrow::Cow, fmt};

use bytestring::ByteString;
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

use crate::error::{Error, ErrorCode, Result};
pub use arguments::Arguments;
#[cfg(feature = "schema")]
pub(crate) use arguments::Filled;
pub use data::Data;
pub use scan::{Scan, is_plain};
pub use text::JsonText;

/// A JSON value as text: valid, in UTF-8, on one line. Cloning costs a reference count.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawJson(ByteString);

impl RawJson {
    /// `{}`, which is what a request without data carries.
    pub const fn empty() -> Self {
        Self(ByteString::from_static("{}"))
    }

    /// `null`.
    pub const fn null() -> Self {
        Self(ByteString::from_static("null"))
    }

    /// Takes JSON text.
    ///
    /// # Errors
    /// When the text is not one JSON value.
    pub fn from_text(text: impl Into<ByteString>) -> Result<Self, serde_json::Error> {
        let text = text.into();
        let raw: &RawValue = serde_json::from_str(&text)?;
        match one_line(raw.get()) {
            // Not as a part of itself, which would share it: that costs an allocation.
            Cow::Borrowed(part) if part.len() == text.len() => Ok(Self(text)),
            Cow::Borrowed(part) => Ok(Self(text.slice_ref(part))),
            Cow::Owned(copy) => Ok(Self(copy.into())),
        }
    }

    /// Copies text that is known to be one JSON value on one line.
    pub(crate) fn copy_of_valid(text: &str) -> Self {
        match text {
            "{}" => Self::empty(),
            text => Self(text.to_owned().into()),
        }
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// `internal_error` for a value that JSON cannot express, such as a map with keys that are no strings.
    pub fn from_value(value: &impl Serialize) -> Result<Self> {
        let text = serde_json::to_string(value)
            .map_err(|source| Error::new(ErrorCode::InternalError).with_source(source))?;
        Ok(Self(text.into()))
    }

    /// The same in memory of its own: a value that is kept must not keep the message that it came in.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(ByteString::from(self.as_str().to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The length of the text in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this says nothing: `null`, or an object without fields (protocol §5).
    pub fn is_empty(&self) -> bool {
        match self.as_str() {
            "{}" | "null" => true,
            text => text.strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with('}')),
        }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        self.as_str() == "null"
    }

    /// Whether this is an object.
    pub fn is_object(&self) -> bool {
        self.as_str().starts_with('{')
    }

    /// Reads the value into a type.
    ///
    /// # Errors
    /// When it does not fit the type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

/// In valid JSON a raw line break stands between tokens only, so a space can take its place.
fn one_line(text: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(['\n', '\r'], " "))
}

impl Default for RawJson {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the text: data may carry secrets, and Debug output ends in logs.
        write!(f, "RawJson({} bytes)", self.len())
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;

        impl<'de> Visitor<'de> for RawVisitor {
            type Value = RawJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            /// Only [`Arguments`] does this when asked for a newtype, with text that is known to be valid.
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<RawJson, E> {
                Ok(JsonText::of_any(text).to_json())
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<RawJson, D::Error> {
                let text = Box::<str>::from(Box::<RawValue>::deserialize(deserializer)?);
                Ok(match one_line(&text) {
                    Cow::Borrowed(_) => RawJson(String::from(text).into()),
                    Cow::Owned(copy) => RawJson(copy.into()),
                })
            }
        }

        deserializer.deserialize_newtype_struct(arguments::RAW, RawVisitor)
    }
}

impl JsonSchema for RawJson {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Any".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}

/// A JSON object whose values keep their text. Of a repeated key the last counts.
///
/// ```
/// use jackfield_plugin_api::{RawJson, RawObject};
///
/// let mut object = RawObject::parse(&RawJson::from_text(r#"{"a": 1.50, "b": [true]}"#)?)?;
/// object.insert("c", RawJson::empty());
/// assert_eq!(object.to_json().as_str(), r#"{"a":1.50,"b":[true],"c":{}}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RawObject(IndexMap<ByteString, RawJson, RandomState>);

impl RawObject {
    /// Splits an object's text into its fields, without copying the values.
    ///
    /// # Errors
    /// When the value is not an object.
    pub fn parse(json: &RawJson) -> Result<Self, serde_json::Error> {
        let data = Data::from(json);
        let Some(fields) = data.fields() else {
            return serde_json::from_str::<Map<String, Value>>(&json.0).map(|_| Self::default());
        };
        let slice = |name: &Cow<'_, str>| match name {
            Cow::Borrowed(name) => json.0.slice_ref(name),
            Cow::Owned(name) => name.clone().into(),
        };
        let fields = fields.iter();
        Ok(Self(
            fields.map(|(name, value)| (slice(name), RawJson(json.0.slice_ref(value.as_str())))).collect(),
        ))
    }

    /// The value of a field.
    pub fn get(&self, key: &str) -> Option<&RawJson> {
        self.0.get(key)
    }

    /// Removes a field and returns its value. The order of the others stays.
    pub fn remove(&mut self, key: &str) -> Option<RawJson> {
        self.0.shift_remove(key)
    }

    /// Sets a field, in its old place where it had one.
    pub fn insert(&mut self, key: impl Into<ByteString>, value: RawJson) {
        self.0.insert(key.into(), value);
    }

    /// Sets a field to a value.
    ///
    /// # Errors
    /// Those of [`RawJson::from_value`].
    pub fn set(&mut self, key: impl Into<ByteString>, value: &impl Serialize) -> Result<()> {
        self.insert(key, RawJson::from_value(value)?);
        Ok(())
    }

    /// Keeps the fields for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &RawJson) -> bool) {
        self.0.retain(|key, value| keep(key, value));
    }

    /// The fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawJson)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The object's text.
    pub fn to_json(&self) -> RawJson {
        let size: usize = self.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
        let mut text = String::with_capacity(size + 2);
        let mut separator = '{';
        for (key, value) in self.iter() {
            text.push(separator);
            push_string(&mut text, key);
            text.push(':');
            text.push_str(value.as_str());
            separator = ',';
        }
        if separator == '{' {
            text.push('{');
        }
        text.push('}');
        RawJson(text.into())
    }
}

/// Appends `value` as a JSON string.
pub fn push_string(text: &mut String, value: &str) {
    if is_plain(value) {
        text.push('"');
        text.push_str(value);
        text.push('"');
        return;
    }
    text.push_str(&serde_json::Value::from(value).to_string());
}

impl fmt::Debug for RawObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys().map(|key| &**key)).finish()
    }
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = RawJson::deserialize(deserializer)?;
        Self::parse(&json).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for RawObject {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Object".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &'static str) -> RawJson {
        RawJson::from_text(text).unwrap()
    }

    #[test]
    fn text_is_kept_and_lines_are_joined() {
        assert_eq!(json(r#"{"n": 1e999, "s": "\u0041"}"#).as_str(), r#"{"n": 1e999, "s": "\u0041"}"#);
        assert_eq!(json("{\n\"a\":\r\n1}").as_str(), "{ \"a\":  1}");
    }

    #[test]
    fn emptiness() {
        for text in ["{}", "null", "{ }", "{\n}"] {
            assert!(json(text).is_empty(), "{text}");
        }
        for text in ["[]", "0", "\"\"", r#"{"a":1}"#, "false"] {
            assert!(!json(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn the_last_of_a_repeated_key_counts() {
        let object = RawObject::parse(&json(r#"{"a":1,"b":2,"\u0061":3}"#)).unwrap();
        assert_eq!(object.to_json().as_str(), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn strings_are_escaped() {
        let mut text = String::new();
        push_string(&mut text, "a\"\\\n\u{1}é");
        assert_eq!(text, "\"a\\\"\\\\\\n\\u0001é\"");
    }

    #[test]
    fn debug_hides_the_text() {
        assert_eq!(format!("{:?}", json(r#"{"password":"x"}"#)), "RawJson(16 bytes)");
        let object = RawObject::parse(&json(r#"{"password":"x"}"#)).unwrap();
        assert_eq!(format!("{object:?}"), r#"{"password"}"#);
    }
}
