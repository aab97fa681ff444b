//! From a listener to a connection that is served.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{FutureExt, future::OptionFuture};
use tokio::{net::TcpStream, time::Instant};

use super::{Runtime, Service};
use crate::{
    codec::{CloseReason, Framing},
    config::ListenUrl,
    connection::{self, Endpoint, Socket},
    transport::{Accepted, Listener, Stream, close_frame},
};

/// After an error of `accept`, such as too many open files, the listener waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection over the limit has so long for its handshake, which it needs to be told so.
const REFUSAL: Duration = Duration::from_secs(2);

/// So many connections over the limit are told; more are dropped without a word.
const MOST_REFUSALS: usize = 256;

impl Service {
    /// Accepts on a bound listener until the broker stops.
    pub(crate) fn accept(self: &Arc<Self>, listener: Listener) {
        let service = Arc::clone(self);
        self.runtime.tasks.spawn(async move {
            let stop = service.runtime.stop_accepting.clone();
            stop.run_until_cancelled(service.accept_all(&listener)).await;
        });
    }

    async fn accept_all(&self, listener: &Listener) {
        loop {
            match listener.accept().await {
                Ok((socket, remote)) => self.admit(listener.url().clone(), socket, remote),
                Err(error) => {
                    tracing::warn!(listener = %listener.url(), %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, url: ListenUrl, socket: TcpStream, remote: Arc<str>) {
        let accepted = Instant::now();
        let runtime = Arc::clone(&self.runtime);
        let (admission, deadline) = match Place::take(&runtime) {
            Some(place) => {
                let limit = runtime.shared.settings.load().timeouts.login;
                (Admission::Served(place, Arc::clone(&self.endpoint)), accepted + limit)
            }
            None => match Refusal::take(&runtime) {
                Some(refusal) => (Admission::Refused(refusal), accepted + REFUSAL),
                None => return,
            },
        };
        let tls = Arc::clone(&self.tls);
        let stop = runtime.stop_accepting.clone();
        let begun = async move {
            let handshake = Listener::handshake(&url, socket, &tls, deadline);
            let connection = match stop.run_until_cancelled(handshake).await? {
                Ok(connection) => connection,
                Err(error) => {
                    error.report(&remote, &runtime.shared.metrics);
                    return None;
                }
            };
            match admission {
                Admission::Served(place, endpoint) => {
                    Some(place.serve(endpoint, connection, remote, accepted))
                }
                Admission::Refused(_until_told) => {
                    refuse(connection.stream, connection.framing).await;
                    None
                }
            }
        };
        // Boxed: a connection that is served shall not keep room for its handshakes. Nor for itself a second time, as
        // an async block would that waits for one after the other.
        self.runtime.tasks.spawn(begun.map(OptionFuture::from).boxed().flatten());
    }
}

/// What becomes of a connection once its handshakes are done.
enum Admission {
    Served(Place, Arc<Endpoint>),
    Refused(Refusal),
}

/// One of the connections over the limit that are told so, from the beginning of its handshake on.
struct Refusal(Arc<Runtime>);

impl Refusal {
    fn take(runtime: &Arc<Runtime>) -> Option<Self> {
        let refusal = Self(Arc::clone(runtime));
        (runtime.refusals.fetch_add(1, Ordering::AcqRel) < MOST_REFUSALS).then_some(refusal)
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        self.0.refusals.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One of `limits.connections`.
pub(super) struct Place {
    runtime: Arc<Runtime>,
}

impl Place {
    /// Takes a place, where there is one.
    pub(super) fn take(runtime: &Arc<Runtime>) -> Option<Self> {
        let metrics = &runtime.shared.metrics;
        let limit = runtime.shared.settings.load().limits.connections;
        let place = Self { runtime: Arc::clone(runtime) };
        let before = runtime.connections.fetch_add(1, Ordering::AcqRel);
        if before >= limit {
            metrics.connections_refused.increment(1);
            return None;
        }
        metrics.connections_accepted.increment(1);
        Some(place)
    }

    /// Serves a connection in this place.
    pub(super) fn serve(
        self,
        endpoint: Arc<Endpoint>,
        from: Accepted,
        remote: Arc<str>,
        accepted: Instant,
    ) -> impl Future<Output = ()> + Send + use<> {
        let Accepted { stream, framing, certificate, writer } = from;
        let id = self.runtime.last_connection.fetch_add(1, Ordering::Relaxed) + 1;
        let socket = Socket { stream, framing, remote, certificate, writer, id, accepted };
        connection::serve(endpoint, socket, self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.runtime.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Tells a client that there is no room.
async fn refuse(stream: Box<dyn Stream>, framing: Framing) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = stream;
    let mut unread = [0; 512];
    let goodbye = match framing {
        Framing::WebSocket => close_frame(CloseReason::Connections),
        Framing::Line => Vec::new(),
    };
    let said = async {
        stream.write_all(&goodbye).await?;
        stream.shutdown().await?;
        // A socket that is closed with something unread in it takes its goodbye with it.
        while stream.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    // It is not served anyway.
    tokio::time::timeout(Duration::from_secs(1), said).await.ok();
}
