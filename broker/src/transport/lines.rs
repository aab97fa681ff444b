//! One message is one line.

use super::{Violation, handshake::begins_tls, input::Found};

/// Finds lines in a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// How much of the unread bytes is known to hold no line's end.
    searched: usize,
    /// Whether the first bytes have been looked at.
    begun: bool,
}

impl Lines {
    /// What `unread` begins with, and how much of it that takes: a line without its ending, empty ones passed over.
    ///
    /// # Errors
    /// A line of more than `limit` bytes, whole or not, and a beginning that is TLS.
    pub(super) fn find(&mut self, unread: &[u8], limit: usize) -> Result<(Found, usize), Violation> {
        if !self.begun && !unread.is_empty() {
            self.begun = true;
            // Now, for the end of this line may never come.
            if begins_tls(unread) {
                return Err(Violation::Tls);
            }
        }
        let unsearched = unread.get(self.searched..).unwrap_or_default();
        let Some(end) = memchr::memchr(b'\n', unsearched) else { return self.unfinished(unread, limit) };
        let end = std::mem::take(&mut self.searched) + end;
        let length = without_return(unread.get(..end).unwrap_or_default());
        match length {
            0 => Ok((Found::Passed, end + 1)),
            length if length > limit => Err(Violation::TooLarge(length)),
            length => Ok((Found::Message(0..length), end + 1)),
        }
    }

    fn unfinished(&mut self, unread: &[u8], limit: usize) -> Result<(Found, usize), Violation> {
        self.searched = unread.len();
        let length = without_return(unread);
        if length > limit { Err(Violation::TooLarge(length)) } else { Ok((Found::Nothing, 0)) }
    }
}

fn without_return(line: &[u8]) -> usize {
    line.strip_suffix(b"\r").unwrap_or(line).len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{
        codec::Framing,
        transport::{Inbound, Input, Violation},
    };

    fn read(bytes: &[u8]) -> Input {
        let mut input = Input::new(Framing::Line);
        input.push(bytes);
        input
    }

    #[test]
    fn the_limit_counts_the_line_without_its_ending() {
        for (bytes, fits) in [
            ("12345\n", true),
            ("12345\r\n", true),
            ("123456\n", false),
            ("12345\r", true),
            ("123456", false),
        ] {
            assert_eq!(read(bytes.as_bytes()).next(5).is_ok(), fits, "{bytes:?}");
        }
    }

    #[test]
    fn tls_is_known_by_its_first_byte_and_by_that_alone() {
        assert_eq!(read(b"\x16").next(5), Err(Violation::Tls));
        let mut input = read(b"{}\n\x16");
        assert_eq!(input.next(5), Ok(Some(Inbound::Message { text: "{}", has_company: true })));
        assert_eq!(input.next(5), Ok(None));
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        assert_eq!(read(b"\xff\n").next(5), Err(Violation::NotUtf8));
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_does_not_matter(text in "[a\r\n]{0,40}", cuts in proptest::collection::vec(1usize..6, 0..20)) {
            let mut input = Input::new(Framing::Line);
            let mut found = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                input.push(head);
                rest = tail;
                while let Some(inbound) = input.next(100).unwrap() {
                    let Inbound::Message { text: line, .. } = inbound else { panic!("{inbound:?}") };
                    found.push(line.to_owned());
                }
            }
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let expected = whole.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
            let expected: Vec<String> = expected.filter(|line| !line.is_empty()).map(str::to_owned).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
