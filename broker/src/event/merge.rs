use std::sync::Arc;

use jackfield_plugin_api::{RawJson, RawObject};

/// The body of a subscription, taken apart once.
#[derive(Clone)]
pub struct Body(Option<Arc<Parsed>>);

struct Parsed {
    json: RawJson,
    object: Option<RawObject>,
}

impl Body {
    /// Takes a body apart.
    pub fn new(json: &RawJson) -> Self {
        let parsed = || Parsed { json: json.clone(), object: RawObject::parse(json).ok() };
        Self((!json.is_empty()).then(|| Arc::new(parsed())))
    }

    /// One that says nothing.
    pub const fn empty() -> Self {
        Self(None)
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this says the same as another.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one.json == other.json,
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// An event's body for this subscription (protocol §5): two objects are merged at the top level, the event's
    /// keys winning; an empty event body gives way; else the event's stands.
    pub fn merge(&self, event: &RawJson) -> RawJson {
        let Some(own) = &self.0 else { return event.clone() };
        if event.is_empty() {
            return own.json.clone();
        }
        let Some(below) = own.object.as_ref().filter(|_| event.is_object()) else { return event.clone() };
        let Ok(mut merged) = RawObject::parse(event) else { return event.clone() };
        for (key, value) in below.iter() {
            if merged.get(key).is_none() {
                merged.insert(key, value.clone());
            }
        }
        merged.to_json()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn json(text: &str) -> RawJson {
        RawJson::from_text(text.to_owned()).unwrap()
    }

    #[test]
    fn bodies() {
        for (event, subscription, merged) in [
            ("{}", "{}", "{}"),
            ("{}", r#"{"a":1}"#, r#"{"a":1}"#),
            ("null", "5", "5"),
            ("5", r#"{"a":1}"#, "5"),
            (r#"{"a":1}"#, "5", r#"{"a":1}"#),
            (r#"{"a":1e999}"#, r#"{"a":2,"b":1.0}"#, r#"{"a":1e999,"b":1.0}"#),
            ("[]", r#"{"a":1}"#, "[]"),
        ] {
            assert_eq!(
                Body::new(&json(subscription)).merge(&json(event)).as_str(),
                merged,
                "{event} {subscription}"
            );
        }
    }

    fn object() -> impl Strategy<Value = Map<String, Value>> {
        let value = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[a-z\"\\\\]{0,3}".prop_map(Value::from)
        ];
        proptest::collection::btree_map("[a-d\"é]{0,2}", value, 0..5)
            .prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn merging_is_as_the_naive_model_does_it(event in object(), subscription in object()) {
            let mut expected = subscription.clone();
            expected.extend(event.clone());
            let text = |map: Map<String, Value>| json(&Value::Object(map).to_string());
            let merged = Body::new(&text(subscription)).merge(&text(event));
            prop_assert_eq!(merged.parse::<Value>().unwrap(), Value::Object(expected));
        }
    }
}
