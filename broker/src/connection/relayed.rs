use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use tokio::time::Instant;

use super::inflight::{FIRST_ACK, InFlight};

/// So many are kept before it is looked which of them were answered.
const FEW: usize = 64;

/// This connection's requests that sessions are to answer, in the order in which they came. Most connections have none,
/// and keep no room for them.
#[derive(Default)]
pub(super) struct RelayedRequests(Option<Box<Waiting>>);

#[derive(Default)]
struct Waiting {
    /// With the time of the first ack, which is the same for all.
    requests: VecDeque<(Instant, Weak<InFlight>)>,
    /// When there are so many, those that were answered are sorted out.
    crowded: usize,
}

impl RelayedRequests {
    pub(super) fn add(&mut self, request: &Arc<InFlight>) {
        let waiting = self.0.get_or_insert_default();
        waiting.forget_answered();
        if waiting.requests.len() >= waiting.crowded.max(FEW) {
            waiting.requests.retain(|(_, request)| request.strong_count() > 0);
            waiting.crowded = waiting.requests.len() * 2;
        }
        waiting.requests.push_back((Instant::now() + FIRST_ACK, Arc::downgrade(request)));
    }

    /// When the next of them is to be acked.
    pub(super) fn next_ack(&self) -> Option<Instant> {
        self.0.as_ref()?.requests.front().map(|(at, _)| *at)
    }

    /// Acks those that have waited so long.
    pub(super) fn ack_due(&mut self, now: Instant) {
        let Some(waiting) = &mut self.0 else { return };
        waiting.forget_answered();
        while let Some((_, request)) = waiting.requests.pop_front_if(|(at, _)| *at <= now) {
            if let Some(request) = request.upgrade() {
                request.ack_relayed();
            }
        }
        if waiting.requests.is_empty() {
            self.0 = None;
        }
    }

    /// Takes out all that are not answered.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Arc<InFlight>> {
        let waiting = self.0.take().unwrap_or_default();
        waiting.requests.into_iter().filter_map(|(_, request)| request.upgrade())
    }
}

impl Waiting {
    /// Those that came first and are answered are not kept.
    fn forget_answered(&mut self) {
        while self.requests.front().is_some_and(|(_, request)| request.strong_count() == 0) {
            self.requests.pop_front();
        }
        if self.requests.is_empty() && self.requests.capacity() > FEW {
            *self = Self::default();
        }
    }
}
