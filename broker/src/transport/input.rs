use std::{
    cell::Cell,
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::ReadBuf;

use super::{
    Stream, Violation,
    lines::Lines,
    websocket::{Frames, close_echo, pong},
};
use crate::codec::Framing;

/// How much is read at a time.
const READ_CHUNK: usize = 64 << 10;

thread_local! {
    /// Shared by all connections of a thread, so that a quiet one needs no buffer of its own.
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// What was read, and comes out as whole messages. They are borrowed from where they were read to: nothing is
/// allocated for one, nor copied.
///
/// ```
/// use jackfield::{codec::Framing, transport::{Inbound, Input}};
///
/// let mut input = Input::new(Framing::Line);
/// input.push(b"{}\r\n\n[1");
/// assert_eq!(input.next(100), Ok(Some(Inbound::Message { text: "{}", has_company: true })));
/// assert_eq!(input.next(100), Ok(None));
/// input.push(b"]\n");
/// assert_eq!(input.next(100), Ok(Some(Inbound::Message { text: "[1]", has_company: false })));
/// ```
pub struct Input {
    decoder: Decoder,
    buffer: Buffer,
    unread: Range<usize>,
}

enum Decoder {
    Lines(Lines),
    WebSocket(Frames),
}

/// Where what was read lies.
enum Buffer {
    /// In memory of its own: the beginning of a message, or what has to wait.
    Own(Vec<u8>),
    /// In the thread's, for as long as the connection has its turn.
    Lent(Box<[u8]>),
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// A message.
    Message {
        /// What it says.
        text: &'a str,
        /// Whether more came behind it.
        has_company: bool,
    },
    /// Something of the transport's own, with what is to be sent back.
    Answer(Vec<u8>),
    /// It says goodbye, and what is to be sent back.
    Goodbye(Vec<u8>),
}

/// What a decoder found at the beginning of what it was shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No more than the beginning of something.
    Nothing,
    /// Something that is of no use by itself.
    Passed,
    /// A message, and where.
    Message(Range<usize>),
    /// The last part of a message whose parts the decoder has put together.
    Whole,
    /// A WebSocket ping, and where its payload is.
    Ping(Range<usize>),
    /// The transport's goodbye, and where its payload is.
    Goodbye(Range<usize>),
}

impl Input {
    /// Nothing read yet.
    pub fn new(framing: Framing) -> Self {
        let decoder = match framing {
            Framing::Line => Decoder::Lines(Lines::default()),
            Framing::WebSocket => Decoder::WebSocket(Frames::default()),
        };
        Self { decoder, buffer: Buffer::Own(Vec::new()), unread: 0..0 }
    }

    /// Reads what is there; 0 at the end. To be followed by [`settle`](Self::settle) in the same turn.
    ///
    /// # Errors
    /// The stream's.
    pub fn poll_fill(&mut self, stream: &mut dyn Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut spare = spare();
        let mut read = ReadBuf::new(&mut spare);
        let outcome = Pin::new(stream).poll_read(cx, &mut read);
        let length = read.filled().len();
        if !matches!(outcome, Poll::Ready(Ok(()))) || !self.unread.is_empty() {
            self.push(spare.get(..length).unwrap_or_default());
            give_back(spare);
        } else {
            self.buffer = Buffer::Lent(spare);
            self.unread = 0..length;
        }
        match ready!(outcome) {
            // A TLS client that closes without saying so. Messages have ends of their own, so nothing is cut short.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            outcome => Poll::Ready(outcome.map(|()| length)),
        }
    }

    /// Appends what was read elsewhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.settle();
        if let Buffer::Own(own) = &mut self.buffer {
            own.extend_from_slice(bytes);
            self.unread.end = own.len();
        }
    }

    /// The next whole message.
    ///
    /// # Errors
    /// What the client must not send.
    pub fn next(&mut self, limit: usize) -> Result<Option<Inbound<'_>>, Violation> {
        match self.find(limit)? {
            Found::Nothing | Found::Passed => Ok(None),
            Found::Message(range) => message(self.buffer.part(&range), !self.unread.is_empty()).map(Some),
            Found::Whole => match &self.decoder {
                Decoder::WebSocket(frames) => message(frames.whole(), !self.unread.is_empty()).map(Some),
                Decoder::Lines(_) => Ok(None),
            },
            Found::Ping(range) => Ok(Some(Inbound::Answer(pong(self.buffer.part(&range))))),
            Found::Goodbye(range) => {
                close_echo(self.buffer.part(&range)).map(|echo| Some(Inbound::Goodbye(echo)))
            }
        }
    }

    /// What comes next and is of use, with its place in the buffer.
    fn find(&mut self, limit: usize) -> Result<Found, Violation> {
        loop {
            let start = self.unread.start;
            let unread = self.buffer.part(&self.unread);
            let (found, consumed) = match &mut self.decoder {
                Decoder::Lines(lines) => lines.find(unread, limit)?,
                Decoder::WebSocket(frames) => frames.find(unread, limit)?,
            };
            self.unread.start += consumed;
            let at = |range: Range<usize>| start + range.start..start + range.end;
            return Ok(match found {
                Found::Passed => continue,
                Found::Message(range) => Found::Message(at(range)),
                Found::Ping(range) => Found::Ping(at(range)),
                Found::Goodbye(range) => Found::Goodbye(at(range)),
                found @ (Found::Nothing | Found::Whole) => found,
            });
        }
    }

    /// Keeps what is unread for the next turn, in memory of its own. A quiet connection keeps none.
    pub fn settle(&mut self) {
        if let Decoder::WebSocket(frames) = &mut self.decoder {
            frames.rest();
        }
        let rest = std::mem::replace(&mut self.unread, 0..0);
        match std::mem::replace(&mut self.buffer, Buffer::Own(Vec::new())) {
            Buffer::Lent(lent) => {
                self.buffer = Buffer::Own(lent.get(rest.clone()).unwrap_or_default().to_vec());
                give_back(lent);
            }
            Buffer::Own(own) if rest.is_empty() => drop(own),
            Buffer::Own(mut own) => {
                own.drain(..rest.start);
                self.buffer = Buffer::Own(own);
            }
        }
        self.unread = 0..rest.len();
    }
}

impl Buffer {
    fn part(&mut self, range: &Range<usize>) -> &mut [u8] {
        let all: &mut [u8] = match self {
            Self::Own(own) => own,
            Self::Lent(lent) => lent,
        };
        all.get_mut(range.clone()).unwrap_or_default()
    }
}

fn message(bytes: &[u8], has_company: bool) -> Result<Inbound<'_>, Violation> {
    let text = std::str::from_utf8(bytes).map_err(|_| Violation::NotUtf8)?;
    Ok(Inbound::Message { text, has_company })
}

/// The thread's buffer, or another where that is lent out.
fn spare() -> Box<[u8]> {
    SPARE.take().unwrap_or_else(|| vec![0; READ_CHUNK].into_boxed_slice())
}

fn give_back(spare: Box<[u8]>) {
    SPARE.set(Some(spare));
}
