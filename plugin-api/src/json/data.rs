use std::{borrow::Cow, cell::OnceCell, fmt};

use super::{JsonText, RawJson, Scan};

/// A field of an object: its name without escapes, and its value.
pub(crate) type Field<'a> = (Cow<'a, str>, JsonText<'a>);

/// Few objects have more fields.
const USUAL: usize = 8;

/// Of an object with more fields these are not told apart before somebody asks for them: they take more memory than the
/// text does.
const MOST: usize = 64;

/// What came as a request's data, where it was received: its text and, of an object, the fields in their order.
///
/// ```
/// use jackfield_plugin_api::{RawJson, json::Data};
///
/// let json = RawJson::from_text(r#"{"name": "ann", "more": [1.50]}"#)?;
/// let data = Data::from(&json);
/// assert_eq!(data.to_json(), json);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Data<'a> {
    text: JsonText<'a>,
    /// `None` for what is no object; empty as long as nobody has looked.
    fields: OnceCell<Option<Vec<Field<'a>>>>,
}

impl<'a> Data<'a> {
    /// A value that nobody has looked into, and perhaps nobody will.
    pub fn whole(text: JsonText<'a>) -> Self {
        Self { text, fields: OnceCell::new() }
    }

    /// The text.
    pub fn text(&self) -> JsonText<'a> {
        self.text
    }

    /// The same in memory of its own.
    pub fn to_json(&self) -> RawJson {
        self.text.to_json()
    }

    /// `None` for what is no object.
    pub(crate) fn fields(&self) -> Option<&[Field<'a>]> {
        self.fields.get_or_init(|| Scan::new(self.text.as_str()).fields(usize::MAX)).as_deref()
    }
}

impl Default for Data<'_> {
    fn default() -> Self {
        Self::whole(JsonText::default())
    }
}

impl<'a> From<&'a RawJson> for Data<'a> {
    fn from(json: &'a RawJson) -> Self {
        Self::whole(JsonText::from(json))
    }
}

impl fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.text.as_str().len())
    }
}

impl<'a> Scan<'a> {
    /// The value that comes next, and its fields where it is an object that has not too many.
    pub fn data(&mut self) -> Option<Data<'a>> {
        self.peek()?;
        let mut scan = self.clone();
        if let Some(fields) = scan.fields(MOST) {
            let text = self.passed_by(&scan)?;
            *self = scan;
            return Some(Data { text, fields: OnceCell::from(Some(fields)) });
        }
        self.value().map(Data::whole)
    }

    /// The fields of the object that comes next. `None` also where there are more than `most`, or where one has a name
    /// that means nothing; see [`JsonText::text`].
    fn fields(&mut self, most: usize) -> Option<Vec<Field<'a>>> {
        let mut fields = Vec::new();
        self.object(|scan, name| {
            if fields.is_empty() {
                fields.reserve(USUAL);
            }
            fields.push((name, scan.value()?));
            (fields.len() <= most).then_some(())
        })?;
        Some(fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn split(text: &str) -> Option<Vec<(String, String)>> {
        let json = RawJson::from_text(text.to_owned()).unwrap();
        let data = Data::from(&json);
        let owned = |(name, value): &Field<'_>| (name.to_string(), value.as_str().to_owned());
        data.fields().map(|fields| fields.iter().map(owned).collect())
    }

    #[test]
    fn what_stands_between_brackets_is_passed_over() {
        let text =
            r#" { "a" : [1, "]\"[", {"x": "}"}] , "\u0062":-1.5e9 ,"c\"":"\\\"","d":{"{":[{}]}, "e":null } "#;
        let expected = [
            ("a", r#"[1, "]\"[", {"x": "}"}]"#),
            ("b", "-1.5e9"),
            ("c\"", r#""\\\"""#),
            ("d", r#"{"{":[{}]}"#),
            ("e", "null"),
        ];
        assert_eq!(split(text).unwrap(), expected.map(|(name, value)| (name.into(), value.into())));
    }

    #[test]
    fn what_is_no_object_has_no_fields() {
        for text in ["[]", "1", "\"{}\"", "null", r#"{"\ud800":1}"#] {
            assert_eq!(split(text), None, "{text}");
        }
        assert_eq!(split(" { } ").unwrap(), []);
    }

    #[test]
    fn its_text_is_what_was_scanned() {
        let mut scan = Scan::new(r#" {"a":{"b":[]} } ,7"#);
        assert_eq!(scan.data().unwrap().text().as_str(), r#"{"a":{"b":[]} }"#);
        scan.skip(b',').unwrap();
        assert_eq!(scan.data().unwrap().text().as_str(), "7");
        assert!(scan.data().is_none());
    }

    #[test]
    fn many_fields_are_found_when_they_are_asked_for() {
        for count in [MOST, MOST + 1, 10 * MOST] {
            let text = format!("{{{}}}", vec!["\"a\":1"; count].join(","));
            let mut scan = Scan::new(&text);
            let data = scan.data().unwrap();
            assert!(scan.is_at_end());
            assert_eq!(data.fields.get().is_some(), count <= MOST);
            assert_eq!(data.fields().unwrap().len(), count);
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ \\[\\]{}\"\\\\,:é\n]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a\"\\\\{]{0,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn fields_are_what_the_parser_says(map in proptest::collection::btree_map("[a-c\"\\\\{]{0,3}", value(), 0..6)) {
            let map: Map<String, Value> = map.into_iter().collect();
            for text in [serde_json::to_string(&map).unwrap(), serde_json::to_string_pretty(&map).unwrap()] {
                let found: Map<String, Value> = split(&text)
                    .unwrap()
                    .into_iter()
                    .map(|(name, value)| (name, serde_json::from_str(&value).unwrap()))
                    .collect();
                prop_assert_eq!(&found, &map);
            }
        }
    }
}
