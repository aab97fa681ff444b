//! One WebSocket text message per message.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, protocol::WebSocketConfig},
};

use super::Transport;
use crate::{DisconnectReason, tls::io_reason};

/// What one read takes at most, and how much is gathered before it is written without a flush.
const BUFFER_BYTES: usize = 32 * 1024;

pub(super) struct WsTransport<S> {
    socket: WebSocketStream<S>,
    /// Whether something was fed since the last flush, be it by tungstenite itself.
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> WsTransport<S> {
    pub(super) async fn handshake(
        url: &str,
        stream: S,
        max_message_bytes: usize,
    ) -> Result<Self, DisconnectReason> {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes));
        let (socket, _) =
            client_async_with_config(url, stream, Some(config)).await.map_err(disconnect_reason)?;
        Ok(Self { socket, unflushed: false })
    }

    /// The stream alone, right after the handshake: a broker says nothing before it is spoken to.
    pub(super) fn into_stream(self) -> S {
        self.socket.into_inner()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for WsTransport<S> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, DisconnectReason>> {
        loop {
            let message = ready!(Pin::new(&mut self.socket).poll_next(cx));
            match message.transpose().map_err(disconnect_reason)? {
                Some(Message::Text(text)) => return Poll::Ready(Ok(text.into())),
                Some(Message::Binary(bytes)) => return Poll::Ready(Ok(bytes)),
                // tungstenite queued a pong; it leaves with the next flush.
                Some(Message::Ping(_)) => self.unflushed = true,
                Some(Message::Pong(_) | Message::Frame(_)) => {}
                Some(Message::Close(frame)) => {
                    self.unflushed = true;
                    let (code, reason) = frame
                        .map(|frame| (Some(u16::from(frame.code)), frame.reason.to_string()))
                        .unwrap_or_default();
                    return Poll::Ready(Err(DisconnectReason::ClosedByPeer { code, reason }));
                }
                None => {
                    let reason = DisconnectReason::ClosedByPeer { code: None, reason: String::new() };
                    return Poll::Ready(Err(reason));
                }
            }
        }
    }

    fn feed(&mut self, frame: String) -> Result<(), DisconnectReason> {
        self.unflushed = true;
        // Without `poll_ready`: tungstenite takes a message in any case, and the caller bounds what it feeds.
        Pin::new(&mut self.socket).start_send(Message::text(frame)).map_err(disconnect_reason)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DisconnectReason>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx)).map_err(disconnect_reason)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(Pin::new(&mut self.socket).poll_close(cx)).is_err() {
            return Poll::Ready(());
        }
        // What still comes is read up to the other side's close frame.
        while let Some(Ok(_)) = ready!(Pin::new(&mut self.socket).poll_next(cx)) {}
        Poll::Ready(())
    }
}

fn disconnect_reason(error: tungstenite::Error) -> DisconnectReason {
    match error {
        tungstenite::Error::Io(error) => io_reason(error),
        tungstenite::Error::ConnectionClosed
        | tungstenite::Error::AlreadyClosed
        | tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake
            | tungstenite::error::ProtocolError::SendAfterClosing,
        ) => DisconnectReason::ClosedByPeer { code: None, reason: String::new() },
        tungstenite::Error::Http(response) => {
            DisconnectReason::Protocol(format!("no WebSocket there: HTTP status {}", response.status()))
        }
        error => DisconnectReason::Protocol(error.to_string()),
    }
}
