//! What the commonest schemas say beyond a type, judged on the text. Making `jsonschema` ready takes milliseconds and
//! megabytes; a broker whose commands say no more than this never does.

use serde_json::{Map, Value};

use super::Types;

/// The range of a number, the length of a string, the strings to choose from.
#[derive(Default)]
pub(super) struct Bounds {
    least: Option<f64>,
    most: Option<f64>,
    shortest: Option<u64>,
    longest: Option<u64>,
    choices: Option<Vec<Box<str>>>,
}

impl Bounds {
    /// The types and the bounds that a schema allows; none where it says more than that, or is no schema. `plain` are
    /// the keywords that do not matter here.
    pub(super) fn of(schema: &Map<String, Value>, plain: &[&str]) -> Option<(Types, Self)> {
        let (mut types, mut bounds) = (Types::ALL, Self::default());
        if let Some(keyword) = schema.get("type") {
            types = Types::known(keyword)?;
        }
        for (key, value) in schema {
            match key.as_str() {
                "minimum" => bounds.least = Some(exact(value)?),
                "maximum" => bounds.most = Some(exact(value)?),
                "minLength" => bounds.shortest = Some(value.as_u64()?),
                "maxLength" => bounds.longest = Some(value.as_u64()?),
                "enum" if bounds.choices.is_none() => bounds.choices = Some(strings(value)?),
                "oneOf" if bounds.choices.is_none() && !schema.contains_key("type") => {
                    bounds.choices = Some(constants(value)?);
                    types = Types::STRING;
                }
                "additionalProperties" if *value == Value::Bool(true) => {}
                key if plain.contains(&key) => {}
                _ => return None,
            }
        }
        Some((types, bounds))
    }

    /// Whether a value of the right type is within them.
    pub(super) fn admit(&self, raw: &str) -> bool {
        match raw.bytes().next() {
            Some(b'"') => serde_json::from_str::<String>(raw).is_ok_and(|text| self.admit_text(&text)),
            Some(b'-' | b'0'..=b'9') => self.choices.is_none() && self.admit_number(raw),
            _ => self.choices.is_none(),
        }
    }

    fn admit_text(&self, text: &str) -> bool {
        if let Some(choices) = &self.choices
            && !choices.iter().any(|choice| **choice == *text)
        {
            return false;
        }
        if self.shortest.is_none() && self.longest.is_none() {
            return true;
        }
        let length = text.chars().count() as u64;
        self.shortest.is_none_or(|least| length >= least) && self.longest.is_none_or(|most| length <= most)
    }

    /// A number that no type of ours holds is never admitted.
    fn admit_number(&self, raw: &str) -> bool {
        let Some(number) = raw.parse::<f64>().ok().filter(|number| number.is_finite()) else { return false };
        self.least.is_none_or(|least| number >= least) && self.most.is_none_or(|most| number <= most)
    }
}

/// A bound to which any number can be compared after it was rounded.
fn exact(value: &Value) -> Option<f64> {
    const EXACT: f64 = (1_u64 << 53) as f64;
    value.as_f64().filter(|bound| bound.abs() < EXACT)
}

/// The strings of an `enum`, each of them once.
fn strings(value: &Value) -> Option<Vec<Box<str>>> {
    let choices: Vec<&str> = value.as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?;
    let once = choices
        .iter()
        .enumerate()
        .all(|(place, choice)| choices.iter().position(|other| other == choice) == Some(place));
    (!choices.is_empty() && once).then(|| choices.into_iter().map(Box::from).collect())
}

/// The strings of a `oneOf`, each of which allows one.
fn constants(value: &Value) -> Option<Vec<Box<str>>> {
    let constant = |branch: &Value| {
        let branch = branch.as_object()?;
        let known = |key: &String| matches!(key.as_str(), "const" | "type" | "description" | "title");
        let is_string = branch.get("type").and_then(Value::as_str) == Some("string");
        (is_string && branch.keys().all(known)).then(|| branch.get("const").cloned())?
    };
    strings(&Value::Array(value.as_array()?.iter().map(constant).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: &[&str] = &["type", "description"];

    fn bounds(schema: &Value) -> Option<Bounds> {
        Bounds::of(schema.as_object().unwrap(), PLAIN).map(|(_, bounds)| bounds)
    }

    /// Schemas that have bounds, and values on either side of them.
    fn cases() -> Vec<(Value, Vec<Value>)> {
        vec![
            (
                json!({"type": "integer", "minimum": 1, "maximum": 10}),
                vec![
                    json!(0),
                    json!(1),
                    json!(10),
                    json!(11),
                    json!(-1),
                    json!(u64::MAX),
                    json!(10.0),
                    json!(1e300),
                ],
            ),
            (
                json!({"type": "number", "minimum": 0.01, "maximum": 60.0}),
                vec![json!(0), json!(0.01), json!(0.009_999), json!(60), json!(60.000_001), json!(-0.0)],
            ),
            (
                json!({"type": "string", "minLength": 1, "maxLength": 3}),
                vec![
                    json!(""),
                    json!("a"),
                    json!("äöü"),
                    json!("äöü "),
                    json!("\u{1f600}\u{1f600}\u{1f600}"),
                    json!("\"\\\n"),
                ],
            ),
            (json!({"type": ["string", "null"], "minLength": 2}), vec![json!(null), json!("a"), json!("ab")]),
            (
                json!({"maxLength": 1, "maximum": 5}),
                vec![json!(true), json!([1, 2]), json!("ab"), json!(6), json!(5)],
            ),
            (
                json!({"type": "string", "enum": ["a", "b"]}),
                vec![json!("a"), json!("b"), json!("c"), json!("")],
            ),
            (json!({"enum": ["1"]}), vec![json!("1"), json!(1), json!(null), json!(["1"])]),
            (
                json!({"oneOf": [{"type": "string", "const": "a"}, {"type": "string", "const": "b", "description": "B"}]}),
                vec![json!("a"), json!("b"), json!("ab"), json!("")],
            ),
            (
                json!({"type": ["object", "null"], "additionalProperties": true}),
                vec![json!({"a": 1}), json!({})],
            ),
        ]
    }

    #[test]
    fn bounds_judge_as_jsonschema_does() {
        for (schema, values) in cases() {
            let (bounds, validator) = (bounds(&schema).unwrap(), jsonschema::validator_for(&schema).unwrap());
            for value in values {
                assert_eq!(bounds.admit(&value.to_string()), validator.is_valid(&value), "{schema}: {value}");
            }
        }
    }

    #[test]
    fn numbers_that_fit_no_type_are_not_admitted() {
        let bounds = bounds(&json!({"minimum": 1})).unwrap();
        assert!(!bounds.admit("1e999"));
        assert!(!bounds.admit("-1e999"));
        assert!(bounds.admit("1e300"));
    }

    #[test]
    fn what_says_more_is_left_to_jsonschema() {
        for schema in [
            json!({"type": "string", "pattern": "a"}),
            json!({"type": "objekt", "minimum": 1}),
            json!({"type": ["string", 5], "minLength": 1}),
            json!({"type": "string", "minLength": "1"}),
            json!({"type": "string", "maxLength": -1}),
            json!({"maximum": u64::MAX}),
            json!({"enum": ["a", null]}),
            json!({"enum": ["a", "a"]}),
            json!({"enum": []}),
            json!({"enum": ["a"], "oneOf": [{"type": "string", "const": "a"}]}),
            json!({"type": "string", "oneOf": [{"type": "string", "const": "a"}]}),
            json!({"oneOf": [{"const": "a"}]}),
            json!({"oneOf": [{"type": "string", "const": "a", "minLength": 1}]}),
            json!({"oneOf": [{"type": "string"}]}),
            json!({"additionalProperties": false}),
        ] {
            assert!(bounds(&schema).is_none(), "{schema}");
        }
    }
}
