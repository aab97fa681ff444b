//! One JSON line per message.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::Transport;
use crate::{DisconnectReason, tls::io_reason};

/// What one read takes at least room for.
const READ_BYTES: usize = 16 * 1024;

pub(super) struct LineTransport<S> {
    stream: S,
    lines: LineDecoder,
    outbox: BytesMut,
    /// Whether bytes were written that the stream may hold back, as TLS does.
    unflushed: bool,
    shut: bool,
}

impl<S> LineTransport<S> {
    pub(super) fn new(stream: S, max_message_bytes: usize) -> Self {
        Self {
            stream,
            lines: LineDecoder::new(max_message_bytes),
            outbox: BytesMut::new(),
            unflushed: false,
            shut: false,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> LineTransport<S> {
    /// Reads once. `false` at the connection's end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, DisconnectReason>> {
        self.lines.inbox.reserve(READ_BYTES);
        // `read_buf` is cancel safe, so a new future for each poll loses nothing.
        let read = ready!(pin!(self.stream.read_buf(&mut self.lines.inbox)).poll(cx));
        Poll::Ready(read.map(|bytes| bytes > 0).map_err(io_reason))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for LineTransport<S> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, DisconnectReason>> {
        loop {
            if let Some(line) = self.lines.next_line()? {
                return Poll::Ready(Ok(line));
            }
            if !ready!(self.poll_read(cx))? {
                return Poll::Ready(Err(DisconnectReason::ClosedByPeer {
                    code: None,
                    reason: String::new(),
                }));
            }
        }
    }

    fn feed(&mut self, frame: String) -> Result<(), DisconnectReason> {
        write_line(&mut self.outbox, frame);
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DisconnectReason>> {
        while !self.outbox.is_empty() {
            let written =
                ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outbox)).map_err(io_reason)?;
            if written == 0 {
                return Poll::Ready(Err(DisconnectReason::Io("the socket takes no more".into())));
            }
            self.outbox.advance(written);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(io_reason)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.shut {
            if ready!(self.poll_flush(cx)).is_err() {
                return Poll::Ready(());
            }
            if ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.shut = true;
        }
        // The end of the other side's messages says that it has seen the end of ours.
        while let Ok(true) = ready!(self.poll_read(cx)) {
            self.lines.inbox.clear();
        }
        Poll::Ready(())
    }
}

/// Appends a message and its line ending.
///
/// Valid JSON has raw newlines between its tokens only, where a space is as good.
fn write_line(outbox: &mut BytesMut, frame: String) {
    let mut line = frame.into_bytes();
    if memchr::memchr2(b'\n', b'\r', &line).is_some() {
        line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    }
    outbox.extend_from_slice(&line);
    outbox.extend_from_slice(b"\n");
}

/// Cuts what was read into lines.
#[derive(Debug)]
struct LineDecoder {
    inbox: BytesMut,
    /// How much of `inbox` is known to hold no newline.
    scanned: usize,
    max_line_bytes: usize,
}

impl LineDecoder {
    fn new(max_line_bytes: usize) -> Self {
        Self { inbox: BytesMut::new(), scanned: 0, max_line_bytes }
    }

    /// The next whole line that is not empty, without its ending.
    fn next_line(&mut self) -> Result<Option<Bytes>, DisconnectReason> {
        loop {
            let unseen = self.inbox.get(self.scanned..).unwrap_or_default();
            let Some(newline) = memchr::memchr(b'\n', unseen) else {
                self.scanned = self.inbox.len();
                // One byte more than the limit may be the "\r" of an ending not yet here.
                return if self.scanned > self.max_line_bytes + 1 { Err(self.too_long()) } else { Ok(None) };
            };
            let mut line = self.inbox.split_to(self.scanned + newline);
            self.inbox.advance(1);
            self.scanned = 0;
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if line.len() > self.max_line_bytes {
                return Err(self.too_long());
            }
            if !line.is_empty() {
                return Ok(Some(line.freeze()));
            }
        }
    }

    fn too_long(&self) -> DisconnectReason {
        DisconnectReason::Protocol(format!("a line of more than {} bytes", self.max_line_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in pieces of `piece` bytes and collects the lines.
    fn decode(input: &str, piece: usize) -> Result<Vec<String>, DisconnectReason> {
        let mut decoder = LineDecoder::new(8);
        let mut lines = Vec::new();
        for bytes in input.as_bytes().chunks(piece) {
            decoder.inbox.extend_from_slice(bytes);
            while let Some(line) = decoder.next_line()? {
                lines.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        Ok(lines)
    }

    #[test]
    fn lines_come_out_however_they_went_in() {
        for piece in 1..30 {
            let lines = decode("{1}\n\r\n\n{22}\r\n12345678\r\n{3}\nrest", piece).unwrap();
            assert_eq!(lines, ["{1}", "{22}", "12345678", "{3}"], "pieces of {piece}");
        }
    }

    #[test]
    fn a_line_over_the_limit_is_refused() {
        for input in ["123456789\n", "1234567890", "{1}\n1234567890\n"] {
            for piece in 1..12 {
                assert!(decode(input, piece).is_err(), "{input:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn raw_newlines_become_spaces() {
        let mut outbox = BytesMut::new();
        write_line(&mut outbox, "{\r\n\"a\":\"\\n\"}".into());
        assert_eq!(&outbox[..], b"{  \"a\":\"\\n\"}\n");
    }

    #[tokio::test]
    async fn closing_writes_what_was_fed_and_waits_for_the_other_side() {
        let (ours, theirs) = tokio::io::duplex(4);
        let peer = tokio::spawn(async move {
            let (mut reader, writer) = tokio::io::split(theirs);
            let mut received = String::new();
            reader.read_to_string(&mut received).await.unwrap();
            drop((reader, writer));
            received
        });
        let mut transport = LineTransport::new(ours, 100);
        transport.feed("{\"a\":1}".into()).unwrap();
        std::future::poll_fn(|cx| transport.poll_close(cx)).await;
        assert_eq!(peer.await.unwrap(), "{\"a\":1}\n");
    }
}
