use serde_json::value::RawValue;

use super::envelope::Fields;

/// Takes a message apart whose names and ids are plain: known fields, strings without escapes, whole numbers. `None`
/// for every other, be it only that it is none: the parser says then. What lies in `data` is the parser's in any case.
///
/// Most messages are plain, and this is less work than the parser's: see docs/performance.md.
pub(super) fn fields(text: &str) -> Option<Fields<'_>> {
    let mut rest = Rest { text, at: 0 };
    let mut fields = Fields::default();
    rest.skip(b'{')?;
    if rest.peek()? != b'}' {
        loop {
            rest.field(&mut fields)?;
            if rest.skip(b',').is_none() {
                break;
            }
        }
    }
    rest.skip(b'}')?;
    rest.peek().is_none().then_some(fields)
}

/// What has not been looked at.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no white space, left where it is.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Passes over the next byte that is no white space, where it is this one.
    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// One field, of a repeated one the last.
    fn field(&mut self, fields: &mut Fields<'a>) -> Option<()> {
        self.peek()?;
        let name = self.string()?;
        self.skip(b':')?;
        let place = match name {
            "\"class\"" => &mut fields.class,
            "\"subclass\"" => &mut fields.subclass,
            "\"cmd\"" => &mut fields.cmd,
            "\"tid\"" => &mut fields.tid,
            "\"result\"" => &mut fields.result,
            "\"ack\"" => &mut fields.ack,
            "\"data\"" => {
                fields.data = Some(self.any()?);
                return Some(());
            }
            _ => return None,
        };
        *place = Some(if self.peek()? == b'"' { self.string()? } else { self.number()? });
        Some(())
    }

    /// A string without escapes, with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        if self.byte()? != b'"' {
            return None;
        }
        let bytes = self.text.as_bytes().get(start + 1..)?;
        let end = bytes.iter().position(|byte| *byte == b'"' || *byte == b'\\' || *byte < b' ')?;
        self.at = start + 1 + end;
        if self.byte()? != b'"' {
            return None;
        }
        self.at += 1;
        self.text.get(start..self.at)
    }

    /// A whole number that is not negative.
    fn number(&mut self) -> Option<&'a str> {
        let start = self.at;
        while self.byte()?.is_ascii_digit() {
            self.at += 1;
        }
        let number = self.text.get(start..self.at)?;
        let is_plain = matches!(self.byte()?, b',' | b'}' | b' ' | b'\t' | b'\n' | b'\r')
            && (number == "0" || !number.is_empty() && !number.starts_with('0'));
        is_plain.then_some(number)
    }

    /// Any value, as the parser finds it.
    fn any(&mut self) -> Option<&'a RawValue> {
        let mut values = serde_json::Deserializer::from_str(self.text.get(self.at..)?).into_iter();
        let value = values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(value)
    }
}
