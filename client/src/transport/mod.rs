//! What carries messages: one trait, a room for each way.
//!
//! TLS is another stream below the same two transports: both are generic over theirs, and only [`connect`]
//! chooses it.

mod tcp;
mod ws;

use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::{
    DisconnectReason,
    endpoint::{Endpoint, Security, TransportKind},
    options::ConnectOptions,
    raw::{Framing, RawConnection, RawStream},
    tls::io_reason,
};

/// A connection that carries whole messages. Errors are final.
pub(crate) trait Transport: Send {
    /// The next message.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, DisconnectReason>>;

    /// Adds a message to what is to be written.
    fn feed(&mut self, frame: String) -> Result<(), DisconnectReason>;

    /// Writes what was fed. Ready at once when that is nothing.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DisconnectReason>>;

    /// Says good-bye the transport's way, everything fed being written first. Ready when the other side has
    /// heard it, as far as that can be known.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Opens a connection.
pub(crate) async fn connect(options: &ConnectOptions) -> Result<Box<dyn Transport>, DisconnectReason> {
    let endpoint = &options.endpoint;
    let stream = dial(endpoint).await?;
    match endpoint.security {
        Security::Plain => carry(endpoint, stream, options.max_message_bytes).await,
        Security::Tls => {
            let stream = options.tls.connect(&endpoint.host, stream).await?;
            carry(endpoint, stream, options.max_message_bytes).await
        }
    }
}

/// Opens a connection and leaves its messages to the caller.
pub(crate) async fn open_raw(options: &ConnectOptions) -> Result<RawConnection, DisconnectReason> {
    let endpoint = &options.endpoint;
    let stream = dial(endpoint).await?;
    match endpoint.security {
        Security::Plain => shake_hands(endpoint, stream, options.max_message_bytes).await,
        Security::Tls => {
            let stream = options.tls.connect(&endpoint.host, stream).await?;
            shake_hands(endpoint, stream, options.max_message_bytes).await
        }
    }
}

async fn shake_hands(
    endpoint: &Endpoint,
    stream: impl RawStream + 'static,
    max_message_bytes: usize,
) -> Result<RawConnection, DisconnectReason> {
    Ok(match endpoint.transport {
        TransportKind::Tcp => RawConnection { stream: Box::new(stream), framing: Framing::Lines },
        TransportKind::WebSocket => {
            let socket = ws::WsTransport::handshake(endpoint.url(), stream, max_message_bytes).await?;
            RawConnection { stream: Box::new(socket.into_stream()), framing: Framing::WebSocket }
        }
    })
}

async fn dial(endpoint: &Endpoint) -> Result<TcpStream, DisconnectReason> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(io_reason)?;
    // Batches are flushed whole, so Nagle's algorithm could only delay their ends.
    stream.set_nodelay(true).map_err(io_reason)?;
    Ok(stream)
}

/// Messages of more than `max_message_bytes` will end the connection.
async fn carry(
    endpoint: &Endpoint,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    max_message_bytes: usize,
) -> Result<Box<dyn Transport>, DisconnectReason> {
    Ok(match endpoint.transport {
        TransportKind::Tcp => Box::new(tcp::LineTransport::new(stream, max_message_bytes)),
        TransportKind::WebSocket => {
            Box::new(ws::WsTransport::handshake(endpoint.url(), stream, max_message_bytes).await?)
        }
    })
}
