//! One message is one line.

use bytes::{Buf, BytesMut};
use bytestring::ByteString;

use super::{Violation, handshake::begins_tls};

/// Cuts a stream of bytes into lines.
///
/// ```
/// use jackfield::transport::LineBuffer;
///
/// let mut lines = LineBuffer::default();
/// lines.push(b"{}\r\n\n[1");
/// assert_eq!(lines.next_line(100).unwrap().as_deref(), Some("{}"));
/// assert_eq!(lines.next_line(100).unwrap(), None);
/// lines.push(b"]\n");
/// assert_eq!(lines.next_line(100).unwrap().as_deref(), Some("[1]"));
/// ```
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: BytesMut,
    /// How much of `bytes` is known to hold no line's end.
    searched: usize,
    /// Whether the first bytes have been looked at.
    begun: bool,
}

impl LineBuffer {
    /// Appends what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line without its ending, empty ones passed over.
    ///
    /// # Errors
    /// A line of more than `limit` bytes, whole or not, one that is not UTF-8, and a beginning that is TLS.
    pub fn next_line(&mut self, limit: usize) -> Result<Option<ByteString>, Violation> {
        if !self.begun && !self.bytes.is_empty() {
            self.begun = true;
            // Now, for the end of this line may never come.
            if begins_tls(&self.bytes) {
                return Err(Violation::Tls);
            }
        }
        loop {
            let unsearched = self.bytes.get(self.searched..).unwrap_or_default();
            let Some(end) = memchr::memchr(b'\n', unsearched) else { return self.unfinished(limit) };
            let mut line = self.bytes.split_to(self.searched + end);
            self.bytes.advance(1);
            self.searched = 0;
            if line.ends_with(b"\r") {
                line.truncate(line.len() - 1);
            }
            if line.len() > limit {
                return Err(Violation::TooLarge(line.len()));
            }
            if !line.is_empty() {
                return ByteString::try_from(line.freeze()).map(Some).map_err(|_| Violation::NotUtf8);
            }
        }
    }

    fn unfinished(&mut self, limit: usize) -> Result<Option<ByteString>, Violation> {
        self.searched = self.bytes.len();
        let length = self.searched - usize::from(self.bytes.ends_with(b"\r"));
        if length > limit {
            return Err(Violation::TooLarge(length));
        }
        if self.bytes.is_empty() {
            // A quiet connection keeps no buffer.
            self.bytes = BytesMut::new();
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_limit_counts_the_line_without_its_ending() {
        for (input, fits) in [
            ("12345\n", true),
            ("12345\r\n", true),
            ("123456\n", false),
            ("12345\r", true),
            ("123456", false),
        ] {
            let mut lines = LineBuffer::default();
            lines.push(input.as_bytes());
            assert_eq!(lines.next_line(5).is_ok(), fits, "{input:?}");
        }
    }

    #[test]
    fn tls_is_known_by_its_first_byte_and_by_that_alone() {
        let mut lines = LineBuffer::default();
        lines.push(b"\x16");
        assert_eq!(lines.next_line(5), Err(Violation::Tls));
        let mut lines = LineBuffer::default();
        lines.push(b"{}\n\x16");
        assert!(lines.next_line(5).unwrap().is_some());
        assert_eq!(lines.next_line(5), Ok(None));
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        let mut lines = LineBuffer::default();
        lines.push(b"\xff\n");
        assert_eq!(lines.next_line(5), Err(Violation::NotUtf8));
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_does_not_matter(text in "[a\r\n]{0,40}", cuts in proptest::collection::vec(1usize..6, 0..20)) {
            let mut lines = LineBuffer::default();
            let mut found = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                lines.push(head);
                rest = tail;
                while let Some(line) = lines.next_line(100).unwrap() {
                    found.push(line.to_string());
                }
            }
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let expected = whole.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
            let expected: Vec<String> = expected.filter(|line| !line.is_empty()).map(str::to_owned).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
