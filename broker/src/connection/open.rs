use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use jackfield_plugin_api::{Error, ErrorCode, RawJson};
use tokio::time::{Duration, Instant};

use crate::session::Waiter;

/// The broker's requests that a client has not answered yet.
#[derive(Default)]
pub(super) struct OpenRequests {
    open: HashMap<u64, Open, RandomState>,
    /// In the order in which they were sent, which is that of their deadlines; answered ones stay until they come
    /// to the front.
    unacked: VecDeque<(u64, Instant)>,
    /// Likewise, in the order of the acks. One that was acked again is there again.
    acked: VecDeque<(u64, Instant)>,
}

struct Open {
    expected: Expected,
    deadline: Instant,
}

/// What the answer to a request is for.
pub(super) enum Expected {
    /// To know that the client took an event.
    Event,
    /// To know that the client is there.
    Pong,
    /// For somebody who waits for it.
    Answer(Waiter),
}

impl OpenRequests {
    /// A request was sent.
    pub(super) fn insert(&mut self, tid: u64, expected: Expected, deadline: Instant) {
        self.open.insert(tid, Open { expected, deadline });
        self.unacked.push_back((tid, deadline));
    }

    /// An answer came; `false` when nobody waits for it.
    pub(super) fn answer(&mut self, tid: Option<u64>, result: Result<RawJson, Error>) -> bool {
        let Some(open) = tid.and_then(|tid| self.open.remove(&tid)) else { return false };
        if let Expected::Answer(waiter) = open.expected {
            // Who waited may have given up.
            waiter.reply.send(result).ok();
        }
        if self.open.is_empty() {
            // A quiet connection keeps nothing.
            *self = Self::default();
        }
        true
    }

    /// An ack came; `false` when nobody waits for the answer.
    pub(super) fn ack(&mut self, tid: Option<u64>, more: Duration) -> bool {
        let most = 2 * self.open.len();
        let Some((tid, open)) = tid.and_then(|tid| Some((tid, self.open.get_mut(&tid)?))) else {
            return false;
        };
        open.deadline = Instant::now() + more;
        if let Expected::Answer(Waiter { acks: Some(caller), .. }) = &open.expected {
            caller.ack();
        }
        // Acks that repeat must not grow the queue: the entry that stands there is enough, and is checked again.
        if self.acked.back().is_none_or(|(last, _)| *last != tid) && self.acked.len() <= most {
            self.acked.push_back((tid, open.deadline));
        }
        true
    }

    /// When the next of them may run out of time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let first = |queue: &VecDeque<(u64, Instant)>| queue.front().map(|(_, deadline)| *deadline);
        first(&self.unacked).into_iter().chain(first(&self.acked)).min()
    }

    /// Looks at those whose time may be over; one that really is, is answered `timeout`.
    ///
    /// # Errors
    /// When there was such a one.
    pub(super) fn expire(&mut self, now: Instant) -> Result<(), ErrorCode> {
        Self::expire_queue(&mut self.open, &mut self.unacked, now, false)?;
        Self::expire_queue(&mut self.open, &mut self.acked, now, true)
    }

    fn expire_queue(
        open: &mut HashMap<u64, Open, RandomState>,
        queue: &mut VecDeque<(u64, Instant)>,
        now: Instant,
        again: bool,
    ) -> Result<(), ErrorCode> {
        while let Some((tid, _)) = queue.pop_front_if(|(_, deadline)| *deadline <= now) {
            match open.get(&tid).map(|open| open.deadline) {
                Some(deadline) if deadline <= now => {
                    if let Some(Open { expected: Expected::Answer(waiter), .. }) = open.remove(&tid) {
                        waiter.reply.send(Err(ErrorCode::Timeout.into())).ok();
                    }
                    return Err(ErrorCode::Timeout);
                }
                Some(deadline) if again => queue.push_back((tid, deadline)),
                Some(_) | None => {}
            }
        }
        Ok(())
    }
}
