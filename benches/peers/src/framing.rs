//! How bytes become messages and back, on memory. Nothing is allocated for a message.

use std::{io::Cursor, ops::Range};

use bytes::{Buf, BufMut, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

/// What a frame that comes in may have at most.
const LONGEST_FRAME: u64 = 64 << 20;

/// What stands between a dialect and the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// WebSocket text messages.
    Text,
    /// WebSocket binary messages.
    Binary,
    /// Nothing.
    Plain,
}

impl Framing {
    fn data(self) -> Option<OpCode> {
        match self {
            Self::Text => Some(OpCode::Data(Data::Text)),
            Self::Binary => Some(OpCode::Data(Data::Binary)),
            Self::Plain => None,
        }
    }
}

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Outbox {
    framing: Framing,
    bytes: BytesMut,
    /// Bytes that are to go into one frame with those that follow.
    unsealed: Vec<u8>,
    mask: u32,
}

impl Outbox {
    pub(crate) fn new(framing: Framing) -> Self {
        Self { framing, bytes: BytesMut::new(), unsealed: Vec::new(), mask: 0x9E37_79B9 }
    }

    /// Appends one message: a frame of its own where there are frames.
    pub(crate) fn put(&mut self, parts: &[&[u8]]) {
        match self.framing.data() {
            Some(opcode) => self.put_frame(opcode, parts),
            None => parts.iter().for_each(|part| self.bytes.put_slice(part)),
        }
    }

    /// Appends to a stream: what is put before the next write shares a frame, as a buffering client's flush does.
    pub(crate) fn put_stream(&mut self, parts: &[&[u8]]) {
        match self.framing {
            Framing::Plain => self.put(parts),
            _ => parts.iter().for_each(|part| self.unsealed.extend_from_slice(part)),
        }
    }

    /// Appends a WebSocket close frame, where there are frames.
    pub(crate) fn put_close(&mut self) {
        self.seal();
        if self.framing != Framing::Plain {
            self.put_frame(OpCode::Control(Control::Close), &[&1000_u16.to_be_bytes()]);
        }
    }

    /// Makes a frame of what was put as a stream.
    pub(crate) fn seal(&mut self) {
        if self.unsealed.is_empty() {
            return;
        }
        let mut unsealed = std::mem::take(&mut self.unsealed);
        self.put(&[&unsealed]);
        unsealed.clear();
        self.unsealed = unsealed;
    }

    fn put_frame(&mut self, opcode: OpCode, parts: &[&[u8]]) {
        let mask = self.next_mask();
        let header = FrameHeader { opcode, mask: Some(mask), ..FrameHeader::default() };
        let length: usize = parts.iter().map(|part| part.len()).sum();
        // Writing to memory cannot fail.
        header.format(length as u64, &mut (&mut self.bytes).writer()).ok();
        let start = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.put_slice(part));
        apply_mask(self.bytes.get_mut(start..).unwrap_or_default(), mask);
    }

    /// A mask like no other, as RFC 6455 wants it, and cheap: xorshift.
    fn next_mask(&mut self) -> [u8; 4] {
        self.mask ^= self.mask << 13;
        self.mask ^= self.mask >> 17;
        self.mask ^= self.mask << 5;
        self.mask.to_ne_bytes()
    }

    /// What is to be written, as far as it is sealed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets what was written.
    pub(crate) fn advance(&mut self, written: usize) {
        self.bytes.advance(written);
        if self.bytes.is_empty() {
            self.bytes.clear();
        }
    }
}

fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let wide = (u64::from(word) << 32 | u64::from(word)).to_ne_bytes();
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        chunk.iter_mut().zip(wide).for_each(|(byte, mask)| *byte ^= mask);
    }
    chunks.into_remainder().iter_mut().zip(wide).for_each(|(byte, mask)| *byte ^= mask);
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Inbox {
    framing: Framing,
    bytes: BytesMut,
    /// How much of `bytes` was given out.
    taken: usize,
    /// What frames held, for dialects that are streams of their own.
    stream: BytesMut,
    stream_taken: usize,
}

impl Inbox {
    pub(crate) fn new(framing: Framing) -> Self {
        Self { framing, bytes: BytesMut::new(), taken: 0, stream: BytesMut::new(), stream_taken: 0 }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.advance(std::mem::take(&mut self.taken));
        self.bytes.put_slice(bytes);
    }

    /// The next message of a dialect whose messages are frames, or lines where there are no frames.
    ///
    /// # Errors
    ///
    /// What no server may send, and its goodbye.
    pub(crate) fn message(&mut self) -> Result<Option<&[u8]>, String> {
        let range = match self.framing {
            Framing::Plain => self.next_line(),
            _ => self.next_frame()?,
        };
        Ok(range.and_then(|range| self.bytes.get(range)))
    }

    /// What is there of a dialect that is a stream, and where to count what is taken of it.
    ///
    /// # Errors
    ///
    /// What no server may send, and its goodbye.
    pub(crate) fn unread(&mut self) -> Result<(&[u8], &mut usize), String> {
        if self.framing == Framing::Plain {
            return Ok((self.bytes.get(self.taken..).unwrap_or_default(), &mut self.taken));
        }
        self.stream.advance(std::mem::take(&mut self.stream_taken));
        while let Some(range) = self.next_frame()? {
            self.stream.extend_from_slice(self.bytes.get(range).unwrap_or_default());
        }
        Ok((&self.stream, &mut self.stream_taken))
    }

    fn next_line(&mut self) -> Option<Range<usize>> {
        let start = self.taken;
        let length = memchr::memchr(b'\n', self.bytes.get(start..)?)?;
        self.taken = start + length + 1;
        Some(start..start + length)
    }

    fn next_frame(&mut self) -> Result<Option<Range<usize>>, String> {
        loop {
            let Some((header, payload)) = self.whole_frame()? else { return Ok(None) };
            match header.opcode {
                OpCode::Control(Control::Close) => {
                    let reason = self.bytes.get(payload).unwrap_or_default();
                    return Err(format!("the server says goodbye: {}", String::from_utf8_lossy(reason)));
                }
                OpCode::Control(_) => {}
                OpCode::Data(_) if header.is_final => return Ok(Some(payload)),
                OpCode::Data(_) => return Err("a message in several frames".into()),
            }
        }
    }

    /// Takes one frame; where its payload is.
    fn whole_frame(&mut self) -> Result<Option<(FrameHeader, Range<usize>)>, String> {
        let mut cursor = Cursor::new(self.bytes.get(self.taken..).unwrap_or_default());
        let parsed = FrameHeader::parse(&mut cursor).map_err(|error| error.to_string())?;
        let Some((header, length)) = parsed else { return Ok(None) };
        if header.mask.is_some() || length > LONGEST_FRAME {
            return Err("a WebSocket frame that no server may send".into());
        }
        let start = self.taken + usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        let end = start + usize::try_from(length).unwrap_or(usize::MAX);
        if end > self.bytes.len() {
            return Ok(None);
        }
        self.taken = end;
        Ok(Some((header, start..end)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a server would have read of this outbox.
    pub(crate) fn unmasked(outbox: &mut Outbox) -> Vec<u8> {
        outbox.seal();
        let mut rest = outbox.bytes().to_vec();
        outbox.advance(rest.len());
        if outbox.framing == Framing::Plain {
            return rest;
        }
        let mut read = Vec::new();
        while !rest.is_empty() {
            let mut cursor = Cursor::new(&*rest);
            let (header, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            let start = usize::try_from(cursor.position()).unwrap();
            let end = start + usize::try_from(length).unwrap();
            apply_mask(&mut rest[start..end], header.mask.unwrap());
            read.extend_from_slice(&rest[start..end]);
            rest.drain(..end);
        }
        read
    }

    /// The bytes in frames of a server's, each of at most `piece` bytes.
    pub(crate) fn framed(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut framed = Vec::new();
        for payload in bytes.chunks(piece) {
            let header = FrameHeader { opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
            header.format(payload.len() as u64, &mut framed).unwrap();
            framed.extend_from_slice(payload);
        }
        framed
    }

    #[test]
    fn messages_come_out_however_they_were_cut() {
        let long = "x".repeat(300);
        let mut frames = b"\x81\x03one\x89\x01p\x81\x7e\x01\x2c".to_vec();
        frames.extend_from_slice(long.as_bytes());
        for (framing, bytes) in
            [(Framing::Text, frames), (Framing::Plain, format!("one\n{long}\n").into_bytes())]
        {
            for piece in 1..bytes.len() {
                let mut inbox = Inbox::new(framing);
                let mut found = Vec::new();
                for piece in bytes.chunks(piece) {
                    inbox.push(piece);
                    while let Some(message) = inbox.message().unwrap() {
                        found.push(String::from_utf8(message.to_vec()).unwrap());
                    }
                }
                assert_eq!(found, ["one", &long], "{framing:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn goodbyes_and_masked_frames_are_errors() {
        for frame in [&b"\x88\x06\x0f\xa0stop"[..], b"\x81\x81mask!", b"\x01\x01x"] {
            let mut inbox = Inbox::new(Framing::Text);
            inbox.push(frame);
            inbox.message().unwrap_err();
        }
    }

    #[test]
    fn what_is_put_as_a_stream_shares_a_frame() {
        let mut outbox = Outbox::new(Framing::Binary);
        outbox.put_stream(&[b"one", b"two"]);
        outbox.put_stream(&[b"three"]);
        outbox.seal();
        assert_eq!(outbox.bytes().len(), 2 + 4 + 11);
        assert_eq!(unmasked(&mut outbox), b"onetwothree");
        outbox.put(&[b"1"]);
        outbox.put(&[b"2"]);
        assert_eq!(outbox.bytes().len(), 2 * (2 + 4 + 1));
        assert_eq!(unmasked(&mut outbox), b"12");
    }
}
