use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jackfield_plugin_api::PeerCertificate;
use rustls::CertificateError;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedWriteHalf},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Listener, Stream,
    plain::Plain,
    tls::{Keeper, Material, peer_certificate},
    websocket,
};
use crate::{
    codec::Framing,
    config::ListenUrl,
    telemetry::{Metrics, TlsFailure},
};

/// So long may a TLS handshake take, within what `timeouts.login` leaves.
const TLS_LIMIT: Duration = Duration::from_secs(10);

/// For how long a client whose TLS handshake failed is still listened to: a socket that is closed with something unread
/// in it takes the alert that says why with it.
const FAREWELL: Duration = Duration::from_secs(1);

/// How much one connection's TLS may hold of what the socket does not take. More stays in the queue, where it is seen.
const TLS_BUFFER: usize = 32 << 10;

/// The first byte of every TLS connection: a record of the handshake. No message and no HTTP request begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// Whether these are the first bytes of a TLS client's.
pub(super) fn begins_tls(bytes: &[u8]) -> bool {
    bytes.first() == Some(&TLS_HANDSHAKE)
}

/// A connection that is ready for messages.
pub struct Accepted {
    /// Its byte stream.
    pub stream: Box<dyn Stream>,
    /// How its messages are told apart.
    pub framing: Framing,
    /// The certificate that the client has shown.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Writes to the socket from elsewhere; `None` where nothing but the stream may, as with TLS.
    pub writer: Option<Arc<OwnedWriteHalf>>,
}

/// Why a connection did not get as far as messages.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The first byte on a TLS listener is not TLS.
    #[error("the client does not speak TLS")]
    PlainText,
    /// The first byte on a listener without TLS is TLS.
    #[error("the client speaks TLS")]
    UnexpectedTls,
    /// No TLS within the limit.
    #[error("no TLS handshake in time")]
    TlsTimeout,
    /// TLS that cannot be agreed upon, a certificate that is not good among the reasons.
    #[error("{0}")]
    Tls(io::Error),
    /// No WebSocket handshake, or the client went away.
    #[error("{0}")]
    Other(io::Error),
}

impl Listener {
    /// Does the handshakes that come before the first message.
    ///
    /// # Errors
    /// A client that speaks something else, takes too long, or went away.
    pub async fn handshake(
        url: &ListenUrl,
        socket: TcpStream,
        tls: &Keeper,
        deadline: Instant,
    ) -> Result<Accepted, HandshakeError> {
        if url.scheme.is_encrypted() {
            // Boxed: connections without TLS shall not keep room for it.
            return Box::pin(encrypted(url, socket, tls, deadline)).await;
        }
        let framing = super::listener::framing(url.scheme);
        let socket = match framing {
            // Nothing is waited for here, so a line that begins as TLS is noticed where lines are read.
            Framing::Line => socket,
            Framing::WebSocket => {
                let accepted = async {
                    if begins_tls(&first_byte(&socket).await.map_err(HandshakeError::Other)?) {
                        return Err(HandshakeError::UnexpectedTls);
                    }
                    upgraded(socket, url).await
                };
                timeout_at(deadline, accepted).await.map_err(|_| too_late())??
            }
        };
        let plain = Plain::new(socket);
        let writer = Some(plain.writer());
        Ok(Accepted { stream: Box::new(plain), framing, certificate: None, writer })
    }
}

async fn encrypted(
    url: &ListenUrl,
    socket: TcpStream,
    tls: &Keeper,
    deadline: Instant,
) -> Result<Accepted, HandshakeError> {
    let framing = super::listener::framing(url.scheme);
    let material = tls.current().ok_or_else(|| HandshakeError::Tls(io::ErrorKind::NotFound.into()))?;
    let limit = deadline.min(Instant::now() + TLS_LIMIT);
    let secured = timeout_at(limit, secure(socket, &material, framing));
    let (stream, certificate) = secured.await.map_err(|_| HandshakeError::TlsTimeout)??;
    let stream: Box<dyn Stream> = match framing {
        Framing::Line => Box::new(stream),
        Framing::WebSocket => {
            Box::new(timeout_at(deadline, upgraded(stream, url)).await.map_err(|_| too_late())??)
        }
    };
    Ok(Accepted { stream, framing, certificate, writer: None })
}

type Secured = (TlsStream<TcpStream>, Option<Arc<PeerCertificate>>);

async fn secure(socket: TcpStream, material: &Material, framing: Framing) -> Result<Secured, HandshakeError> {
    let first = first_byte(&socket).await.map_err(HandshakeError::Tls)?;
    if first.is_empty() {
        // Somebody who only looked whether the port is open: no failure of TLS.
        return Err(HandshakeError::Other(io::ErrorKind::UnexpectedEof.into()));
    }
    if !begins_tls(&first) {
        return Err(HandshakeError::PlainText);
    }
    let acceptor = TlsAcceptor::from(material.server_config(framing));
    let accept = acceptor.accept_with(socket, |connection| connection.set_buffer_limit(Some(TLS_BUFFER)));
    let stream = match accept.into_fallible().await {
        Ok(stream) => stream,
        Err((error, socket)) => {
            bid_farewell(socket).await;
            return Err(HandshakeError::Tls(error));
        }
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = shown.map(peer_certificate);
    if certificate.as_ref().and_then(|certificate| certificate.not_after).is_some_and(is_over) {
        // A resumed session does not have its certificate verified again.
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        return Err(HandshakeError::Tls(io::Error::new(io::ErrorKind::InvalidData, expired)));
    }
    Ok((stream, certificate.map(Arc::new)))
}

fn is_over(seconds: u64) -> bool {
    SystemTime::now().duration_since(UNIX_EPOCH).is_ok_and(|now| now.as_secs() > seconds)
}

/// The byte that the client begins with, left where it is; nothing where it has gone.
async fn first_byte(socket: &TcpStream) -> io::Result<Vec<u8>> {
    let mut byte = [0];
    let length = socket.peek(&mut byte).await?;
    Ok(byte.into_iter().take(length).collect())
}

async fn upgraded<S: Stream>(stream: S, url: &ListenUrl) -> Result<S, HandshakeError> {
    let accepted = websocket::accept(stream, url.path.as_deref()).await;
    accepted.map_err(|error| HandshakeError::Other(io::Error::other(error)))
}

fn too_late() -> HandshakeError {
    HandshakeError::Other(io::ErrorKind::TimedOut.into())
}

async fn bid_farewell(mut socket: TcpStream) {
    let mut unread = [0; 512];
    let said = async {
        socket.shutdown().await?;
        while socket.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    // It is not served anyway.
    timeout(FAREWELL, said).await.ok();
}

impl HandshakeError {
    /// Logs and counts it.
    pub fn report(&self, remote: &str, metrics: &Metrics) {
        if let Some(failure) = self.tls_failure() {
            metrics.tls_failures.add(failure, 1);
        }
        match self {
            Self::PlainText => tracing::warn!(remote, "a client without TLS came to a TLS listener; closed"),
            Self::UnexpectedTls => {
                tracing::warn!(remote, "a TLS client came to a listener without TLS; closed");
            }
            Self::TlsTimeout | Self::Tls(_) => tracing::info!(remote, error = %self, "TLS handshake failed"),
            Self::Other(error) => tracing::debug!(remote, %error, "no handshake"),
        }
    }

    fn tls_failure(&self) -> Option<TlsFailure> {
        match self {
            Self::PlainText => Some(TlsFailure::PlainText),
            Self::UnexpectedTls => Some(TlsFailure::PlainPort),
            Self::TlsTimeout => Some(TlsFailure::Timeout),
            Self::Tls(error) => Some(failure_of(error)),
            Self::Other(_) => None,
        }
    }
}

fn failure_of(error: &io::Error) -> TlsFailure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
            TlsFailure::ClientCertificate
        }
        Some(rustls::Error::AlertReceived(_)) => TlsFailure::RefusedByClient,
        Some(_) => TlsFailure::Protocol,
        None => TlsFailure::Disconnected,
    }
}
