use std::borrow::Cow;

use smallvec::SmallVec;

use super::{JsonText, special};

/// Goes through JSON text from left to right without making anything of it. Who knows what is to come says so, and
/// gets `None` for anything else; what stands where a value is to be is judged as RFC 8259 has it.
///
/// For a message or for data, of which most is passed on as it is, this is a fraction of a parser's work.
///
/// ```
/// use jackfield_plugin_api::json::Scan;
///
/// let mut scan = Scan::new(r#"{"id": 7, "data": [1.50, {"x": null}]}"#);
/// scan.skip(b'{').unwrap();
/// assert_eq!(scan.string().unwrap(), "id");
/// scan.skip(b':').unwrap();
/// assert_eq!(scan.value().unwrap().as_str(), "7");
/// scan.skip(b',').unwrap();
/// assert_eq!(scan.string().unwrap(), "data");
/// scan.skip(b':').unwrap();
/// assert_eq!(scan.value().unwrap().as_str(), r#"[1.50, {"x": null}]"#);
/// scan.skip(b'}').unwrap();
/// assert!(scan.is_at_end());
/// ```
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    /// Begins where the text does.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no white space, left where it is.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Passes over the next byte that is no white space, where it is this one.
    #[inline]
    pub fn skip(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Whether nothing but white space is left.
    pub fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// The value that comes next.
    pub fn value(&mut self) -> Option<JsonText<'a>> {
        let first = self.peek()?;
        let start = self.at;
        let has_escapes = match first {
            b'"' => self.pass_string()?,
            b'{' | b'[' => {
                self.pass_nested()?;
                true
            }
            _ => {
                self.pass_scalar(first)?;
                true
            }
        };
        let text = self.text.get(start..self.at)?;
        Some(if has_escapes { JsonText::of_any(text) } else { JsonText::of_plain_string(text) })
    }

    /// The object that comes next: `field` passes over the value of each.
    pub fn object(&mut self, mut field: impl FnMut(&mut Self, Cow<'a, str>) -> Option<()>) -> Option<()> {
        self.skip(b'{')?;
        if self.skip(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.skip(b':')?;
            field(self, name)?;
            if self.skip(b',').is_none() {
                return self.skip(b'}');
            }
        }
    }

    /// What the string says that comes next: an object's field's name. `None` also for one that means nothing; see
    /// [`JsonText::text`].
    pub fn string(&mut self) -> Option<Cow<'a, str>> {
        self.peek()?;
        let start = self.at;
        if self.pass_string()? {
            return serde_json::from_str(self.text.get(start..self.at)?).ok().map(Cow::Owned);
        }
        self.text.get(start + 1..self.at - 1).map(Cow::Borrowed)
    }

    /// The object that a scan which began like this one has passed over since then.
    pub(super) fn passed_by(&self, later: &Self) -> Option<JsonText<'a>> {
        self.text.get(self.at..later.at).map(JsonText::of_any)
    }

    fn pass_scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b't' => self.pass_word("true"),
            b'f' => self.pass_word("false"),
            b'n' => self.pass_word("null"),
            _ => self.pass_number(),
        }
    }

    fn pass_word(&mut self, word: &str) -> Option<()> {
        self.rest().starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    /// Passes over a string, and says whether it has escapes.
    #[inline]
    fn pass_string(&mut self) -> Option<bool> {
        let bytes = self.text.as_bytes();
        if *bytes.get(self.at)? != b'"' {
            return None;
        }
        self.at = special::find(bytes, self.at + 1)?;
        if bytes.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Some(false);
        }
        self.pass_escapes()
    }

    /// The same from the first escape on.
    #[cold]
    fn pass_escapes(&mut self) -> Option<bool> {
        loop {
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    return Some(true);
                }
                b'\\' => self.pass_escape()?,
                _ => return None,
            }
            self.at = special::find(self.text.as_bytes(), self.at)?;
        }
    }

    /// An escape that means nothing (half of a surrogate pair) is JSON nevertheless.
    fn pass_escape(&mut self) -> Option<()> {
        let digits = match self.rest().get(1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 0,
            b'u' => 4,
            _ => return None,
        };
        self.at += 2;
        let hex = self.rest().get(..digits)?;
        hex.iter().all(u8::is_ascii_hexdigit).then(|| self.at += digits)
    }

    fn pass_number(&mut self) -> Option<()> {
        self.pass_if(|byte| byte == b'-');
        if !self.pass_if(|byte| byte == b'0') {
            self.pass_digits()?;
        }
        if self.pass_if(|byte| byte == b'.') {
            self.pass_digits()?;
        }
        if self.pass_if(|byte| matches!(byte, b'e' | b'E')) {
            self.pass_if(|byte| matches!(byte, b'+' | b'-'));
            self.pass_digits()?;
        }
        Some(())
    }

    /// One digit or more.
    fn pass_digits(&mut self) -> Option<()> {
        let digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        (digits > 0).then_some(())
    }

    fn pass_if(&mut self, is_wanted: impl Fn(u8) -> bool) -> bool {
        let is_there = self.byte().is_some_and(is_wanted);
        self.at += usize::from(is_there);
        is_there
    }

    /// An object or a list, however deep.
    fn pass_nested(&mut self) -> Option<()> {
        // What each that is open will be closed with.
        let mut open = SmallVec::<[u8; 32]>::new();
        loop {
            let first = self.peek()?;
            match first {
                b'{' | b'[' => {
                    self.at += 1;
                    let close = first + 2;
                    if self.skip(close).is_none() {
                        open.push(close);
                        self.pass_name(close)?;
                        continue;
                    }
                }
                b'"' => drop(self.pass_string()?),
                _ => self.pass_scalar(first)?,
            }
            loop {
                let Some(close) = open.last().copied() else { return Some(()) };
                let next = self.peek()?;
                self.at += 1;
                if next == b',' {
                    self.pass_name(close)?;
                    break;
                }
                if next != close {
                    return None;
                }
                open.pop();
            }
        }
    }

    /// The name of a value that is in an object.
    #[inline]
    fn pass_name(&mut self, close: u8) -> Option<()> {
        if close == b'}' {
            self.peek()?;
            self.pass_string()?;
            self.skip(b':')?;
        }
        Some(())
    }
}

/// Whether a string that says this is written without escapes.
pub fn is_plain(text: &str) -> bool {
    special::find(text.as_bytes(), 0).is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// What is found where a text begins with a value; a text that holds more is judged up to there.
    fn scanned(text: &str) -> Option<&str> {
        Scan::new(text).value().map(JsonText::as_str)
    }

    fn is_json(text: &str) -> bool {
        let mut scan = Scan::new(text);
        scan.value().is_some() && scan.is_at_end()
    }

    #[test]
    fn numbers_and_words() {
        for good in ["0", "-0", "10", "1.5", "1e9", "1E+09", "-1.0e-1", "1e999", "true", "false", "null"] {
            assert!(is_json(good), "{good}");
        }
        for bad in ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "0x1", "tru", "nulls", "True", "NaN"] {
            assert!(!is_json(bad), "{bad}");
        }
    }

    #[test]
    fn brackets() {
        for good in ["{}", "[]", " [ ] ", "{\"a\":[{}]}", "[[],[[]]]", "{\"\":{\"\":0}}"] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "{",
            "[",
            "{]",
            "[}",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "[1 2]",
            "[]]",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
        let deep = |open, close| ["[".repeat(open), "]".repeat(close)].concat();
        assert!(is_json(&deep(100_000, 100_000)));
        assert!(!is_json(&deep(100_000, 99_999)) && !is_json(&deep(99_999, 100_000)));
    }

    #[test]
    fn a_string_ends_at_its_quote_wherever_it_stands() {
        for length in 0..100 {
            let text = format!("\"{}\",", "é".repeat(length));
            assert_eq!(scanned(&text), text.strip_suffix(','));
            for special in ["\\n", "\\u00e9", "\\ud800", "\\\\", "\\\""] {
                let text = format!("\"{}{special}{}\"", "x".repeat(length), "y".repeat(100 - length));
                assert!(is_json(&text), "{text}");
            }
            for special in ["\n", "\u{0}", "\u{1f}", "\\x", "\\u12g4", "\"", "\\"] {
                let text = format!("\"{}{special}", "x".repeat(length));
                assert!(!is_json(&text) || special == "\"", "{text:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn it_says_what_the_parser_says(
            parts in proptest::collection::vec(
                "[\\[\\]{}:,]|\"[a-zé\\\\\"\n]{0,20}\"|\"[a-z]{0,60}\"|\"\\\\u[0-9a-g]{3,4}\"|-?[0-9.eE+-]{1,6}|true|null|[ \n]",
                0..10,
            ),
        ) {
            let text = parts.concat();
            prop_assert_eq!(is_json(&text), serde_json::from_str::<&RawValue>(&text).is_ok(), "{}", text);
        }

        #[test]
        fn any_string_is_found(string: String, behind: String) {
            let json = serde_json::to_string(&string).unwrap();
            let text = format!("{json}{behind}");
            prop_assert_eq!(scanned(&text), Some(json.as_str()));
        }
    }
}
