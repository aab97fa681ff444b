use jackfield_plugin_api::{Accepted, Login, RawJson, RawObject, auth::SECRET_FIELDS};

use crate::auth::Authenticators;

/// Objects nested deeper than this are not kept: nobody needs them, and each level is looked through for secrets.
const DEEPEST: usize = 16;

/// What is kept of a login (protocol §4): `meta` without secrets, the other fields without secrets, and what the
/// authenticator adds.
pub(super) fn keep(login: &mut Login, accepted: &Accepted, authenticators: &Authenticators) -> RawObject {
    let is_secret = |field: &str| {
        SECRET_FIELDS.iter().any(|secret| secret.eq_ignore_ascii_case(field))
            || authenticators.is_secret(field)
    };
    let mut kept = strip(std::mem::take(&mut login.fields), &is_secret, DEEPEST);
    let meta = strip(std::mem::take(&mut login.meta), &is_secret, DEEPEST);
    if !meta.is_empty() {
        kept.insert("meta", meta.to_json());
    }
    for (name, value) in accepted.metadata.iter() {
        kept.insert(name, value.clone());
    }
    kept.retain(|name, _| name != "type" && name != "remote");
    kept
}

fn strip(mut object: RawObject, is_secret: &dyn Fn(&str) -> bool, depth: usize) -> RawObject {
    object.retain(|name, value| !is_secret(name) && (depth > 0 || !value.is_object()));
    let nested: Vec<(String, RawJson)> = object
        .iter()
        .filter(|(_, value)| value.is_object())
        .map(|(name, value)| (name.to_owned(), stripped(value, is_secret, depth)))
        .collect();
    for (name, value) in nested {
        object.insert(name, value);
    }
    object
}

/// An object without secrets; its text stays as it was written where there are none.
fn stripped(value: &RawJson, is_secret: &dyn Fn(&str) -> bool, depth: usize) -> RawJson {
    let Ok(before) = RawObject::parse(value) else { return value.clone() };
    let after = strip(before.clone(), is_secret, depth - 1);
    if after == before { value.clone() } else { after.to_json() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip_text(text: &str) -> String {
        let object = RawObject::parse(&RawJson::from_text(text.to_owned()).unwrap()).unwrap();
        strip(object, &|name| name.eq_ignore_ascii_case("secret"), 3).to_json().as_str().to_owned()
    }

    #[test]
    fn secrets_are_taken_out_at_any_depth_and_the_rest_keeps_its_text() {
        assert_eq!(strip_text(r#"{"a": 1.0, "Secret": 2}"#), r#"{"a":1.0}"#);
        assert_eq!(strip_text(r#"{"a": {"b":  1, "secret": 2}}"#), r#"{"a":{"b":1}}"#);
        assert_eq!(strip_text(r#"{"a": {"b":  1}}"#), r#"{"a":{"b":  1}}"#);
    }

    #[test]
    fn what_is_nested_too_deep_is_dropped() {
        assert_eq!(strip_text(r#"{"1":{"2":{"3":{"4":{"secret":1}}}}}"#), r#"{"1":{"2":{"3":{}}}}"#);
    }
}
