//! The two transports, and running a test on each.

use std::fmt;
use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;

/// A transport of protocol.md §1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Ws,
    Tcp,
}

impl Transport {
    /// Both, for tests whose steps differ little.
    pub const BOTH: [Self; 2] = [Self::Ws, Self::Tcp];

    /// The URL scheme, also the prefix of a session's `remote`.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Tcp => "tcp",
        }
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

#[allow(clippy::print_stderr, reason = "says on which transport the test failed")]
async fn labelled<F: AsyncFn(Transport)>(transport: Transport, test: &F) {
    let run = Box::pin(AssertUnwindSafe(test(transport)));
    if let Err(failure) = run.catch_unwind().await {
        eprintln!("failed on {transport}");
        resume_unwind(failure);
    }
}
