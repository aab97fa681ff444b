//! Bytes in, messages out: one file per framing, one [`Channel`] that owns a socket.

mod channel;
mod handshake;
pub mod lines;
mod listener;
pub mod tls;
mod websocket;

use bytestring::ByteString;
use tokio::io::{AsyncRead, AsyncWrite};

pub use channel::Channel;
pub use handshake::{Accepted, HandshakeError};
pub use lines::LineBuffer;
pub use listener::{BindError, Listener};
pub use websocket::WebSocket;

/// A connected byte stream, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// What a client sent.
#[derive(Debug)]
pub enum Inbound {
    /// A message.
    Message(ByteString),
    /// It says goodbye.
    Close,
}

/// What a client must not send; its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A message of more bytes than the limit; as many as are known of.
    TooLarge(usize),
    /// Text that is not UTF-8.
    NotUtf8,
    /// TLS, on a listener without it.
    Tls,
    /// Something that the transport's own protocol forbids.
    Protocol,
}
