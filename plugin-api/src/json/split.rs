use std::borrow::Cow;

use smallvec::SmallVec;

use super::RawJson;

/// The fields of an object, in their order: names without their escapes, values as they stand in the text.
pub(crate) type Fields<'a> = SmallVec<[(Cow<'a, str>, &'a str); 8]>;

/// Splits an object's text into its fields; `None` for what is no object. That the text is valid is known, so nothing
/// is judged here, only found.
pub(crate) fn fields(json: &RawJson) -> Option<Fields<'_>> {
    let mut rest = Rest { text: json.as_str(), at: 0 };
    let mut fields = Fields::new();
    rest.skip(b'{')?;
    while let Some(b'"') = rest.peek() {
        let name = rest.value()?;
        rest.skip(b':')?;
        rest.peek()?;
        fields.push((unescaped(name)?, rest.value()?));
        if rest.skip(b',').is_none() {
            break;
        }
    }
    rest.skip(b'}').map(|()| fields)
}

fn unescaped(string: &str) -> Option<Cow<'_, str>> {
    let plain = string.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', plain.as_bytes()).is_none() {
        return Some(Cow::Borrowed(plain));
    }
    serde_json::from_str(string).ok().map(Cow::Owned)
}

/// What has not been looked at.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    /// The next byte that is no white space, left where it is.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                other => return Some(other),
            }
        }
    }

    /// Passes over the next byte that is no white space, where it is this one.
    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The value that begins here.
    fn value(&mut self) -> Option<&'a str> {
        let start = self.at;
        match self.byte()? {
            b'"' => self.pass_string()?,
            b'{' => self.pass_nested(b'{', b'}')?,
            b'[' => self.pass_nested(b'[', b']')?,
            _ => self.pass_scalar(),
        }
        self.text.get(start..self.at)
    }

    fn pass_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            self.at += memchr::memchr2(b'"', b'\\', self.bytes())?;
            if self.byte()? == b'"' {
                self.at += 1;
                return Some(());
            }
            self.at += 2;
        }
    }

    /// In valid text brackets of one kind match whatever stands between them, strings apart.
    fn pass_nested(&mut self, open: u8, close: u8) -> Option<()> {
        let mut depth = 0;
        loop {
            self.at += memchr::memchr3(b'"', open, close, self.bytes())?;
            match self.byte()? {
                b'"' => {
                    self.pass_string()?;
                    continue;
                }
                byte if byte == open => depth += 1,
                _ => depth -= 1,
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn pass_scalar(&mut self) {
        let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
        let bytes = self.bytes();
        self.at += bytes.iter().position(is_end).unwrap_or(bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn split(text: &str) -> Option<Vec<(String, String)>> {
        let json = RawJson::from_text(text.to_owned()).unwrap();
        let owned = |(name, value): (Cow<'_, str>, &str)| (name.into_owned(), value.to_owned());
        fields(&json).map(|fields| fields.into_iter().map(owned).collect())
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
        for text in ["[]", "1", "\"{}\"", "null"] {
            assert_eq!(split(text), None, "{text}");
        }
        assert_eq!(split(" { } ").unwrap(), []);
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
