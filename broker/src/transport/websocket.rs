//! One message is one WebSocket message. `tungstenite` speaks the protocol, on memory: the socket stays with
//! [`Channel`](super::Channel), which can so hand one encoded frame to many connections.

use std::io::{self, Read, Write};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use tokio_tungstenite::tungstenite::{
    Error, Message,
    error::{CapacityError, ProtocolError},
    handshake::server::{ErrorResponse, Request, Response},
    http::{Response as HttpResponse, StatusCode},
    protocol::{
        CloseFrame, Role, WebSocketConfig, WebSocketContext,
        frame::{Frame, coding::CloseCode},
    },
};

use super::{Inbound, Stream, Violation};
use crate::codec::CloseReason;

/// What tungstenite reads at a time, and keeps for a quiet connection.
const READ_BUFFER: usize = 512;

/// The protocol state of one connection, on the broker's side.
#[derive(Debug)]
pub struct WebSocket {
    context: WebSocketContext,
    memory: Memory,
    limit: usize,
}

impl WebSocket {
    /// Performs the handshake on `stream`; `path`, where given, is the only one that is served.
    ///
    /// # Errors
    /// A stream that fails or a request that is no WebSocket handshake, which has been answered.
    pub async fn accept<S: Stream>(stream: S, path: Option<&str>) -> Result<S, Error> {
        // The signature is tungstenite's.
        #[expect(clippy::result_large_err, reason = "tungstenite's callback returns its response by value")]
        let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            if path.is_none_or(|path| path == request.uri().path()) { Ok(response) } else { Err(not_found()) }
        };
        let accepted = tokio_tungstenite::accept_hdr_async(stream, check).await?;
        Ok(accepted.into_inner())
    }

    /// The state after the handshake.
    pub fn new(limit: usize) -> Self {
        let context = WebSocketContext::new(Role::Server, Some(config(limit)));
        Self { context, memory: Memory::default(), limit }
    }

    /// Appends what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.memory.read.extend_from_slice(bytes);
    }

    /// The next message. Pings are answered on the way.
    ///
    /// # Errors
    /// What the client must not send.
    pub fn next_message(&mut self, limit: usize) -> Result<Option<Inbound>, Violation> {
        if limit != self.limit {
            self.limit = limit;
            self.context.set_config(|old| *old = config(limit));
        }
        loop {
            let message = match self.context.read(&mut self.memory) {
                Ok(Message::Text(text)) => ByteString::try_from(Bytes::from(text)),
                Ok(Message::Binary(bytes)) => ByteString::try_from(bytes),
                Ok(Message::Close(_)) => return Ok(Some(Inbound::Close)),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return violation(&error),
            };
            return message.map(|text| Some(Inbound::Message(text))).map_err(|_| Violation::NotUtf8);
        }
    }

    /// Takes what the protocol itself has to send: pongs and the answer to a close.
    pub fn take_output(&mut self) -> Option<Bytes> {
        // What cannot be sent any more was answered already.
        self.context.flush(&mut self.memory).ok();
        (!self.memory.written.is_empty()).then(|| std::mem::take(&mut self.memory.written).freeze())
    }

    /// The close frame for a reason.
    pub fn close_frame(reason: CloseReason) -> Bytes {
        let close = CloseFrame { code: CloseCode::from(reason.code()), reason: reason.name().into() };
        let mut bytes = BytesMut::new();
        // Writing to memory cannot fail.
        Frame::close(Some(close)).format(&mut (&mut bytes).writer()).ok();
        bytes.freeze()
    }
}

fn config(limit: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit))
}

fn violation(error: &Error) -> Result<Option<Inbound>, Violation> {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Ok(Some(Inbound::Close)),
        Error::Protocol(ProtocolError::ReceivedAfterClosing) => Ok(Some(Inbound::Close)),
        Error::Capacity(CapacityError::MessageTooLong { size, .. }) => Err(Violation::TooLarge(*size)),
        Error::Utf8(_) => Err(Violation::NotUtf8),
        _ => Err(Violation::Protocol),
    }
}

fn not_found() -> ErrorResponse {
    let mut response = HttpResponse::new(None);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// What tungstenite takes for its socket.
#[derive(Debug, Default)]
struct Memory {
    read: BytesMut,
    written: BytesMut,
}

impl Read for Memory {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read.is_empty() {
            // A quiet connection keeps no buffer.
            self.read = BytesMut::new();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.read.len().min(into.len());
        self.read.split_to(count).copy_to_slice(into.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.put_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
