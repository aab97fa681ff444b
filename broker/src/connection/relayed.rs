use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use tokio::time::Instant;

use super::inflight::{FIRST_ACK, InFlight};

/// This connection's requests that sessions are to answer, in the order in which they came.
#[derive(Default)]
pub(super) struct RelayedRequests {
    /// With the time of the first ack, which is the same for all.
    waiting: VecDeque<(Instant, Weak<InFlight>)>,
    /// When there are so many, those that were answered are sorted out.
    crowded: usize,
}

/// So many are kept before it is looked which of them were answered.
const FEW: usize = 64;

impl RelayedRequests {
    pub(super) fn add(&mut self, request: &Arc<InFlight>) {
        self.forget_answered();
        if self.waiting.len() >= self.crowded.max(FEW) {
            self.waiting.retain(|(_, request)| request.strong_count() > 0);
            self.crowded = self.waiting.len() * 2;
        }
        self.waiting.push_back((Instant::now() + FIRST_ACK, Arc::downgrade(request)));
    }

    /// Those that came first and are answered are not kept.
    fn forget_answered(&mut self) {
        while self.waiting.front().is_some_and(|(_, request)| request.strong_count() == 0) {
            self.waiting.pop_front();
        }
        if self.waiting.is_empty() && self.waiting.capacity() > FEW {
            *self = Self::default();
        }
    }

    /// When the next of them is to be acked.
    pub(super) fn next_ack(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at)
    }

    /// Acks those that have waited so long.
    pub(super) fn ack_due(&mut self, now: Instant) {
        self.forget_answered();
        while let Some((_, request)) = self.waiting.pop_front_if(|(at, _)| *at <= now) {
            if let Some(request) = request.upgrade() {
                request.ack_relayed();
            }
        }
    }

    /// Takes out all that are not answered.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Arc<InFlight>> {
        std::mem::take(&mut self.waiting).into_iter().filter_map(|(_, request)| request.upgrade())
    }
}
