//! Records in a stream, each ended by a zero byte.

use std::{io, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    time::timeout,
};

use super::{Outcome, Progress, connect, tls, within};
use crate::{
    config::Settings,
    server::{Scheme, Server},
};

/// How long a server has for saying that it does not want our certificate: with TLS 1.3 it does so after the
/// handshake, and what was sent before that would be lost.
const REFUSAL: Duration = Duration::from_millis(100);

/// For how long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// TCP, or TLS over it.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) struct StreamConnection {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    limit: Duration,
}

impl StreamConnection {
    pub(super) async fn open(server: &Server, settings: &Settings) -> io::Result<Self> {
        let stream = connect(server).await?;
        if server.scheme == Scheme::Tcp {
            return Ok(Self::new(Box::new(stream), settings.timeout));
        }
        let stream = tls::handshake(stream, server, &settings.tls, &[]).await?;
        let mut connection = Self::new(Box::new(stream), settings.timeout);
        match timeout(REFUSAL, connection.closed()).await {
            Ok(error) => Err(error),
            Err(_) => Ok(connection),
        }
    }

    fn new(stream: Box<dyn Stream>, limit: Duration) -> Self {
        let (reader, writer) = split(stream);
        Self { reader, writer, limit }
    }

    pub(super) async fn closed(&mut self) -> io::Error {
        end_of(&mut self.reader).await
    }

    pub(super) async fn send(&mut self, batch: &[Bytes], progress: &mut Progress) -> io::Result<()> {
        let Self { reader, writer, limit } = self;
        let records = progress.open(batch);
        let (text, ends) = framed(&records);
        let mut ends = ends.into_iter().peekable();
        let (mut rest, mut written) = (text.as_slice(), 0);
        while !rest.is_empty() {
            let count = tokio::select! {
                biased;
                error = end_of(reader) => return Err(error),
                count = within(*limit, "writing", write_some(writer, rest)) => count?,
            };
            rest = rest.get(count..).unwrap_or_default();
            written += count;
            while let Some((place, _)) = ends.next_if(|(_, end)| *end <= written) {
                progress.set(place, Outcome::Sent);
            }
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) {
        // What is not read by then is the server's own affair.
        timeout(GOODBYE, self.writer.shutdown()).await.ok();
    }
}

/// Writes what the socket takes, and gives it to the socket: TLS keeps some back otherwise.
async fn write_some(writer: &mut WriteHalf<Box<dyn Stream>>, bytes: &[u8]) -> io::Result<usize> {
    let count = writer.write(bytes).await?;
    writer.flush().await?;
    if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) }
}

/// The records with a zero byte behind each, and where each ends, by their places.
fn framed(records: &[(usize, &Bytes)]) -> (Vec<u8>, Vec<(usize, usize)>) {
    let mut text = Vec::with_capacity(records.iter().map(|(_, record)| record.len() + 1).sum());
    let mut ends = Vec::with_capacity(records.len());
    for (place, record) in records {
        text.extend_from_slice(record);
        text.push(0);
        ends.push((*place, text.len()));
    }
    (text, ends)
}

/// Reads what nobody asked for, until there is no more.
async fn end_of(reader: &mut ReadHalf<Box<dyn Stream>>) -> io::Error {
    let mut unwanted = [0; 1024];
    loop {
        match reader.read(&mut unwanted).await {
            Ok(0) => return io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Vec<Bytes> {
        ["first", "second", "third"].map(Bytes::from).to_vec()
    }

    fn connection(capacity: usize) -> (StreamConnection, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(capacity);
        (StreamConnection::new(Box::new(ours), Duration::from_secs(5)), theirs)
    }

    async fn read(server: &mut tokio::io::DuplexStream, bytes: usize) -> String {
        let mut text = vec![0; bytes];
        server.read_exact(&mut text).await.unwrap();
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn records_are_ended_by_zeros() {
        let (mut connection, mut server) = connection(1000);
        let mut progress = Progress::default();
        progress.prepare(3);
        connection.send(&batch(), &mut progress).await.unwrap();
        assert_eq!(progress.take_done(), [Outcome::Sent; 3]);
        connection.finish().await;
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "first\0second\0third\0");
    }

    /// The record that was cut short is the first of the next connection.
    #[tokio::test]
    async fn what_was_not_written_whole_is_not_done() {
        let (mut lost, mut server) = connection(9);
        let mut progress = Progress::default();
        progress.prepare(3);
        let closing = async {
            assert_eq!(read(&mut server, 4).await, "firs");
            drop(server);
        };
        let records = batch();
        let (sent, ()) = tokio::join!(lost.send(&records, &mut progress), closing);
        assert!(sent.is_err());
        assert_eq!(progress.take_done(), [Outcome::Sent]);
        let (mut connection, mut server) = connection(1000);
        progress.prepare(2);
        connection.send(&records[1..], &mut progress).await.unwrap();
        assert_eq!(read(&mut server, 13).await, "second\0third\0");
        assert_eq!(progress.take_done(), [Outcome::Sent; 2]);
    }

    #[tokio::test]
    async fn a_server_that_left_is_noticed_before_anything_is_written() {
        let (mut connection, server) = connection(1000);
        drop(server);
        let mut progress = Progress::default();
        progress.prepare(3);
        let error = connection.send(&batch(), &mut progress).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(progress.take_done(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_nothing_is_given_up() {
        let (mut connection, _server) = connection(6);
        let mut progress = Progress::default();
        progress.prepare(3);
        let error = connection.send(&batch(), &mut progress).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(progress.take_done(), [Outcome::Sent]);
    }
}
