use std::{io, sync::Arc};

use tokio::net::{TcpListener, TcpStream};

use super::{Stream, WebSocket};
use crate::{
    codec::Framing,
    config::{ListenUrl, Scheme},
};

/// A bound listener.
pub struct Listener {
    socket: TcpListener,
    url: ListenUrl,
}

/// A listener that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {url}: {source}")]
pub struct BindError {
    url: String,
    source: io::Error,
}

/// A connection that is ready for messages.
pub struct Accepted {
    /// Its byte stream.
    pub stream: Box<dyn Stream>,
    /// How its messages are told apart.
    pub framing: Framing,
}

impl Listener {
    /// Binds a listener; port 0 takes a free one.
    ///
    /// # Errors
    /// The address is taken, or not this machine's; a scheme that needs TLS.
    pub async fn bind(url: &ListenUrl) -> Result<Self, BindError> {
        let failed = |source| BindError { url: url.to_string(), source };
        if url.scheme.is_encrypted() {
            return Err(failed(io::Error::new(
                io::ErrorKind::Unsupported,
                "TLS listeners are not supported yet",
            )));
        }
        let socket = TcpListener::bind((url.host.as_str(), url.port)).await.map_err(failed)?;
        let port = socket.local_addr().map_err(failed)?.port();
        Ok(Self { socket, url: url.with_port(port) })
    }

    /// Where it listens, with its real port.
    pub fn url(&self) -> &ListenUrl {
        &self.url
    }

    /// The next connection, its handshake still to be done, and where it is from, such as `ws:127.0.0.1:63393`.
    ///
    /// # Errors
    /// The socket's.
    pub async fn accept(&self) -> io::Result<(TcpStream, Arc<str>)> {
        let (socket, address) = self.socket.accept().await?;
        // Answers must not wait for each other's acknowledgements. A socket that has gone already does not mind.
        socket.set_nodelay(true).ok();
        Ok((socket, format!("{}:{address}", self.url.scheme.as_str()).into()))
    }

    /// How a connection's messages are told apart.
    pub fn framing(&self) -> Framing {
        framing(self.url.scheme)
    }

    /// Does the handshake that comes before the first message.
    ///
    /// # Errors
    /// A client that speaks something else, or went away.
    pub async fn handshake(url: &ListenUrl, socket: TcpStream) -> io::Result<Accepted> {
        let framing = framing(url.scheme);
        let stream: Box<dyn Stream> = match framing {
            Framing::Line => Box::new(socket),
            Framing::WebSocket => {
                Box::new(WebSocket::accept(socket, url.path.as_deref()).await.map_err(io::Error::other)?)
            }
        };
        Ok(Accepted { stream, framing })
    }
}

fn framing(scheme: Scheme) -> Framing {
    if scheme.is_websocket() { Framing::WebSocket } else { Framing::Line }
}
