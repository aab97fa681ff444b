//! Connections to servers.

mod http;
mod stream;
mod tls;
mod udp;

use std::{collections::VecDeque, io, time::Duration};

use bytes::Bytes;
use tokio::{net::TcpStream, time::timeout};

pub(crate) use tls::check;

use crate::{
    config::Settings,
    server::{Scheme, Server},
};
use http::HttpConnections;
use stream::StreamConnection;
use udp::UdpConnection;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Sent,
    TooLarge,
    Rejected,
}

/// What became of the records of a batch. Kept when sending fails or is given up half-way.
#[derive(Debug, Default)]
pub(crate) struct Progress(VecDeque<Option<Outcome>>);

impl Progress {
    /// Ready for a batch of so many, of which what is known already stays known.
    fn prepare(&mut self, records: usize) {
        if self.0.len() < records {
            self.0.resize(records, None);
        }
    }

    /// The records of a batch that are not done yet, with their places.
    fn open<'a>(&self, batch: &'a [Bytes]) -> Vec<(usize, &'a Bytes)> {
        let is_open = |place: usize| self.0.get(place).is_none_or(Option::is_none);
        batch.iter().enumerate().filter(|(place, _)| is_open(*place)).collect()
    }

    fn set(&mut self, place: usize, outcome: Outcome) {
        if let Some(slot) = self.0.get_mut(place) {
            *slot = Some(outcome);
        }
    }

    /// Takes what is known of the records up to the first that is not done.
    pub(crate) fn take_done(&mut self) -> Vec<Outcome> {
        let mut done = Vec::new();
        while let Some(Some(outcome)) = self.0.front() {
            done.push(*outcome);
            self.0.pop_front();
        }
        done
    }
}

/// What of that which was sent is sent again over the next connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resends {
    /// The last records, as far as `resend` says.
    Last,
    Nothing,
}

/// A connection that records can be sent over.
pub(crate) enum Connection {
    Udp(UdpConnection),
    Stream(Box<StreamConnection>),
    Http(Box<HttpConnections>),
}

impl Connection {
    /// Connects anew, the server's name looked up anew.
    pub(crate) async fn open(server: &Server, settings: &Settings) -> io::Result<Self> {
        let connect = async {
            Ok(match server.scheme {
                Scheme::Udp => Self::Udp(UdpConnection::open(server, settings).await?),
                Scheme::Tcp | Scheme::Tls => {
                    Self::Stream(Box::new(StreamConnection::open(server, settings).await?))
                }
                Scheme::Http | Scheme::Https => {
                    Self::Http(Box::new(HttpConnections::open(server, settings).await?))
                }
            })
        };
        // Boxed: a TLS handshake is large, and rare.
        within(settings.timeout, "connecting", Box::pin(connect)).await
    }

    /// Whether what was sent may be lost with the connection, so that it makes sense to send it again.
    pub(crate) fn resends(&self) -> Resends {
        match self {
            Self::Stream(_) => Resends::Last,
            Self::Udp(_) | Self::Http(_) => Resends::Nothing,
        }
    }

    /// Waits until the connection has ended, and says why. May be dropped and asked again.
    pub(crate) async fn closed(&mut self) -> io::Error {
        match self {
            Self::Udp(connection) => connection.closed().await,
            Self::Stream(connection) => connection.closed().await,
            // Each request finds out by itself.
            Self::Http(_) => std::future::pending().await,
        }
    }

    /// Sends records, and notes what became of each.
    pub(crate) async fn send(&mut self, batch: &[Bytes], progress: &mut Progress) -> io::Result<()> {
        progress.prepare(batch.len());
        match self {
            Self::Udp(connection) => connection.send(batch, progress).await,
            Self::Stream(connection) => connection.send(batch, progress).await,
            Self::Http(connections) => connections.send(batch, progress).await,
        }
    }

    /// Says goodbye.
    pub(crate) async fn finish(self) {
        if let Self::Stream(connection) = self {
            connection.finish().await;
        }
    }
}

/// A TCP connection, to the first of the server's addresses that takes one.
async fn connect(server: &Server) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Waits for work so long at most.
async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("{what} took longer than {limit:?}"));
    timeout(limit, work).await.map_err(late)?
}
