//! Bytes in, messages out: one file per framing, one [`Channel`] that owns a socket.

mod channel;
mod handshake;
mod input;
mod lines;
mod listener;
mod plain;
pub mod tls;
mod websocket;

use tokio::io::{AsyncRead, AsyncWrite};

pub use channel::Channel;
pub use handshake::{Accepted, HandshakeError};
pub use input::{Inbound, Input};
pub use listener::{BindError, Listener};
pub use websocket::close_frame;

/// A connected byte stream, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

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
