use std::collections::{BTreeSet, VecDeque};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use jackfield_plugin_api::{Error, ErrorCode, RawJson};
use tokio::time::{Duration, Instant};

use crate::session::Waiter;

/// The broker's requests that a client has not answered yet.
#[derive(Default)]
pub(super) struct OpenRequests {
    open: HashMap<u64, Open, RandomState>,
    /// In the order in which they were sent, which is that of their deadlines; those that were answered or acked
    /// stay until they come to the front.
    unacked: VecDeque<(Instant, u64)>,
    /// Those that were acked, by their deadlines.
    acked: BTreeSet<(Instant, u64)>,
}

struct Open {
    expected: Expected,
    deadline: Instant,
    acked: bool,
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
        self.open.insert(tid, Open { expected, deadline, acked: false });
        self.unacked.push_back((deadline, tid));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// An answer came; `false` when nobody waits for it.
    pub(super) fn answer(&mut self, tid: Option<u64>, result: Result<RawJson, Error>) -> bool {
        let Some((tid, open)) = tid.and_then(|tid| Some((tid, self.open.remove(&tid)?))) else { return false };
        if open.acked {
            self.acked.remove(&(open.deadline, tid));
        }
        open.expected.answer(result);
        if self.open.is_empty() {
            // A quiet connection keeps nothing.
            *self = Self::default();
        }
        true
    }

    /// An ack came; `false` when nobody waits for the answer.
    pub(super) fn ack(&mut self, tid: Option<u64>, more: Duration) -> bool {
        let Some((tid, open)) = tid.and_then(|tid| Some((tid, self.open.get_mut(&tid)?))) else { return false };
        if open.acked {
            self.acked.remove(&(open.deadline, tid));
        }
        (open.acked, open.deadline) = (true, Instant::now() + more);
        self.acked.insert((open.deadline, tid));
        if let Expected::Answer(Waiter { acks: Some(caller), .. }) = &open.expected {
            caller.ack();
        }
        true
    }

    /// When the next of them may run out of time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let firsts = [self.unacked.front(), self.acked.first()];
        firsts.into_iter().flatten().map(|(deadline, _)| *deadline).min()
    }

    /// Answers all whose time is over with `timeout`.
    ///
    /// # Errors
    /// When there were any.
    pub(super) fn expire(&mut self, now: Instant) -> Result<(), ErrorCode> {
        let mut expired = false;
        while let Some((_, tid)) = self.unacked.pop_front_if(|(deadline, _)| *deadline <= now) {
            if self.open.get(&tid).is_some_and(|open| !open.acked) {
                expired |= self.answer(Some(tid), Err(ErrorCode::Timeout.into()));
            }
        }
        while let Some((_, tid)) = self.acked.first().copied().filter(|(deadline, _)| *deadline <= now) {
            expired |= self.answer(Some(tid), Err(ErrorCode::Timeout.into()));
        }
        if expired { Err(ErrorCode::Timeout) } else { Ok(()) }
    }
}

impl Expected {
    fn answer(self, result: Result<RawJson, Error>) {
        if let Self::Answer(waiter) = self {
            // Who waited may have given up.
            waiter.reply.send(result).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn asked(open: &mut OpenRequests, tid: u64, deadline: Instant) -> oneshot::Receiver<Result<RawJson, Error>> {
        let (reply, answer) = oneshot::channel();
        open.insert(tid, Expected::Answer(Waiter { reply, acks: None }), deadline);
        answer
    }

    #[test]
    fn an_acked_request_times_out_whatever_became_of_the_others() {
        let (mut open, start) = (OpenRequests::default(), Instant::now());
        let soon = start + Duration::from_secs(1);
        let mut last = asked(&mut open, 0, soon);
        for tid in 1..=12 {
            last = asked(&mut open, tid, soon);
            assert!(open.ack(Some(tid), Duration::from_secs(3)));
            assert!(tid == 12 || open.answer(Some(tid), Ok(RawJson::empty())));
        }
        assert!(open.answer(Some(0), Ok(RawJson::empty())));
        assert!(open.expire(start + Duration::from_secs(2)).is_ok());
        assert!(open.expire(start + Duration::from_secs(60)).is_err());
        assert!(last.try_recv().unwrap().unwrap_err().is(ErrorCode::Timeout));
        assert_eq!((open.len(), open.next_deadline()), (0, None));
    }

    #[test]
    fn all_that_are_due_are_answered() {
        let (mut open, start) = (OpenRequests::default(), Instant::now());
        let mut answers: Vec<_> = (0..3).map(|tid| asked(&mut open, tid, start)).collect();
        assert!(open.expire(start).is_err());
        for answer in &mut answers {
            assert!(answer.try_recv().unwrap().unwrap_err().is(ErrorCode::Timeout));
        }
    }

    #[test]
    fn another_ack_prolongs() {
        let (mut open, start) = (OpenRequests::default(), Instant::now());
        let _answer = asked(&mut open, 1, start);
        open.ack(Some(1), Duration::from_secs(1));
        open.ack(Some(1), Duration::from_secs(100));
        assert!(open.expire(start + Duration::from_secs(50)).is_ok());
        assert_eq!(open.acked.len(), 1);
    }
}
