//! A connection without a client on it.

use std::fmt;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{ConnectOptions, Error, transport};

/// A connection whose handshakes are done and on which nothing was said yet, for tools that speak the wire protocol
/// themselves: load generators, probes.
///
/// Login, framing, answers to pings: all of it is left to whoever holds this.
pub struct RawConnection {
    /// The bytes, below them TLS where the URL says so.
    pub stream: Box<dyn RawStream>,
    /// How messages are told apart in them.
    pub framing: Framing,
}

impl RawConnection {
    /// Connects to where `options` say, once, within their `connect_timeout`. Their login is not used.
    ///
    /// # Errors
    /// [`Error::Connect`] when the connection cannot be made.
    pub async fn open(options: &ConnectOptions) -> Result<Self, Error> {
        let opened = tokio::time::timeout(options.connect_timeout, transport::open_raw(options)).await;
        let failed = |reason| Error::Connect { url: options.endpoint.url().to_owned(), reason };
        opened.map_err(|_| Error::Timeout)?.map_err(failed)
    }
}

impl fmt::Debug for RawConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawConnection").field("framing", &self.framing).finish_non_exhaustive()
    }
}

/// A stream of bytes in both directions.
pub trait RawStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> RawStream for S {}

/// How messages are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Each is a WebSocket message.
    WebSocket,
    /// Each is a line.
    Lines,
}
