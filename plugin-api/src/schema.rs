//! Checks request data against a command's JSON Schema (protocol §6).
//!
//! The top level of the data is checked on its text, so that what a handler only passes on is never parsed: numbers
//! of any size get through. The `jsonschema` crate judges a field only where its schema says more than a type.

mod bounds;

use std::{borrow::Cow, fmt};

use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Map, Value};
use smallvec::{SmallVec, smallvec};

use crate::{
    error::{Error, Result},
    json::{Arguments, Data, Filled, JsonText, RawJson},
};
use bounds::Bounds;

/// A schema made ready for checking.
pub struct DataSchema(Kind);

enum Kind {
    Anything,
    Object(ObjectSchema),
    Other(Box<Validator>),
}

struct ObjectSchema {
    properties: Vec<Property>,
    unknown: Unknown,
    /// Set where the object as a whole has rules, such as `oneOf`.
    whole: Option<Box<Validator>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    Reported,
    Welcome,
    Refused,
}

/// The values of the properties, in their order.
type Found<'a> = SmallVec<[Option<JsonText<'a>>; 8]>;

struct Property {
    name: Box<str>,
    types: Types,
    required: bool,
    default: Option<RawJson>,
    rest: Rest,
}

/// What a field's schema says beyond its type.
enum Rest {
    Nothing,
    Bounds(Bounds),
    More(Box<Validator>),
}

/// Whose schema it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Author {
    Plugin,
    /// A client: what it costs is bounded.
    Client,
}

/// Data that fits its schema.
#[derive(Debug)]
pub struct Checked<'a> {
    /// The data, defaults filled in, fields that are `null` taken out where they may be absent, repeated fields
    /// reduced to the last.
    pub arguments: Arguments<'a>,
    /// The fields that the schema does not know.
    pub unrecognized: Vec<String>,
}

impl DataSchema {
    /// Makes a schema ready.
    ///
    /// # Errors
    /// `invalid_value: data_schema` for what is no JSON Schema.
    pub fn compile(schema: &Value) -> Result<Self> {
        Self::compile_of(schema, Author::Plugin)
    }

    /// How many regular expressions a client's schema may hold: each costs time to make and memory to keep.
    pub const MOST_PATTERNS: usize = 64;

    /// Makes a client's schema ready. It holds no references, which could be circular or multiply beyond measure, and
    /// few patterns, such as are matched in linear time.
    ///
    /// # Errors
    /// `invalid_value: data_schema` for what is no JSON Schema, or none of that kind.
    pub fn compile_bounded(schema: &Value) -> Result<Self> {
        if has_reference(schema) {
            return Err(Error::invalid_value("data_schema: references are not supported"));
        }
        if patterns(schema) > Self::MOST_PATTERNS {
            let most = Self::MOST_PATTERNS;
            return Err(Error::invalid_value(format_args!("data_schema: more than {most} patterns")));
        }
        Self::compile_of(schema, Author::Client)
    }

    fn compile_of(schema: &Value, author: Author) -> Result<Self> {
        let Value::Object(map) = schema else {
            return match schema {
                Value::Bool(true) => Ok(Self(Kind::Anything)),
                other => Ok(Self(Kind::Other(validator(other, author)?))),
            };
        };
        if map.is_empty() {
            return Ok(Self(Kind::Anything));
        }
        if author == Author::Client {
            // The whole, of which parts may not be looked at below.
            validator(schema, author)?;
        }
        if map.get("type").and_then(Value::as_str) != Some("object") {
            return Ok(Self(Kind::Other(validator(schema, author)?)));
        }
        ObjectSchema::compile(schema, map, author).map(|object| Self(Kind::Object(object)))
    }

    /// Checks data.
    ///
    /// # Errors
    /// `syntax_error` for a wrong type, `missing_field`, `invalid_value`, in this order, each naming the field as it
    /// stands in the data (protocol §2).
    pub fn check<'a>(&'a self, data: &'a Data<'_>) -> Result<Checked<'a>> {
        match &self.0 {
            Kind::Anything => {}
            Kind::Other(validator) => judge(validator, data.text().as_str(), "")?.into_result()?,
            Kind::Object(object) => return object.check(data),
        }
        Ok(Checked { arguments: Arguments::from(data), unrecognized: Vec::new() })
    }
}

impl fmt::Debug for DataSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataSchema")
    }
}

fn validator(schema: &Value, author: Author) -> Result<Box<Validator>> {
    /// How large a client's pattern may get once it is compiled, in bytes.
    const LARGEST_PATTERN: usize = 128 << 10;
    let built = match author {
        Author::Plugin => jsonschema::validator_for(schema),
        Author::Client => jsonschema::options()
            .with_pattern_options(
                PatternOptions::regex().size_limit(LARGEST_PATTERN).dfa_size_limit(LARGEST_PATTERN),
            )
            .build(schema),
    };
    built.map(Box::new).map_err(|error| Error::invalid_value(format_args!("data_schema: {error}")))
}

/// Whether a reference stands anywhere in a schema, be it as a property's name or in a constant.
fn has_reference(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.iter().any(|(key, below)| {
            matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef") || has_reference(below)
        }),
        Value::Array(items) => items.iter().any(has_reference),
        _ => false,
    }
}

/// How many regular expressions there are in a schema, or what looks like one.
fn patterns(schema: &Value) -> usize {
    match schema {
        Value::Object(map) => {
            let of = |(key, below): (&String, &Value)| match (key.as_str(), below) {
                ("pattern", Value::String(_)) => 1,
                ("patternProperties", Value::Object(by_pattern)) => by_pattern.len() + patterns(below),
                _ => patterns(below),
            };
            map.iter().map(of).sum()
        }
        Value::Array(items) => items.iter().map(patterns).sum(),
        _ => 0,
    }
}

impl ObjectSchema {
    const PLAIN: &[&str] = &[
        "type",
        "properties",
        "required",
        "title",
        "description",
        "default",
        "examples",
        "$schema",
        "$defs",
        "additionalProperties",
        "$comment",
    ];

    fn compile(schema: &Value, map: &Map<String, Value>, author: Author) -> Result<Self> {
        let required: Vec<&str> = map
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        // A client's have no references to them, and every property would carry them.
        let definitions = map.get("$defs").filter(|_| author == Author::Plugin);
        let properties = map.get("properties").and_then(Value::as_object).into_iter().flatten();
        let properties = properties
            .map(|(name, schema)| {
                let required = required.contains(&name.as_str());
                Property::compile(name, schema, required, definitions, author)
            })
            .collect::<Result<Vec<_>>>()?;
        let unknown = match map.get("additionalProperties") {
            None => Unknown::Reported,
            Some(Value::Bool(false)) => Unknown::Refused,
            Some(_) => Unknown::Welcome,
        };
        let known = |name: &&str| properties.iter().any(|property| *property.name == **name);
        let plain = map.keys().all(|key| Self::PLAIN.contains(&key.as_str()))
            && !matches!(map.get("additionalProperties"), Some(Value::Object(more)) if !more.is_empty())
            && required.iter().all(known);
        let whole = if plain { None } else { Some(validator(schema, author)?) };
        Ok(Self { properties, unknown, whole })
    }

    fn check<'a>(&'a self, data: &'a Data<'_>) -> Result<Checked<'a>> {
        if self.takes_any_object() && data.text().is_object() {
            return Ok(Checked { arguments: Arguments::from(data), unrecognized: Vec::new() });
        }
        let Some(fields) = data.fields() else { return Err(Error::syntax("data")) };
        let mut found: Found<'_> = smallvec![None; self.properties.len()];
        let mut unrecognized = Vec::new();
        let mut rewrite = false;
        for (name, value) in fields {
            match self.properties.iter().zip(&mut found).find(|(property, _)| *property.name == **name) {
                Some((_, slot)) => rewrite |= slot.replace(*value).is_some(),
                None => unrecognized.push(name.to_string()),
            }
        }
        for (property, slot) in self.properties.iter().zip(&mut found) {
            if !property.required && slot.is_some_and(JsonText::is_null) {
                *slot = None;
                rewrite = true;
            }
            rewrite |= slot.is_none() && property.default.is_some();
        }
        self.judge(data, &found, &unrecognized)?;
        let arguments = match rewrite {
            true => Arguments::filled(self.fill(fields, &found), data.text()),
            false => Arguments::from(data),
        };
        if self.unknown == Unknown::Welcome {
            unrecognized.clear();
        }
        Ok(Checked { arguments, unrecognized })
    }

    fn judge(&self, data: &Data<'_>, found: &[Option<JsonText<'_>>], unrecognized: &[String]) -> Result<()> {
        let properties = || self.properties.iter().zip(found);
        let present = || properties().filter_map(|(property, value)| Some((property, (*value)?.as_str())));
        if let Some((property, _)) = present().find(|(property, raw)| !property.types.admit(raw)) {
            return Err(Error::syntax(&property.name));
        }
        let mut faults = Faults::default();
        // Most properties have nothing more to say; to gather that takes longer than to see it.
        for (property, raw) in present().filter(|(property, _)| !matches!(property.rest, Rest::Nothing)) {
            faults = faults.and(property.rest.judge(raw, &property.name)?);
        }
        if let Some(whole) = &self.whole {
            faults = faults.and(judge(whole, data.text().as_str(), "")?);
        }
        let absent = properties().find(|(property, value)| property.required && value.is_none());
        if let Some((property, _)) = absent {
            faults.missing = Some(property.name.to_string());
        }
        if self.unknown == Unknown::Refused {
            faults.invalid = faults.invalid.or_else(|| unrecognized.first().cloned());
        }
        faults.into_result()
    }

    /// What counts: the properties, and behind them what the schema does not know.
    fn fill<'a>(
        &'a self,
        fields: &'a [(Cow<'a, str>, JsonText<'a>)],
        found: &[Option<JsonText<'a>>],
    ) -> Filled<'a> {
        let known = self.properties.iter().zip(found).filter_map(|(property, value)| {
            let default = || property.default.as_ref().map(JsonText::from);
            Some((&*property.name, value.or_else(default)?))
        });
        let is_known = |name: &str| self.properties.iter().any(|property| *property.name == *name);
        let unknown = fields.iter().filter(|(name, _)| !is_known(name));
        let mut filled = Vec::with_capacity(self.properties.len() + fields.len());
        filled.extend(known);
        filled.extend(unknown.map(|(name, value)| (&**name, *value)));
        filled
    }

    fn takes_any_object(&self) -> bool {
        self.unknown == Unknown::Welcome && self.properties.is_empty() && self.whole.is_none()
    }
}

impl Property {
    const PLAIN: &[&str] = &[
        "type",
        "title",
        "description",
        "default",
        "examples",
        "format",
        "$comment",
        "deprecated",
        "readOnly",
        "writeOnly",
    ];

    fn compile(
        name: &str,
        schema: &Value,
        required: bool,
        defs: Option<&Value>,
        author: Author,
    ) -> Result<Self> {
        let map = schema.as_object();
        let plain = map.map_or(schema == &Value::Bool(true), |map| {
            map.keys().all(|key| Self::PLAIN.contains(&key.as_str()))
        });
        let types = map.and_then(|map| map.get("type")).map_or(Types::ALL, Types::of);
        let (types, rest) = if plain {
            (types, Rest::Nothing)
        } else if let Some((types, bounds)) = map.and_then(|map| Bounds::of(map, Self::PLAIN)) {
            (types, Rest::Bounds(bounds))
        } else {
            (types, Rest::More(validator(&with_definitions(schema, defs), author)?))
        };
        let default = map.and_then(|map| map.get("default")).filter(|default| !default.is_null());
        let default = default.map(RawJson::from_value).transpose()?;
        Ok(Self { name: name.into(), types, required, default, rest })
    }
}

impl Rest {
    fn judge(&self, raw: &str, name: &str) -> Result<Faults> {
        match self {
            Self::Bounds(bounds) if !bounds.admit(raw) => {
                Ok(Faults { invalid: Some(name.to_owned()), ..Faults::default() })
            }
            Self::Nothing | Self::Bounds(_) => Ok(Faults::default()),
            Self::More(validator) => judge(validator, raw, name),
        }
    }
}

fn with_definitions(schema: &Value, defs: Option<&Value>) -> Value {
    let mut schema = schema.clone();
    if let (Value::Object(map), Some(defs)) = (&mut schema, defs) {
        map.insert("$defs".into(), defs.clone());
    }
    schema
}

/// A set of JSON types.
#[derive(Clone, Copy)]
struct Types(u8);

impl Types {
    const ALL: Self = Self(u8::MAX);
    const STRING: Self = Self(4);
    const INTEGER: u8 = 16;
    const NUMBER: u8 = 32;

    fn of(keyword: &Value) -> Self {
        Self(names(keyword).iter().filter_map(Value::as_str).map(Self::bit).fold(0, |all, bit| all | bit))
    }

    /// Nothing where one of the names is no type's.
    fn known(keyword: &Value) -> Option<Self> {
        let known = |name: &Value| name.as_str().is_some_and(|name| Self::bit(name) != 0);
        (!names(keyword).is_empty() && names(keyword).iter().all(known)).then(|| Self::of(keyword))
    }

    fn bit(name: &str) -> u8 {
        match name {
            "null" => 1,
            "boolean" => 2,
            "string" => Self::STRING.0,
            "array" => 8,
            "integer" => Self::INTEGER,
            "number" => Self::INTEGER | Self::NUMBER,
            "object" => 64,
            _ => 0,
        }
    }

    fn admit(self, raw: &str) -> bool {
        let bit = match raw.bytes().next() {
            Some(b'n') => 1,
            Some(b't' | b'f') => 2,
            Some(b'"') => Self::STRING.0,
            Some(b'[') => 8,
            Some(b'{') => 64,
            _ if is_integer(raw) => Self::INTEGER,
            _ => Self::NUMBER,
        };
        self.0 & bit != 0
    }
}

fn names(keyword: &Value) -> &[Value] {
    match keyword {
        Value::Array(names) => names,
        name => std::slice::from_ref(name),
    }
}

/// To JSON Schema `1.0` is an integer too.
fn is_integer(number: &str) -> bool {
    !number.contains(['.', 'e', 'E']) || number.parse::<f64>().is_ok_and(|number| number.fract() == 0.0)
}

/// The first fault of each kind below the wrong types.
#[derive(Default)]
struct Faults {
    missing: Option<String>,
    invalid: Option<String>,
}

impl Faults {
    fn and(self, other: Self) -> Self {
        Self { missing: self.missing.or(other.missing), invalid: self.invalid.or(other.invalid) }
    }

    fn into_result(self) -> Result<()> {
        match self {
            Self { missing: Some(field), .. } => Err(Error::missing_field(field)),
            Self { invalid: Some(field), .. } => Err(Error::invalid_value(field)),
            Self { missing: None, invalid: None } => Ok(()),
        }
    }
}

/// Has `validator` judge a value that stands in the field `name` of the data, or is the data where that is empty.
fn judge(validator: &Validator, raw: &str, name: &str) -> Result<Faults> {
    let mut faults = Faults::default();
    let Ok(value) = serde_json::from_str::<Value>(raw) else {
        // Valid JSON, but a number that fits no type.
        return Err(Error::invalid_value(or_data(name)));
    };
    for error in validator.iter_errors(&value) {
        record(&error, name, &mut faults)?;
    }
    Ok(faults)
}

fn record(error: &ValidationError<'_>, name: &str, faults: &mut Faults) -> Result<()> {
    let path = field_path(name, &error.instance_path().to_string());
    match error.kind() {
        ValidationErrorKind::Type { .. } => return Err(Error::syntax(or_data(&path))),
        ValidationErrorKind::Required { property } => {
            let property = property.as_str().unwrap_or_default();
            faults.missing.get_or_insert(field_path(&path, property));
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            return record_branch(context, name, &path, faults);
        }
        _ => {
            faults.invalid.get_or_insert_with(|| or_data(&path).to_owned());
        }
    }
    Ok(())
}

/// Of several alternatives the one was meant whose own type fits; where none does, the type is wrong.
fn record_branch(
    branches: &[Vec<ValidationError<'_>>],
    name: &str,
    path: &str,
    faults: &mut Faults,
) -> Result<()> {
    let wrong_type = |error: &ValidationError<'_>| {
        matches!(error.kind(), ValidationErrorKind::Type { .. })
            && field_path(name, &error.instance_path().to_string()) == path
    };
    let Some(meant) = branches.iter().find(|errors| !errors.iter().any(wrong_type)) else {
        return Err(Error::syntax(or_data(path)));
    };
    meant.iter().try_for_each(|error| record(error, name, faults))
}

/// `meta` and `/key/0` make `meta.key.0`.
fn field_path(name: &str, pointer: &str) -> String {
    let below = pointer.trim_start_matches('/').replace('/', ".");
    match (name.is_empty(), below.is_empty()) {
        (true, _) => below,
        (false, true) => name.to_owned(),
        (false, false) => format!("{name}.{below}"),
    }
}

fn or_data(path: &str) -> &str {
    if path.is_empty() { "data" } else { path }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::command::schema_of;

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "read through its schema")]
    struct Args {
        name: String,
        #[serde(default = "three")]
        #[schemars(range(min = 1, max = 10))]
        count: u32,
        #[serde(default)]
        kind: Kind,
        nested: Option<Nested>,
        #[serde(default)]
        body: RawJson,
    }

    fn three() -> u32 {
        3
    }

    #[derive(Default, Deserialize, serde::Serialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        #[default]
        A,
        B,
    }

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "read through its schema")]
    struct Nested {
        key: String,
    }

    fn check(data: &'static str) -> Result<String, String> {
        let schema = DataSchema::compile(&schema_of::<Args>()).unwrap();
        let json = RawJson::from_text(data).unwrap();
        let data = Data::from(&json);
        let checked = schema.check(&data);
        checked
            .map(|checked| checked.arguments.to_json().as_str().to_owned())
            .map_err(|error| error.text().to_owned())
    }

    #[test]
    fn defaults_are_filled_in_and_text_is_kept() {
        let data = check(r#"{"name":"a\u0041","body":{"n":1e999,  "z":1,"a":2}}"#).unwrap();
        assert_eq!(data, r#"{"body":{"n":1e999,  "z":1,"a":2},"count":3,"kind":"a","name":"a\u0041"}"#);
    }

    #[test]
    fn complete_data_is_passed_as_it_is() {
        let text = r#"{ "name":"x","count":10,"kind":"b","body":1 }"#;
        assert_eq!(check(text).unwrap(), text);
    }

    #[test]
    fn null_stands_for_absence() {
        let data = check(r#"{"name":"x","count":null,"nested":null,"body":null}"#).unwrap();
        assert_eq!(data, r#"{"body":{},"count":3,"kind":"a","name":"x"}"#);
    }

    #[test]
    fn faults_name_their_field() {
        for (data, text) in [
            ("[]", "Syntax error: data"),
            ("{}", "Missing field: name"),
            (r#"{"name":null}"#, "Syntax error: name"),
            (r#"{"count":"3"}"#, "Syntax error: count"),
            (r#"{"name":"x","count":1.5}"#, "Syntax error: count"),
            (r#"{"name":"x","count":0}"#, "Invalid value: count"),
            (r#"{"name":"x","count":-1}"#, "Invalid value: count"),
            (r#"{"name":"x","count":99999999999999999999}"#, "Invalid value: count"),
            (r#"{"name":"x","kind":"c"}"#, "Invalid value: kind"),
            (r#"{"name":"x","kind":1}"#, "Syntax error: kind"),
            (r#"{"name":"x","nested":{}}"#, "Missing field: nested.key"),
            (r#"{"name":"x","nested":{"key":1}}"#, "Syntax error: nested.key"),
            (r#"{"name":"x","nested":1}"#, "Syntax error: nested"),
            (r#"{"count":0,"nested":{"key":1}}"#, "Syntax error: nested.key"),
            (r#"{"count":0}"#, "Missing field: name"),
        ] {
            assert_eq!(check(data).unwrap_err(), text, "{data}");
        }
    }

    #[test]
    fn the_last_of_a_repeated_field_counts() {
        let data = check(r#"{"name":1,"name":"x","count":1,"kind":"a","body":{}}"#).unwrap();
        assert_eq!(data, r#"{"body":{},"count":1,"kind":"a","name":"x"}"#);
    }

    #[test]
    fn unknown_fields_are_told() {
        let schema = DataSchema::compile(&schema_of::<Args>()).unwrap();
        let json = RawJson::from_text(r#"{"name":"x","nmae":1,"zz":2}"#).unwrap();
        let data = Data::from(&json);
        assert_eq!(schema.check(&data).unwrap().unrecognized, ["nmae", "zz"]);
        let open = json!({"type": "object", "additionalProperties": true});
        assert!(DataSchema::compile(&open).unwrap().check(&data).unwrap().unrecognized.is_empty());
        let closed = json!({"type": "object", "additionalProperties": false});
        let error = DataSchema::compile(&closed).unwrap().check(&data).unwrap_err();
        assert_eq!(error.text(), "Invalid value: name");
    }

    #[test]
    fn a_clients_schema_is_bounded() {
        let refused = |schema: Value| DataSchema::compile_bounded(&schema).unwrap_err().text().to_owned();
        let many = |most: usize| (0..most).map(|n| (format!("a{n}"), json!({}))).collect::<Map<_, _>>();
        for schema in [
            json!({"type": "object", "patternProperties": many(65)}),
            json!({"anyOf": [{"patternProperties": many(64)}, {"pattern": "a"}]}),
        ] {
            assert_eq!(refused(schema), "Invalid value: data_schema: more than 64 patterns");
        }
        assert!(DataSchema::compile_bounded(&json!({"patternProperties": many(64)})).is_ok());
        for schema in [
            json!({"$ref": "#"}),
            json!({"type": "object", "properties": {"a": {"allOf": [{"$ref": "#/$defs/x"}]}}}),
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "(a)\\1"}}}),
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "\\w{2000}"}}}),
            json!({"type": "object", "required": "a"}),
            json!({"type": "objekt"}),
            json!(5),
        ] {
            assert!(refused(schema.clone()).starts_with("Invalid value: data_schema"), "{schema}");
        }
        let fine = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "^[a-z]+$"}}});
        assert!(DataSchema::compile_bounded(&fine).is_ok());
    }

    #[test]
    fn rules_for_the_whole_hold() {
        let either = json!({"type": "object", "properties": {"a": {}, "b": {}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
        let schema = DataSchema::compile(&either).unwrap();
        let check = |text: &'static str| {
            schema.check(&Data::from(&RawJson::from_text(text).unwrap())).map(|checked| checked.unrecognized)
        };
        assert!(check(r#"{"a":1}"#).is_ok());
        assert_eq!(check("{}").unwrap_err().text(), "Missing field: a");
        assert!(check(r#"{"a":1,"b":1}"#).is_err());
    }
}
