//! What a client counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the client was made. Whatever is dropped, ignored or refused is among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that became usable, the first one included.
    pub connections: u64,
    /// Events received.
    pub events_received: u64,
    /// Events dropped because no [`Events`](crate::Events) was there to take them.
    pub events_discarded: u64,
    /// Server requests received.
    pub requests_received: u64,
    /// Server requests refused because [`max_handlers`](crate::ConnectOptions::max_handlers) were at work.
    pub requests_refused: u64,
    /// Answers of handlers that came after their connection was lost.
    pub replies_dropped: u64,
    /// Messages that fit nothing: answers and acks to requests that are no longer open, or no message at
    /// all of the protocol.
    pub messages_ignored: u64,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: Counter,
    pub(crate) events_received: Counter,
    pub(crate) events_discarded: Counter,
    pub(crate) requests_received: Counter,
    pub(crate) requests_refused: Counter,
    pub(crate) replies_dropped: Counter,
    pub(crate) messages_ignored: Counter,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            connections: self.connections.get(),
            events_received: self.events_received.get(),
            events_discarded: self.events_discarded.get(),
            requests_received: self.requests_received.get(),
            requests_refused: self.requests_refused.get(),
            replies_dropped: self.replies_dropped.get(),
            messages_ignored: self.messages_ignored.get(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
