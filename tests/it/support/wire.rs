//! One connection, message by message, without any manners.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::stream::Stream;
use super::tls;

/// A WebSocket close code and its reason.
pub type Close = (u16, String);

/// What a connection yields.
#[derive(Debug)]
pub enum Incoming {
    /// A text message, or a line without its ending.
    Text(String),
    /// A WebSocket pong, with its payload.
    Pong(Vec<u8>),
    /// The end. A close code only where WebSocket gave one.
    End(Option<Close>),
}

/// A WebSocket or TCP connection to the broker, with TLS or without.
pub enum Wire {
    Ws(Box<WebSocketStream<Stream>>),
    Tcp { stream: Stream, unread: Vec<u8> },
}

impl Wire {
    /// Connects to `ws://…` or `tcp://…`, or to `wss://…` or `tls://…` as [`tls::client`] does; `receive_buffer` bounds
    /// what the kernel takes for a client that does not read.
    pub async fn connect(url: &str, receive_buffer: Option<u32>) -> io::Result<Self> {
        Self::connect_as(url, receive_buffer, &tls::client()).await
    }

    /// The same, with TLS of the test's own.
    pub async fn connect_as(
        url: &str,
        receive_buffer: Option<u32>,
        config: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let (scheme, rest) = url.split_once("://").unwrap();
        let authority = rest.split('/').next().unwrap();
        let socket = socket(authority.parse().unwrap(), receive_buffer).await?;
        let stream = match scheme {
            "wss" | "tls" => {
                let connector = TlsConnector::from(Arc::clone(config));
                Stream::tls(connector.connect(tls::server_name(), socket).await?)
            }
            _ => Stream::plain(socket),
        };
        match scheme {
            "ws" | "wss" => {
                let connected = client_async(url, stream).await;
                let (ws, _) = connected.map_err(|error| match error {
                    tungstenite::Error::Io(error) => error,
                    error => io::Error::other(error),
                })?;
                Ok(Self::Ws(Box::new(ws)))
            }
            "tcp" | "tls" => Ok(Self::Tcp { stream, unread: Vec::new() }),
            other => panic!("{other} is not a transport of these tests"),
        }
    }

    /// Sends one message: a text message, or a line.
    pub async fn send(&mut self, text: &str) -> io::Result<()> {
        match self {
            Self::Ws(ws) => ws.send(Message::text(text)).await.map_err(io::Error::other),
            Self::Tcp { stream, .. } => {
                stream.write_all(format!("{text}\n").as_bytes()).await?;
                stream.flush().await
            }
        }
    }

    /// Sends a WebSocket message of any kind.
    pub async fn send_ws(&mut self, message: Message) -> io::Result<()> {
        match self {
            Self::Ws(ws) => ws.send(message).await.map_err(io::Error::other),
            Self::Tcp { .. } => panic!("not a WebSocket connection"),
        }
    }

    /// Writes bytes past any framing.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream();
        stream.write_all(bytes).await?;
        stream.flush().await
    }

    /// Ends the sending half of the socket.
    pub async fn finish_sending(&mut self) -> io::Result<()> {
        self.stream().shutdown().await
    }

    /// The next thing that arrives. Dropping the future loses nothing.
    pub async fn receive(&mut self) -> Incoming {
        match self {
            Self::Ws(ws) => receive_ws(ws).await,
            Self::Tcp { stream, unread } => receive_line(stream, unread).await,
        }
    }

    /// This end's address.
    pub fn local_address(&self) -> SocketAddr {
        match self {
            Self::Ws(ws) => ws.get_ref().local_address(),
            Self::Tcp { stream, .. } => stream.local_address(),
        }
    }

    /// What its bytes go through.
    pub fn stream(&mut self) -> &mut Stream {
        match self {
            Self::Ws(ws) => ws.get_mut(),
            Self::Tcp { stream, .. } => stream,
        }
    }
}

async fn socket(address: SocketAddr, receive_buffer: Option<u32>) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn receive_ws(ws: &mut WebSocketStream<Stream>) -> Incoming {
    loop {
        match ws.next().await {
            Some(Ok(Message::Text(text))) => return Incoming::Text(text.as_str().into()),
            Some(Ok(Message::Pong(payload))) => return Incoming::Pong(payload.to_vec()),
            Some(Ok(Message::Ping(_))) => {}
            Some(Ok(Message::Close(frame))) => {
                return Incoming::End(frame.map(|f| (u16::from(f.code), f.reason.as_str().into())));
            }
            Some(Ok(other)) => panic!("the broker sends text messages only, not {other:?}"),
            Some(Err(_)) | None => return Incoming::End(None),
        }
    }
}

async fn receive_line(stream: &mut Stream, unread: &mut Vec<u8>) -> Incoming {
    loop {
        if let Some(end) = unread.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=end).collect();
            return Incoming::Text(String::from_utf8(line[..end].to_vec()).expect("a line of UTF-8"));
        }
        match stream.read_buf(unread).await {
            Ok(0) | Err(_) => {
                assert!(
                    unread.is_empty(),
                    "the broker cut a line short: {:?}",
                    String::from_utf8_lossy(unread)
                );
                return Incoming::End(None);
            }
            Ok(_) => {}
        }
    }
}
