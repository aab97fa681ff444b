//! The transports, and running a test on each.

use std::fmt;
use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;

/// A transport of protocol.md §1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Ws,
    Tcp,
    Wss,
    Tls,
}

impl Transport {
    /// Those without TLS, for tests whose steps differ little.
    pub const BOTH: [Self; 2] = [Self::Ws, Self::Tcp];

    /// The URL scheme, also the prefix of a session's `remote`.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Tcp => "tcp",
            Self::Wss => "wss",
            Self::Tls => "tls",
        }
    }

    /// Whether messages are WebSocket messages.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// Whether there is TLS below.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Wss | Self::Tls)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme())
    }
}

/// Runs `test` on WebSocket and on TCP at the same time; a failure names the transport.
pub async fn on_both<F: AsyncFn(Transport)>(test: F) {
    tokio::join!(labelled(Transport::Ws, &test), labelled(Transport::Tcp, &test));
}

/// The same on the transports with TLS too. Brokers need [`Options::with_tls`](super::Options::with_tls) for that.
pub async fn on_all<F: AsyncFn(Transport)>(test: F) {
    tokio::join!(on_both(&test), on_tls(&test));
}

/// The same on the transports with TLS alone.
pub async fn on_tls<F: AsyncFn(Transport)>(test: F) {
    tokio::join!(labelled(Transport::Wss, &test), labelled(Transport::Tls, &test));
}

#[allow(clippy::print_stderr, reason = "says on which transport the test failed")]
async fn labelled<F: AsyncFn(Transport)>(transport: Transport, test: &F) {
    let run = Box::pin(AssertUnwindSafe(test(transport)));
    if let Err(failure) = run.catch_unwind().await {
        eprintln!("failed on {transport}");
        resume_unwind(failure);
    }
}
