//! One message is one WebSocket message. `tungstenite` does the handshake, and says what frame headers and close
//! frames mean. Messages are put together here, in the memory that they were read to: its own reader wants a buffer for
//! every connection and an allocation for every message.

use std::{io::Cursor, ops::Range};

use tokio_tungstenite::tungstenite::{
    Error, Utf8Bytes,
    handshake::server::{ErrorResponse, Request, Response},
    http::{Response as HttpResponse, StatusCode},
    protocol::{
        CloseFrame,
        frame::{
            Frame, FrameHeader,
            coding::{CloseCode, Control, Data, OpCode},
        },
    },
};

use super::{Stream, Violation, input::Found};
use crate::codec::CloseReason;

/// The longest payload of a control frame (RFC 6455, section 5.5).
const LONGEST_CONTROL: u64 = 125;

/// Performs the handshake on `stream`; `path`, where given, is the only one that is served.
///
/// # Errors
/// A stream that fails or a request that is no WebSocket handshake, which has been answered.
pub(super) async fn accept<S: Stream>(stream: S, path: Option<&str>) -> Result<S, Error> {
    // The signature is tungstenite's.
    #[expect(clippy::result_large_err, reason = "tungstenite's callback returns its response by value")]
    let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        if path.is_none_or(|path| path == request.uri().path()) { Ok(response) } else { Err(not_found()) }
    };
    let accepted = tokio_tungstenite::accept_hdr_async(stream, check).await?;
    Ok(accepted.into_inner())
}

fn not_found() -> ErrorResponse {
    let mut response = HttpResponse::new(None);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Finds the frames of a client in a stream of bytes, and puts messages together that come in several.
#[derive(Debug, Default)]
pub(super) struct Frames {
    parts: Parts,
}

/// A message that comes in several frames.
#[derive(Debug, Default)]
enum Parts {
    #[default]
    None,
    Some(Vec<u8>),
    All(Vec<u8>),
}

impl Frames {
    /// What `unread` begins with, and how much of it that takes. Payloads are unmasked where they lie.
    ///
    /// # Errors
    /// What the protocol forbids, and a message of more than `limit` bytes, whole or not.
    pub(super) fn find(&mut self, unread: &mut [u8], limit: usize) -> Result<(Found, usize), Violation> {
        self.rest();
        let mut cursor = Cursor::new(&*unread);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Violation::Protocol)?;
        let Some((header, length)) = parsed else { return Ok((Found::Nothing, 0)) };
        let start = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        let mask = self.admit(&header, length, limit)?;
        let payload = start..start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        let Some(bytes) = unread.get_mut(payload.clone()) else { return Ok((Found::Nothing, 0)) };
        unmask(bytes, mask);
        let end = payload.end;
        Ok((self.found(&header, bytes, payload), end))
    }

    /// Gives the mask of a frame that may be.
    fn admit(&self, header: &FrameHeader, length: u64, limit: usize) -> Result<[u8; 4], Violation> {
        let begun = match &self.parts {
            Parts::Some(parts) => Some(parts.len()),
            Parts::None | Parts::All(_) => None,
        };
        let is_in_order = match header.opcode {
            OpCode::Control(_) => header.is_final && length <= LONGEST_CONTROL,
            OpCode::Data(Data::Continue) => begun.is_some(),
            OpCode::Data(_) => begun.is_none(),
        };
        if header.rsv1 || header.rsv2 || header.rsv3 || !is_in_order {
            return Err(Violation::Protocol);
        }
        let size = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(begun.unwrap_or(0));
        if matches!(header.opcode, OpCode::Data(_)) && size > limit {
            return Err(Violation::TooLarge(size));
        }
        // A client has to mask what it sends.
        header.mask.ok_or(Violation::Protocol)
    }

    fn found(&mut self, header: &FrameHeader, bytes: &[u8], payload: Range<usize>) -> Found {
        match header.opcode {
            OpCode::Control(Control::Close) => Found::Goodbye(payload),
            OpCode::Control(Control::Ping) => Found::Ping(payload),
            OpCode::Control(_) => Found::Passed,
            OpCode::Data(Data::Continue) => self.put_part(bytes, header.is_final),
            OpCode::Data(_) if header.is_final => Found::Message(payload),
            OpCode::Data(_) => {
                self.parts = Parts::Some(bytes.to_vec());
                Found::Passed
            }
        }
    }

    fn put_part(&mut self, bytes: &[u8], is_last: bool) -> Found {
        let Parts::Some(mut parts) = std::mem::take(&mut self.parts) else { return Found::Passed };
        parts.extend_from_slice(bytes);
        let (state, found) =
            if is_last { (Parts::All(parts), Found::Whole) } else { (Parts::Some(parts), Found::Passed) };
        self.parts = state;
        found
    }

    /// Lets go of a message that was given out.
    pub(super) fn rest(&mut self) {
        if matches!(self.parts, Parts::All(_)) {
            self.parts = Parts::None;
        }
    }

    /// The message that the last frame has completed.
    pub(super) fn whole(&self) -> &[u8] {
        match &self.parts {
            Parts::All(parts) => parts,
            Parts::None | Parts::Some(_) => &[],
        }
    }
}

/// Eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u64::from(u32::from_ne_bytes(mask));
    let wide = word << 32 | word;
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    rest.iter_mut().zip(mask.into_iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

/// The answer to a ping.
pub(super) fn pong(payload: &[u8]) -> Vec<u8> {
    encode(Frame::pong(payload.to_vec()))
}

/// The close frame for a reason.
pub fn close_frame(reason: CloseReason) -> Vec<u8> {
    let close = CloseFrame { code: CloseCode::from(reason.code()), reason: reason.name().into() };
    encode(Frame::close(Some(close)))
}

/// The answer to a client's goodbye: the same.
///
/// # Errors
/// A goodbye that is none.
pub(super) fn close_echo(payload: &[u8]) -> Result<Vec<u8>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(encode(Frame::close(None))) } else { Err(Violation::Protocol) };
    };
    let code = CloseCode::from(u16::from_be_bytes(*code));
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
    let close = if code.is_allowed() {
        CloseFrame { code, reason: reason.into() }
    } else {
        CloseFrame { code: CloseCode::Protocol, reason: Utf8Bytes::from_static("Protocol violation") }
    };
    Ok(encode(Frame::close(Some(close))))
}

fn encode(frame: Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    frame.format(&mut bytes).ok();
    bytes
}
