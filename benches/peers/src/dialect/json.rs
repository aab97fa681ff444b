//! The fields of a JSON object, as text. Trusts the broker to send JSON: a load generator that parses is half the load.

/// Goes through an object's fields.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

/// The fields of this object, in its order.
pub(crate) fn fields(object: &[u8]) -> Fields<'_> {
    Fields { rest: object.strip_prefix(b"{").unwrap_or_default() }
}

/// The value of one field.
pub(crate) fn field<'a>(object: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    fields(object).find_map(|(key, value)| (key == name).then_some(value))
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let key_on = self.rest.strip_prefix(b",").unwrap_or(self.rest).strip_prefix(b"\"")?;
        let (key, rest) = key_on.split_at_checked(memchr::memchr(b'"', key_on)?)?;
        let rest = rest.strip_prefix(b"\":")?;
        let (value, rest) = rest.split_at_checked(value_length(rest)?)?;
        self.rest = rest;
        Some((key, value))
    }
}

fn value_length(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'"' => string_length(text),
        b'{' | b'[' => nested_length(text),
        _ => text.iter().position(|byte| matches!(byte, b',' | b'}' | b']')),
    }
}

fn string_length(text: &[u8]) -> Option<usize> {
    let mut end = 1;
    loop {
        end += memchr::memchr2(b'"', b'\\', text.get(end..)?)?;
        if text.get(end) == Some(&b'"') {
            return Some(end + 1);
        }
        end += 2;
    }
}

fn nested_length(text: &[u8]) -> Option<usize> {
    let mut depth = 0;
    let mut place = 0;
    loop {
        match text.get(place)? {
            b'"' => place += string_length(text.get(place..)?)? - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        place += 1;
        if depth == 0 {
            return Some(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_order() {
        let object = br#"{"a":"x\"}\\","b":{"c":[1,{"d":"]}"}],"e":2},"tid":-7.5,"f":null}"#;
        let found: Vec<_> = fields(object).collect();
        let expected: [(&[u8], &[u8]); 4] = [
            (b"a", br#""x\"}\\""#),
            (b"b", br#"{"c":[1,{"d":"]}"}],"e":2}"#),
            (b"tid", b"-7.5"),
            (b"f", b"null"),
        ];
        assert_eq!(found, expected);
        assert_eq!(field(field(object, b"b").unwrap(), b"e"), Some(&b"2"[..]));
        assert_eq!(field(object, b"c"), None);
    }
}
