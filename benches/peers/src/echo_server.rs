//! The floor: what a WebSocket server costs that does nothing but send back what it gets.

use std::{io, net::SocketAddr};

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    accept_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

/// The library's default is 128 KiB, which every connection reads into and which halves what it does.
const READ_BUFFER: usize = 8 << 10;

/// Serves both kinds until it is stopped.
pub(crate) async fn listen(web_socket: SocketAddr, lines: SocketAddr) -> Result<(), String> {
    let bind = |address| async move {
        TcpListener::bind(address).await.map_err(|error| format!("cannot listen at {address}: {error}"))
    };
    serve(bind(web_socket).await?, bind(lines).await?)
        .await
        .map_err(|error| format!("cannot accept: {error}"))
}

/// Serves those that come to these.
pub(crate) async fn serve(web_socket: TcpListener, lines: TcpListener) -> io::Result<()> {
    loop {
        tokio::select! {
            accepted = web_socket.accept() => drop(tokio::spawn(echo_messages(accepted?.0))),
            accepted = lines.accept() => drop(tokio::spawn(echo_lines(accepted?.0))),
        }
    }
}

/// Reads every message that is there, feeds the answers, and flushes once nothing more is ready.
async fn echo_messages(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let mut socket = accept_async_with_config(stream, Some(config)).await.ok()?;
    loop {
        let message = match socket.next().now_or_never() {
            Some(message) => message,
            None => {
                socket.flush().await.ok()?;
                socket.next().await
            }
        };
        let message = message?.ok()?;
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            socket.feed(message).await.ok()?;
        }
    }
}

/// Sends back whole lines, as many as a read gave.
async fn echo_lines(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut read = Vec::with_capacity(READ_BUFFER);
    loop {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = memchr::memrchr(b'\n', &read) {
            stream.write_all(read.get(..=end)?).await.ok()?;
            read.drain(..=end);
        }
    }
}
