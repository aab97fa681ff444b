//! What the fuzz targets have in common: a stream of bytes, and how the network cut it.

use jackfield::{
    codec::Framing,
    transport::{Inbound, Input, Violation},
};

/// A stream, whole and in pieces.
pub struct Stream<'a> {
    /// All of it.
    pub whole: &'a [u8],
    /// The same, cut.
    pub pieces: Vec<&'a [u8]>,
}

impl<'a> Stream<'a> {
    /// Reads the fuzzer's input: the number of cuts, the length of each piece, the stream; what they leave of the
    /// stream is the last piece.
    pub fn read(input: &'a [u8]) -> Option<Self> {
        let (count, rest) = input.split_first()?;
        let (lengths, whole) = rest.split_at_checked(usize::from(*count))?;
        let mut pieces = Vec::with_capacity(lengths.len() + 1);
        let mut left = whole;
        for length in lengths {
            let (piece, behind) = left.split_at(left.len().min(usize::from(*length)));
            pieces.push(piece);
            left = behind;
        }
        pieces.push(left);
        Some(Self { whole, pieces })
    }
}

/// What comes out of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// A message.
    Message(String),
    /// The client's goodbye, after which nothing is read.
    Close,
    /// A message over the limit, after which nothing is read. How large is not always known at the same time.
    TooLarge,
    /// Text that is not UTF-8, likewise.
    NotUtf8,
    /// TLS, where there is none, likewise.
    Tls,
    /// A violation of the transport's protocol, likewise.
    Protocol,
}

impl From<Violation> for Got {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::TooLarge(_) => Self::TooLarge,
            Violation::NotUtf8 => Self::NotUtf8,
            Violation::Tls => Self::Tls,
            Violation::Protocol => Self::Protocol,
        }
    }
}

/// Every message up to what ends the connection. What is read in pieces is settled in between, as a connection does.
pub fn messages_of(framing: Framing, limit: usize, pieces: &[&[u8]]) -> Vec<Got> {
    let mut input = Input::new(framing);
    let mut messages = Vec::new();
    for piece in pieces {
        input.push(piece);
        loop {
            let end = match input.next(limit) {
                Ok(Some(Inbound::Message { text, .. })) => {
                    messages.push(Got::Message(text.to_owned()));
                    continue;
                }
                Ok(Some(Inbound::Answer(_))) => continue,
                Ok(None) => break,
                Ok(Some(Inbound::Goodbye(_))) => Got::Close,
                Err(violation) => violation.into(),
            };
            messages.push(end);
            return messages;
        }
    }
    messages
}
