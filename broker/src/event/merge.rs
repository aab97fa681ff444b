use jackfield_plugin_api::{RawJson, RawObject};

/// The body of an event for a subscription with a body of its own (protocol §5): two objects are merged at the top
/// level, the event's keys winning; an empty event body gives way; else the event's stands.
pub fn merge(event: &RawJson, subscription: &RawJson) -> RawJson {
    if event.is_empty() {
        return subscription.clone();
    }
    if subscription.is_empty() {
        return event.clone();
    }
    let (Ok(mut merged), Ok(below)) = (RawObject::parse(event), RawObject::parse(subscription)) else {
        return event.clone();
    };
    for (key, value) in below.iter() {
        if merged.get(key).is_none() {
            merged.insert(key, value.clone());
        }
    }
    merged.to_json()
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
            assert_eq!(merge(&json(event), &json(subscription)).as_str(), merged, "{event} {subscription}");
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
            let merged = merge(&text(event), &text(subscription));
            prop_assert_eq!(merged.parse::<Value>().unwrap(), Value::Object(expected));
        }
    }
}
