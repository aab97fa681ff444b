//! Events between the socket and the application's queue.

use std::{collections::VecDeque, sync::Arc};

use serde_json::value::RawValue;

use crate::event::{Event, EventQueue};

/// Puts events into the application's queue, and holds back, unanswered, what finds no room there.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: Arc<EventQueue>,
    held: VecDeque<Held>,
}

#[derive(Debug)]
struct Held {
    event: Event,
    /// What to answer it under, once it is in the queue.
    tid: Option<Box<RawValue>>,
}

impl Inbox {
    pub(super) fn new(queue: Arc<EventQueue>) -> Self {
        Self { queue, held: VecDeque::new() }
    }

    /// Takes an event. `true` when it is in the queue, and so to be answered now.
    pub(super) fn take(&mut self, event: Event, tid: Option<&RawValue>) -> bool {
        let event = if self.held.is_empty() {
            match self.queue.push(event) {
                Ok(()) => return true,
                Err(event) => event,
            }
        } else {
            event
        };
        self.held.push_back(Held { event, tid: tid.map(ToOwned::to_owned) });
        false
    }

    /// Moves events that were held back into the queue; `answer` hears the tids to answer.
    pub(super) fn release(&mut self, mut answer: impl FnMut(&RawValue)) {
        while let Some(Held { event, tid }) = self.held.pop_front() {
            if let Err(event) = self.queue.push(event) {
                self.held.push_front(Held { event, tid });
                return;
            }
            if let Some(tid) = tid {
                answer(&tid);
            }
        }
    }

    /// Whether reading should wait until the application has taken an event.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() >= self.queue.capacity()
    }

    /// Whether there is something to release.
    pub(super) fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// Waits until [`release`](Self::release) is worth a try.
    pub(super) async fn room(&self) {
        self.queue.room().await;
    }

    /// The connection that the held events came on is gone: they stay, but nobody waits for answers.
    pub(super) fn forget_tids(&mut self) {
        self.held.iter_mut().for_each(|held| held.tid = None);
    }

    /// Ends the application's stream after what was received.
    pub(super) fn close(&mut self) {
        self.queue.close(std::mem::take(&mut self.held).into_iter().map(|held| held.event));
    }
}
