//! A connection in two halves, for tests that send and receive at the same time or hold very many connections.

use std::io;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{
    self as tokio_io, AsyncBufReadExt, AsyncWriteExt, BufReader, BufWriter, Lines, ReadHalf, WriteHalf,
};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::stream::Stream;
use super::wire::Wire;

/// The half that sends.
pub enum Sender {
    Ws(SplitSink<WebSocketStream<Stream>, Message>),
    Tcp(BufWriter<WriteHalf<Stream>>),
}

/// The half that receives. Nothing is answered by itself.
pub enum Receiver {
    Ws(SplitStream<WebSocketStream<Stream>>),
    Tcp(Lines<BufReader<ReadHalf<Stream>>>),
}

/// Connects; `receive_buffer` bounds what the kernel takes for a client that does not read.
pub async fn connect_halves(url: &str, receive_buffer: Option<u32>) -> (Sender, Receiver) {
    let wire = Wire::connect(url, receive_buffer).await;
    match wire.unwrap_or_else(|error| panic!("cannot connect to {url}: {error}")) {
        Wire::Ws(ws) => {
            let (sink, stream) = (*ws).split();
            (Sender::Ws(sink), Receiver::Ws(stream))
        }
        Wire::Tcp { stream, .. } => {
            let (read, write) = tokio_io::split(stream);
            (Sender::Tcp(BufWriter::new(write)), Receiver::Tcp(BufReader::new(read).lines()))
        }
    }
}

impl Sender {
    /// Sends a message, at the latest with the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn feed(&mut self, message: &Value) -> io::Result<()> {
        match self {
            Self::Ws(sink) => sink.feed(Message::text(message.to_string())).await.map_err(io::Error::other),
            Self::Tcp(write) => write.write_all(format!("{message}\n").as_bytes()).await,
        }
    }

    /// Sends what was fed.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Ws(sink) => sink.flush().await.map_err(io::Error::other),
            Self::Tcp(write) => write.flush().await,
        }
    }

    /// Sends a message at once.
    pub async fn send(&mut self, message: &Value) {
        self.feed(message).await.expect("the connection takes a message");
        self.flush().await.expect("the connection takes a message");
    }

    /// Answers a request of the broker's `ok`.
    pub async fn answer(&mut self, request: &Value) {
        self.send(&json!({"result": "ok", "tid": request["tid"]})).await;
    }
}

impl Receiver {
    /// The next message, or `None` at the connection's end.
    pub async fn next(&mut self) -> Option<Value> {
        let text = match self {
            Self::Ws(stream) => match stream.next().await {
                Some(Ok(Message::Text(text))) => text.as_str().to_string(),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("the broker sends text messages only, not {other:?}"),
            },
            Self::Tcp(lines) => lines.next_line().await.ok()??,
        };
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }
}
