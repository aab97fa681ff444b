use jackfield_plugin_api::{Accepted, Error, Login, RawJson, RawObject, auth::SECRET_FIELDS};

use crate::auth::Authenticators;

/// Deeper nesting is refused, as JSON readers do: each level is looked through for secrets.
const DEEPEST: usize = 128;

/// What is kept of a login (protocol §4): `meta` without secrets, the other fields without secrets, and what the
/// authenticator adds. It has memory of its own: the login's message, with the password in it, is let go.
///
/// # Errors
/// `invalid_value` for what is nested too deep.
pub(super) fn keep(
    login: &mut Login,
    accepted: &Accepted,
    authenticators: &Authenticators,
) -> Result<RawObject, Error> {
    let is_secret = |field: &str| {
        SECRET_FIELDS.iter().any(|secret| secret.eq_ignore_ascii_case(field))
            || authenticators.is_secret(field)
    };
    let mut kept = strip(&std::mem::take(&mut login.fields), &is_secret, DEEPEST)?;
    let meta = strip(&std::mem::take(&mut login.meta), &is_secret, DEEPEST)?;
    if !meta.is_empty() {
        kept.insert("meta", meta.to_json());
    }
    for (name, value) in accepted.metadata.iter() {
        kept.insert(name.to_owned(), value.clone());
    }
    kept.retain(|name, _| name != "type" && name != "remote");
    RawObject::parse(&kept.to_json()).map_err(Error::syntax)
}

type IsSecret<'a> = &'a dyn Fn(&str) -> bool;

fn strip(object: &RawObject, is_secret: IsSecret<'_>, depth: usize) -> Result<RawObject, Error> {
    let mut stripped = RawObject::default();
    for (name, value) in object.iter().filter(|(name, _)| !is_secret(name)) {
        stripped.insert(name.to_owned(), strip_value(value, is_secret, depth)?);
    }
    Ok(stripped)
}

/// A value without secrets; its text stays as it was written where there are none.
fn strip_value(value: &RawJson, is_secret: IsSecret<'_>, depth: usize) -> Result<RawJson, Error> {
    let is_array = value.as_str().starts_with('[');
    if !is_array && !value.is_object() {
        return Ok(value.clone());
    }
    let Some(depth) = depth.checked_sub(1) else { return Err(Error::invalid_value("meta")) };
    if is_array {
        return strip_array(value, is_secret, depth);
    }
    let before = RawObject::parse(value).map_err(Error::syntax)?;
    let after = strip(&before, is_secret, depth)?;
    Ok(if after == before { value.clone() } else { after.to_json() })
}

fn strip_array(value: &RawJson, is_secret: IsSecret<'_>, depth: usize) -> Result<RawJson, Error> {
    let before: Vec<RawJson> = value.parse().map_err(Error::syntax)?;
    let after =
        before.iter().map(|item| strip_value(item, is_secret, depth)).collect::<Result<Vec<_>, _>>()?;
    if after == before {
        return Ok(value.clone());
    }
    let items: Vec<&str> = after.iter().map(RawJson::as_str).collect();
    RawJson::from_text(format!("[{}]", items.join(","))).map_err(Error::syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip_text(text: &str) -> Result<String, Error> {
        let object = RawObject::parse(&RawJson::from_text(text.to_owned()).unwrap()).unwrap();
        strip(&object, &|name| name.eq_ignore_ascii_case("secret"), 3)
            .map(|kept| kept.to_json().as_str().to_owned())
    }

    #[test]
    fn secrets_are_taken_out_at_any_depth_and_the_rest_keeps_its_text() {
        for (given, kept) in [
            (r#"{"a": 1.0, "Secret": 2}"#, r#"{"a":1.0}"#),
            (r#"{"a": {"b":  1, "secret": 2}}"#, r#"{"a":{"b":1}}"#),
            (r#"{"a": {"b":  1}}"#, r#"{"a":{"b":  1}}"#),
            (r#"{"a": [1e999, {"secret": 2, "b": 1}]}"#, r#"{"a":[1e999,{"b":1}]}"#),
            (r#"{"a": [ 1 ]}"#, r#"{"a":[ 1 ]}"#),
        ] {
            assert_eq!(strip_text(given).unwrap(), kept);
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        assert!(strip_text(r#"{"1":{"2":[{"4":1}]}}"#).is_ok());
        assert!(strip_text(r#"{"1":{"2":[{"4":{}}]}}"#).is_err());
    }
}
