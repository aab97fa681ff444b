//! Records in HTTP requests, each of which the server answers.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1::{SendRequest, handshake},
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};

use super::{Outcome, Progress, connect, tls, within};
use crate::{
    compress::{compress, content_encoding, work_on},
    config::{Compression, Settings, TlsFiles},
    record,
    server::{Scheme, Server},
};

/// More of an answer is not read; its connection is not used again.
const LONGEST_ANSWER: usize = 64 << 10;

const AGENT: &str = concat!("jackfield-gelf/", env!("CARGO_PKG_VERSION"));

/// Connections that are used at the same time.
pub(crate) struct HttpConnections {
    lanes: Vec<Lane>,
}

impl HttpConnections {
    pub(super) async fn open(server: &Server, settings: &Settings) -> io::Result<Self> {
        let lane = || Lane {
            server: server.clone(),
            tls: settings.tls.clone(),
            compression: settings.compression_for(server),
            limit: settings.timeout,
            live: None,
        };
        let mut lanes: Vec<Lane> = (0..settings.http_connections).map(|_| lane()).collect();
        if let Some(first) = lanes.first_mut() {
            first.connect().await?;
        }
        Ok(Self { lanes })
    }

    /// Each connection takes the next record as soon as it has an answer; so their order may change.
    pub(super) async fn send(&mut self, batch: &[Bytes], progress: &mut Progress) -> io::Result<()> {
        let mut waiting = progress.open(batch).into_iter();
        let mut failed = Ok(());
        let mut under_way = FuturesUnordered::new();
        for lane in &mut self.lanes {
            if let Some((place, record)) = waiting.next() {
                under_way.push(lane.post(place, record));
            }
        }
        while let Some((lane, place, outcome)) = under_way.next().await {
            match outcome {
                Ok(outcome) => progress.set(place, outcome),
                Err(error) => failed = Err(error),
            }
            if let (Ok(()), Some((place, record))) = (&failed, waiting.next()) {
                under_way.push(lane.post(place, record));
            }
        }
        failed
    }
}

/// One connection, made when it is needed.
struct Lane {
    server: Server,
    tls: TlsFiles,
    compression: Compression,
    limit: Duration,
    live: Option<Live>,
}

struct Live {
    requests: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Lane {
    async fn connect(&mut self) -> io::Result<()> {
        let stream = connect(&self.server).await?;
        self.live = Some(if self.server.scheme == Scheme::Http {
            live(stream).await?
        } else {
            live(tls::handshake(stream, &self.server, &self.tls, &[b"http/1.1"]).await?).await?
        });
        Ok(())
    }

    /// Sends a record, and gives itself back with what became of it.
    async fn post(&mut self, place: usize, record: &Bytes) -> (&mut Self, usize, io::Result<Outcome>) {
        let limit = self.limit;
        let outcome = within(limit, "an answer", self.exchange(record)).await;
        if outcome.is_err() {
            self.live = None;
        }
        (self, place, outcome)
    }

    /// Sends a record, as much of its `full_message` as the server takes.
    async fn exchange(&mut self, record: &Bytes) -> io::Result<Outcome> {
        let mut record = record.clone();
        loop {
            let status = self.ask(&record).await?;
            if status != StatusCode::PAYLOAD_TOO_LARGE {
                return judge(status, &self.server);
            }
            match work_on(&record, |record| record::halved(record)).await? {
                Some(shorter) => record = shorter,
                None => return judge(status, &self.server),
            }
        }
    }

    async fn ask(&mut self, record: &Bytes) -> io::Result<StatusCode> {
        let request = self.request(record).await?;
        // A server may close a connection that was quiet for long.
        if self.live.as_ref().is_none_or(|live| live.requests.is_closed()) {
            self.connect().await?;
        }
        let live = self.live.as_mut().ok_or_else(|| io::Error::other("not connected"))?;
        live.requests.ready().await.map_err(io::Error::other)?;
        let answer = live.requests.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status();
        // Read to its end, for the connection is used again.
        if Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await.is_err() {
            self.live = None;
        }
        Ok(status)
    }

    async fn request(&self, record: &Bytes) -> io::Result<Request<Full<Bytes>>> {
        let compression = self.compression;
        let body = work_on(record, move |record| compress(record, compression)).await??;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.server.path.as_str())
            .header(HOST, self.server.authority())
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json");
        if let Some(encoding) = content_encoding(self.compression) {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        if let Some(authorization) = &self.server.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(body)).map_err(io::Error::other)
    }
}

async fn live<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> io::Result<Live> {
    let (requests, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // An error of the connection reaches whoever waits for an answer.
    let driver = tokio::spawn(async { connection.await.unwrap_or_default() });
    Ok(Live { requests, driver })
}

/// Graylog answers 202. What says that the record is at fault is final. Everything else may be better next time: where a
/// path or a password is wrong, all records are good.
fn judge(status: StatusCode, server: &Server) -> io::Result<Outcome> {
    match status {
        StatusCode::ACCEPTED => Ok(Outcome::Sent),
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            tracing::warn!(%server, %status, "the log server rejected a record");
            Ok(Outcome::Rejected)
        }
        status => Err(unexpected(status)),
    }
}

fn unexpected(status: StatusCode) -> io::Error {
    io::Error::other(format!("the server answered {status} instead of 202"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_202_is_an_acknowledgement() {
        let server = Server::parse("http://a").unwrap();
        let of = |status: u16| judge(StatusCode::from_u16(status).unwrap(), &server).ok();
        assert_eq!(of(202), Some(Outcome::Sent));
        for status in [400, 413, 422] {
            assert_eq!(of(status), Some(Outcome::Rejected), "{status}");
        }
        for status in [200, 204, 301, 401, 403, 404, 405, 407, 408, 415, 429, 500, 502, 503] {
            assert_eq!(of(status), None, "{status}");
        }
    }
}
