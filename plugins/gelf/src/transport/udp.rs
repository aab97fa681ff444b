//! Records in datagrams.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    net::{UdpSocket, lookup_host},
    time::timeout,
};

use super::{Outcome, Progress};
use crate::{
    chunk,
    compress::work_on,
    config::{Compression, Settings},
    server::Server,
};

/// Linux's number for a datagram that is longer than the way to the server takes.
const MESSAGE_TOO_LONG: i32 = 90;

/// So many chunks of a record are sent at once: one chunk that a server's buffer does not take costs the whole record.
const AT_ONCE: usize = 16;

/// Then the server gets so long for taking them.
const PAUSE: Duration = Duration::from_millis(1);

/// A server may move to another address, and no connection ends then: so often its name is looked up.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);

/// For how long an answer to that is waited for.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(1);

pub(crate) struct UdpConnection {
    socket: UdpSocket,
    server: Server,
    looked_up: Instant,
    compression: Compression,
    chunk_bytes: usize,
}

impl UdpConnection {
    pub(super) async fn open(server: &Server, settings: &Settings) -> io::Result<Self> {
        let addresses = addresses(server).await?;
        let address = addresses.first().ok_or_else(|| io::Error::other("the name has no address"))?;
        Ok(Self {
            socket: socket(*address).await?,
            server: server.clone(),
            looked_up: Instant::now(),
            compression: settings.compression_for(server),
            chunk_bytes: settings.chunk_bytes,
        })
    }

    /// Sends to where the server's name leads now. Where nobody knows that, all stays as it is.
    async fn follow_the_name(&mut self) {
        if self.looked_up.elapsed() < LOOK_UP_EVERY {
            return;
        }
        self.looked_up = Instant::now();
        let Ok(Ok(addresses)) = timeout(LOOK_UP_LIMIT, addresses(&self.server)).await else { return };
        let is_there = self.socket.peer_addr().is_ok_and(|address| addresses.contains(&address));
        let moved = addresses.first().filter(|_| !is_there);
        if let Some(address) = moved
            && let Ok(socket) = socket(*address).await
        {
            self.socket = socket;
        }
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
        self.follow_the_name().await;
        for (place, record) in progress.open(batch) {
            let outcome = match self.datagrams(record).await? {
                Some(datagrams) => self.send_all(&datagrams).await?,
                None => Outcome::TooLarge,
            };
            progress.set(place, outcome);
        }
        Ok(())
    }

    async fn datagrams(&self, record: &Bytes) -> io::Result<Option<Vec<Bytes>>> {
        let (compression, chunk_bytes) = (self.compression, self.chunk_bytes);
        work_on(record, move |record| chunk::datagrams(record, compression, chunk_bytes)).await
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

async fn addresses(server: &Server) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((server.host.as_str(), server.port)).await?.collect())
}

async fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    async fn arrived(socket: &UdpSocket) -> usize {
        let mut buffer = [0; 100];
        timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_server_that_moves_is_followed() {
        let (old, new) =
            (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let table =
            json!({ "server": format!("udp://{}", old.local_addr().unwrap()), "compression": "none" });
        let settings = serde_json::from_value::<Config>(table).unwrap().settings().unwrap();
        let mut connection = UdpConnection::open(&settings.servers[0], &settings).await.unwrap();
        // A port stands for an address here: nobody else answers for a name.
        connection.server.port = new.local_addr().unwrap().port();
        for (length, at) in [(1, &old), (2, &new)] {
            let batch = [Bytes::from(vec![b'x'; length])];
            let mut progress = Progress::default();
            progress.prepare(1);
            connection.send(&batch, &mut progress).await.unwrap();
            assert_eq!(arrived(at).await, length);
            connection.looked_up = Instant::now().checked_sub(LOOK_UP_EVERY).unwrap();
        }
    }
}
