//! Records in datagrams.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use tokio::net::{UdpSocket, lookup_host};

use super::{Outcome, Progress};
use crate::{
    chunk,
    config::{Compression, Settings},
    server::Server,
};

/// Linux's number for a datagram that is longer than the way to the server takes.
const MESSAGE_TOO_LONG: i32 = 90;

/// So many chunks of a record are sent at once: one chunk that a server's buffer does not take costs the whole record.
const AT_ONCE: usize = 16;

/// Then the server gets so long for taking them.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) struct UdpConnection {
    socket: UdpSocket,
    compression: Compression,
    chunk_bytes: usize,
}

impl UdpConnection {
    pub(super) async fn open(server: &Server, settings: &Settings) -> io::Result<Self> {
        let mut addresses = lookup_host((server.host.as_str(), server.port)).await?;
        let address = addresses.next().ok_or_else(|| io::Error::other("the name has no address"))?;
        let any = match address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        let compression = settings.compression_for(server);
        Ok(Self { socket, compression, chunk_bytes: settings.chunk_bytes })
    }

    /// There is no connection that could end, but the server's machine may say that nobody listens there.
    pub(super) async fn closed(&mut self) -> io::Error {
        let mut answer = [0; 64];
        loop {
            // Nobody asked for an answer.
            if let Err(error) = self.socket.recv(&mut answer).await {
                return error;
            }
        }
    }

    pub(super) async fn send(&mut self, batch: &[Bytes], progress: &mut Progress) -> io::Result<()> {
        for (place, record) in progress.open(batch) {
            let outcome = match self.datagrams(record).await? {
                Some(datagrams) => self.send_all(&datagrams).await?,
                None => Outcome::TooLarge,
            };
            progress.set(place, outcome);
        }
        Ok(())
    }

    /// A long record takes long to compress and to cut, so that does not happen on the runtime's threads.
    async fn datagrams(&self, record: &Bytes) -> io::Result<Option<Vec<Bytes>>> {
        let (compression, chunk_bytes) = (self.compression, self.chunk_bytes);
        if record.len() <= 16 << 10 {
            return Ok(chunk::datagrams(record, compression, chunk_bytes));
        }
        let record = record.clone();
        let split = tokio::task::spawn_blocking(move || chunk::datagrams(&record, compression, chunk_bytes));
        split.await.map_err(io::Error::other)
    }

    async fn send_all(&self, datagrams: &[Bytes]) -> io::Result<Outcome> {
        for (number, datagram) in datagrams.iter().enumerate() {
            if number > 0 && number % AT_ONCE == 0 {
                tokio::time::sleep(PAUSE).await;
            }
            match self.socket.send(datagram).await {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(MESSAGE_TOO_LONG) => return Ok(Outcome::TooLarge),
                Err(error) => return Err(error),
            }
        }
        Ok(Outcome::Sent)
    }
}
