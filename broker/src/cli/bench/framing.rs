//! How messages are told apart, on memory: written to an [`Outbox`], found in an [`Inbox`].
//!
//! Nothing is allocated for a message. A load generator must not cost more than the broker it measures.

use std::{io::Cursor, ops::Range};

use bytes::{Buf, BufMut, BytesMut};
use jackfield_client::Framing;
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

/// What a message that comes in may have at most.
const LONGEST_MESSAGE: u64 = 64 << 20;

/// What is to be written.
#[derive(Debug)]
pub(super) struct Outbox {
    framing: Framing,
    bytes: BytesMut,
    mask: u32,
}

impl Outbox {
    pub(super) fn new(framing: Framing) -> Self {
        Self { framing, bytes: BytesMut::new(), mask: 0x9E37_79B9 }
    }

    /// Appends one message whose text is the parts in a row; they hold no line break.
    pub(super) fn put(&mut self, parts: &[&[u8]]) {
        match self.framing {
            Framing::WebSocket => self.put_frame(OpCode::Data(Data::Text), parts),
            Framing::Lines => {
                parts.iter().for_each(|part| self.bytes.put_slice(part));
                self.bytes.put_u8(b'\n');
            }
        }
    }

    /// Appends the framing's own goodbye, where it has one.
    pub(super) fn put_close(&mut self) {
        if self.framing == Framing::WebSocket {
            self.put_frame(OpCode::Control(Control::Close), &[&1000_u16.to_be_bytes()]);
        }
    }

    /// Appends the answer to a WebSocket ping.
    pub(super) fn put_pong(&mut self, payload: &[u8]) {
        self.put_frame(OpCode::Control(Control::Pong), &[payload]);
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

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets what was written.
    pub(super) fn advance(&mut self, written: usize) {
        self.bytes.advance(written);
        if self.bytes.is_empty() {
            self.bytes.clear();
        }
    }
}

fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u64::from(u32::from_ne_bytes(mask));
    let wide = word << 32 | word;
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    rest.iter_mut().zip(mask.into_iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

/// What was found in an [`Inbox`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Message(&'a [u8]),
    /// A WebSocket ping.
    Ping(&'a [u8]),
    /// The other side says goodbye, and why.
    Close(String),
}

/// What was read.
#[derive(Debug)]
pub(super) struct Inbox {
    framing: Framing,
    bytes: BytesMut,
    /// How much of `bytes` was given out.
    taken: usize,
    /// The beginning of a message that comes in several frames.
    partial: Vec<u8>,
    /// The last message that came so, whole.
    assembled: Vec<u8>,
}

impl Inbox {
    pub(super) fn new(framing: Framing) -> Self {
        Self { framing, bytes: BytesMut::new(), taken: 0, partial: Vec::new(), assembled: Vec::new() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.advance(std::mem::take(&mut self.taken));
        self.bytes.put_slice(bytes);
    }

    /// Forgets what was read.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
    }

    /// The next whole message. The error says what no broker may send.
    pub(super) fn next_item(&mut self) -> Result<Option<Item<'_>>, String> {
        match self.framing {
            Framing::WebSocket => self.next_frame(),
            Framing::Lines => Ok(self.next_line().map(Item::Message)),
        }
    }

    fn next_line(&mut self) -> Option<&[u8]> {
        loop {
            let start = self.taken;
            let length = memchr::memchr(b'\n', self.bytes.get(start..)?)?;
            self.taken = start + length + 1;
            if length > 0 {
                return self.bytes.get(start..start + length);
            }
        }
    }

    fn next_frame(&mut self) -> Result<Option<Item<'_>>, String> {
        loop {
            let Some((header, payload)) = self.whole_frame()? else { return Ok(None) };
            match header.opcode {
                OpCode::Control(Control::Ping) => return Ok(self.bytes.get(payload).map(Item::Ping)),
                OpCode::Control(Control::Close) => {
                    return Ok(self.bytes.get(payload).map(|payload| Item::Close(goodbye(payload))));
                }
                OpCode::Control(_) => {}
                OpCode::Data(Data::Continue) => {
                    self.partial.extend_from_slice(self.bytes.get(payload).unwrap_or_default());
                    if header.is_final {
                        self.assembled = std::mem::take(&mut self.partial);
                        return Ok(Some(Item::Message(&self.assembled)));
                    }
                }
                OpCode::Data(_) if header.is_final => return Ok(self.bytes.get(payload).map(Item::Message)),
                OpCode::Data(_) => {
                    self.partial = self.bytes.get(payload).unwrap_or_default().to_vec();
                }
            }
        }
    }

    /// Takes one frame; where its payload is.
    fn whole_frame(&mut self) -> Result<Option<(FrameHeader, Range<usize>)>, String> {
        let unread = self.bytes.get(self.taken..).unwrap_or_default();
        let mut cursor = Cursor::new(unread);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|error| error.to_string())?;
        let Some((header, length)) = parsed else { return Ok(None) };
        if header.mask.is_some() || length > LONGEST_MESSAGE {
            return Err("a WebSocket frame that no broker may send".into());
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

/// Code and reason of a close frame, for people.
fn goodbye(payload: &[u8]) -> String {
    match payload.split_first_chunk::<2>() {
        Some((code, reason)) => {
            format!("{} {}", u16::from_be_bytes(*code), String::from_utf8_lossy(reason))
        }
        None => "without a reason".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames that a broker would send, cut into pieces.
    fn items(framing: Framing, bytes: &[u8], piece: usize) -> Vec<String> {
        let mut inbox = Inbox::new(framing);
        let mut found = Vec::new();
        for piece in bytes.chunks(piece) {
            inbox.push(piece);
            while let Some(item) = inbox.next_item().unwrap() {
                found.push(match item {
                    Item::Message(message) => String::from_utf8(message.to_vec()).unwrap(),
                    Item::Ping(payload) => format!("ping {}", payload.len()),
                    Item::Close(reason) => format!("close {reason}"),
                });
            }
        }
        found
    }

    #[test]
    fn messages_come_out_however_they_were_cut() {
        let long = "x".repeat(300);
        let mut frames = b"\x81\x03one\x89\x01p\x01\x02tw\x80\x01o\x81\x7e\x01\x2c".to_vec();
        frames.extend_from_slice(long.as_bytes());
        frames.extend_from_slice(b"\x88\x06\x0f\xa0stop");
        for piece in 1..frames.len() {
            let found = items(Framing::WebSocket, &frames, piece);
            assert_eq!(found, ["one", "ping 1", "two", &long, "close 4000 stop"], "pieces of {piece}");
        }
        for piece in 1..12 {
            assert_eq!(items(Framing::Lines, b"one\n\ntwo\nthr", piece), ["one", "two"]);
        }
    }

    #[test]
    fn a_masked_frame_is_refused() {
        let mut inbox = Inbox::new(Framing::WebSocket);
        inbox.push(b"\x81\x81mask!");
        assert!(inbox.next_item().is_err());
    }

    #[test]
    fn what_is_written_can_be_unmasked() {
        let mut outbox = Outbox::new(Framing::WebSocket);
        outbox.put(&[b"{\"a\":", b"12345678901234567890}"]);
        let (header, length) = FrameHeader::parse(&mut Cursor::new(outbox.bytes())).unwrap().unwrap();
        let start = outbox.bytes().len() - usize::try_from(length).unwrap();
        let mut payload = outbox.bytes()[start..].to_vec();
        apply_mask(&mut payload, header.mask.unwrap());
        assert_eq!(payload, b"{\"a\":12345678901234567890}");
        let mut outbox = Outbox::new(Framing::Lines);
        outbox.put(&[b"{", b"}"]);
        assert_eq!(outbox.bytes(), b"{}\n");
        outbox.advance(3);
        assert!(outbox.is_empty());
    }
}
