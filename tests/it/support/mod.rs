//! What the tests are written with: a broker process, a raw client, and the command line.
//!
//! ```ignore
//! #[tokio::test]
//! async fn a_user_is_listed() {
//!     on_both(async |transport| {
//!         let broker = Broker::start(Options::default()).await;
//!         let mut ann = broker.login(transport, "ann").await;
//!         let users = ann.ok("core/user/list", json!({})).await;
//!         assert_eq!(users, json!({"ann": [ann.session_id()]}));
//!     })
//!     .await;
//! }
//! ```
#![allow(dead_code, reason = "a helper may be there before the module that needs it")]

mod broker;
mod cli;
mod client;
pub mod code;
mod halves;
pub mod http;
mod metrics;
pub mod sources;
mod stream;
pub mod tls;
mod transport;
mod wire;

pub use broker::{ADMIN_PASSWORD, Broker, Options, kilobytes, with_admin};
pub use cli::{
    Output, c_library, example_library, fixture_command, fixture_library, jackfield, jackfield_command,
    jackfield_with_input, released, run,
};
pub use client::{Client, error_of, raw_field, request_message};
pub use halves::{Receiver, Sender, connect_halves};
pub use metrics::Metrics;
pub use transport::{Transport, on_all, on_both, on_tls};

use std::time::Duration;

/// How long a test waits for what must come: long, for the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Awaits `future` for [`DEADLINE`]; a test that waits longer fails, naming `what` it waited for.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {DEADLINE:?} in vain for {what}"),
    }
}

/// Asks `condition` again and again until it holds, for [`DEADLINE`].
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Sleeps.
pub async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}
