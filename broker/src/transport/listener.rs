use std::{io, sync::Arc};

use tokio::net::{TcpListener, TcpStream};

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

impl Listener {
    /// Binds a listener; port 0 takes a free one.
    ///
    /// # Errors
    /// The address is taken, or not this machine's.
    pub async fn bind(url: &ListenUrl) -> Result<Self, BindError> {
        let failed = |source| BindError { url: url.to_string(), source };
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
}

/// How messages are told apart.
pub(super) fn framing(scheme: Scheme) -> Framing {
    if scheme.is_websocket() { Framing::WebSocket } else { Framing::Line }
}
