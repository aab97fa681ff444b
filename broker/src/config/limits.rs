//! `[limits]` and `[timeouts]`.

use std::time::Duration;

use super::read::{count, duration};
use super::section::{Section, section};

/// The largest number a plain counting limit takes.
const MANY: u64 = 1_000_000_000;

section! {
    /// What one client, or all of them, may use.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Limits {
        /// The longest message accepted, in bytes (64 bytes to 64 MiB); a line counts without its ending.
        pub message_bytes: usize = 1 << 20, count(64..=64 << 20);
        /// The most bytes that wait to be written to one session (64 bytes to 4 GiB).
        pub outbound_bytes: usize = 4 << 20, count(64..=4 << 30);
        /// The most requests of one connection that are being worked on at once.
        pub inflight: usize = 1024, count(1..=MANY);
        /// The most connections open at once.
        pub connections: usize = 1_000_000, count(1..=MANY);
        /// The most connections of one user at once; 0 is no limit.
        pub connections_per_user: usize = 0, count(0..=MANY);
        /// The most requests per second of one session, with a burst of one second's worth; 0 is no limit.
        pub requests_per_second: u32 = 0, count(0..=MANY);
        /// The most subscriptions of one session.
        pub subscriptions_per_session: usize = 10_000, count(1..=MANY);
        /// The most commands that one session serves; judging logins counts as one.
        pub registrations_per_session: usize = 1_000, count(1..=MANY);
    }
}

impl Section for Limits {}

section! {
    /// How long the broker waits. All are above zero.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Timeouts {
        /// For an answer, or a first ack, to a request that the broker sent.
        pub answer: Duration = Duration::from_secs(5), duration;
        /// For an answer after each ack.
        pub acked: Duration = Duration::from_secs(180), duration;
        /// For the first login on a new connection.
        pub login: Duration = Duration::from_secs(30), duration;
        /// The silence after which a session is pinged.
        pub ping: Duration = Duration::from_secs(60), duration;
        /// For a handler in the broker, from its start or from its last ack.
        pub handler: Duration = Duration::from_secs(180), duration;
        /// For a socket that takes nothing while something waits to be written.
        pub write: Duration = Duration::from_secs(10), duration;
        /// For requests under way and queues to be written when the broker stops.
        pub drain: Duration = Duration::from_secs(10), duration;
    }
}

impl Section for Timeouts {}
