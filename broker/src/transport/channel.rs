use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Input, Stream, close_frame};
use crate::codec::{CloseReason, Framing, spare};

/// How many buffers one system call writes.
const WRITE_SLICES: usize = 64;

/// Bytes that lie elsewhere are copied when there are no more than these: that costs less than one more buffer to
/// write.
const COPIED: usize = 2 << 10;

/// A connection's socket, on its writing side: encoded bytes go in.
pub struct Channel {
    stream: Box<dyn Stream>,
    framing: Framing,
    /// What comes before `tail`.
    chunks: VecDeque<Bytes>,
    /// The bytes in `chunks`.
    queued: usize,
    tail: Vec<u8>,
    /// How much of `tail` is written. Nothing, as long as there are chunks.
    written: usize,
}

impl Channel {
    /// Takes a socket whose handshakes are done.
    pub fn new(stream: Box<dyn Stream>, framing: Framing) -> Self {
        Self { stream, framing, chunks: VecDeque::new(), queued: 0, tail: Vec::new(), written: 0 }
    }

    /// Reads what is there; 0 at the end.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_fill(&mut self, input: &mut Input, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        input.poll_fill(&mut self.stream, cx)
    }

    /// Where messages are appended.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        if self.tail.capacity() == 0 {
            self.tail = spare::take();
        }
        &mut self.tail
    }

    /// Appends encoded bytes that lie elsewhere.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= COPIED {
            return self.tail().extend_from_slice(&bytes);
        }
        self.seal();
        self.queued += bytes.len();
        self.chunks.push_back(bytes);
    }

    fn seal(&mut self) {
        let mut tail = Bytes::from(std::mem::take(&mut self.tail));
        tail.advance(std::mem::take(&mut self.written));
        if !tail.is_empty() {
            self.queued += tail.len();
            self.chunks.push_back(tail);
        }
    }

    /// How many bytes wait to be written.
    pub fn pending(&self) -> usize {
        self.queued + self.tail.len() - self.written
    }

    /// Writes as much as the socket takes in one call, and says how much.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let written = ready!(self.poll_write_some(cx))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.forget_written(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let tail = self.tail.get(self.written..).unwrap_or_default();
        if self.chunks.is_empty() {
            return stream.poll_write(cx, tail);
        }
        let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(self.chunks.iter().map(|chunk| &**chunk).chain([tail])) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        stream.poll_write_vectored(cx, slices.get(..count).unwrap_or_default())
    }

    fn forget_written(&mut self, mut written: usize) {
        while let Some(chunk) = self.chunks.front_mut() {
            if chunk.len() > written {
                chunk.advance(written);
                self.queued -= written;
                return;
            }
            written -= chunk.len();
            self.queued -= chunk.len();
            self.chunks.pop_front();
        }
        if self.chunks.capacity() > 0 {
            self.chunks = VecDeque::new();
        }
        self.written += written;
        if self.written == self.tail.len() {
            self.forget_tail();
        }
    }

    /// A quiet connection keeps no buffer.
    fn forget_tail(&mut self) {
        self.written = 0;
        spare::give_back(std::mem::take(&mut self.tail));
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
        self.seal();
        self.chunks.truncate(1);
        self.queued = self.chunks.front().map_or(0, Bytes::len);
    }

    /// Appends the transport's goodbye, where it has one.
    pub fn push_close(&mut self, reason: CloseReason) {
        if self.framing == Framing::WebSocket {
            self.tail().extend_from_slice(&close_frame(reason));
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
        let mut unread = [0; 4 << 10];
        let mut buffer = ReadBuf::new(&mut unread);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}
