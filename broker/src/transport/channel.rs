use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Inbound, LineBuffer, Stream, Violation, WebSocket};
use crate::codec::{CloseReason, Framing};

/// How much is read at a time.
const READ_CHUNK: usize = 64 << 10;

/// How many buffers one system call writes.
const WRITE_SLICES: usize = 64;

thread_local! {
    /// Shared by all connections of a thread, so that a quiet one needs no buffer of its own.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_CHUNK].into_boxed_slice());
}

/// A connection's socket: whole messages come out, encoded bytes go in.
pub struct Channel {
    stream: Box<dyn Stream>,
    decoder: Decoder,
    /// Answers made in place, not yet in `chunks`.
    answers: BytesMut,
    chunks: VecDeque<Bytes>,
    /// The bytes in `chunks`.
    queued: usize,
}

enum Decoder {
    Lines(LineBuffer),
    WebSocket(Box<WebSocket>),
}

impl Channel {
    /// Takes a socket whose handshakes are done.
    pub fn new(stream: Box<dyn Stream>, framing: Framing, message_limit: usize) -> Self {
        let decoder = match framing {
            Framing::Line => Decoder::Lines(LineBuffer::default()),
            Framing::WebSocket => Decoder::WebSocket(Box::new(WebSocket::new(message_limit))),
        };
        Self { stream, decoder, answers: BytesMut::new(), chunks: VecDeque::new(), queued: 0 }
    }

    /// Reads what is there; 0 at the end.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                // A TLS client that closes without saying so. Messages have ends of their own, so nothing is cut short.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(0)),
                outcome => outcome?,
            }
            match &mut self.decoder {
                Decoder::Lines(lines) => lines.push(buffer.filled()),
                Decoder::WebSocket(websocket) => websocket.push(buffer.filled()),
            }
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// The next whole message of what was read.
    ///
    /// # Errors
    /// What the client must not send.
    pub fn next_message(&mut self, limit: usize) -> Result<Option<Inbound>, Violation> {
        match &mut self.decoder {
            Decoder::Lines(lines) => lines.next_line(limit).map(|line| line.map(Inbound::Message)),
            Decoder::WebSocket(websocket) => {
                let next = websocket.next_message(limit);
                if let Some(bytes) = websocket.take_output() {
                    self.push(bytes);
                }
                next
            }
        }
    }

    /// Where answers made in place are appended.
    pub fn answers(&mut self) -> &mut BytesMut {
        &mut self.answers
    }

    /// Appends encoded bytes.
    pub fn push(&mut self, bytes: Bytes) {
        self.seal_answers();
        self.append(bytes);
    }

    fn seal_answers(&mut self) {
        let answers = std::mem::take(&mut self.answers).freeze();
        self.append(answers);
    }

    fn append(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queued += bytes.len();
            self.chunks.push_back(bytes);
        }
    }

    /// How many bytes wait to be written.
    pub fn pending(&self) -> usize {
        self.queued + self.answers.len()
    }

    /// Writes as much as the socket takes in one call, and says how much.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.seal_answers();
        let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        let slices = slices.get(..count).unwrap_or_default();
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.forget_written(written);
        Poll::Ready(Ok(written))
    }

    fn forget_written(&mut self, mut written: usize) {
        self.queued -= written;
        while let Some(chunk) = self.chunks.front_mut() {
            if chunk.len() > written {
                chunk.advance(written);
                break;
            }
            written -= chunk.len();
            self.chunks.pop_front();
        }
        if self.chunks.is_empty() && self.chunks.capacity() > WRITE_SLICES {
            self.chunks = VecDeque::new();
        }
    }

    /// Flushes what the stream itself holds back, as encryption does.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Drops what has not begun to be written.
    pub fn discard_queue(&mut self) {
        self.answers.clear();
        self.chunks.truncate(1);
        self.queued = self.chunks.front().map_or(0, Bytes::len);
    }

    /// Appends the transport's goodbye, where it has one.
    pub fn push_close(&mut self, reason: CloseReason) {
        if matches!(self.decoder, Decoder::WebSocket(_)) {
            self.push(WebSocket::close_frame(reason));
        }
    }

    /// Ends the sending half.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Reads and throws away; 0 at the end.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }
}
