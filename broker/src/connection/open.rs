use std::collections::{BTreeSet, VecDeque};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use jackfield_plugin_api::{Error, ErrorCode};
use tokio::time::{Duration, Instant};

use crate::{codec::Data, session::Waiter};

/// The broker's requests that a client has not answered yet.
#[derive(Default)]
pub(super) struct OpenRequests {
    open: HashMap<u64, Open, RandomState>,
    /// In the order in which they were sent, which is that of their deadlines; those that were answered or acked
    /// stay until they come to the front.
    unacked: VecDeque<(Instant, u64)>,
    /// Those that were acked, by their deadlines.
    acked: BTreeSet<(Instant, u64)>,
    /// Counts what was sent.
    sent: u64,
    /// The last of them that was answered, and until when those behind it have time: the client has not got to them.
    reached: Option<(u64, Instant)>,
}

struct Open {
    expected: Expected,
    deadline: Instant,
    place: u64,
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
        self.sent += 1;
        self.open.insert(tid, Open { expected, deadline, place: self.sent, acked: false });
        self.unacked.push_back((deadline, tid));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// An answer came; `false` when nobody waits for it. Answers come in order from a client that reads slowly, so
    /// those that were sent behind this one get `more` time from now.
    pub(super) fn answered(
        &mut self,
        tid: Option<u64>,
        result: Result<Data<'_>, Error>,
        more: Duration,
    ) -> bool {
        if let Some(open) = tid.and_then(|tid| self.open.get(&tid))
            && self.reached.is_none_or(|(place, _)| open.place > place)
        {
            self.reached = Some((open.place, Instant::now() + more));
        }
        self.answer(tid, result)
    }

    fn answer(&mut self, tid: Option<u64>, result: Result<Data<'_>, Error>) -> bool {
        let Some((tid, open)) = tid.and_then(|tid| Some((tid, self.open.remove(&tid)?))) else {
            return false;
        };
        if open.acked {
            self.acked.remove(&(open.deadline, tid));
        }
        open.expected.answer(result);
        if self.open.is_empty() {
            // A quiet connection keeps nothing.
            *self = Self { sent: self.sent, reached: self.reached, ..Self::default() };
        }
        true
    }

    /// An ack came; `false` when nobody waits for the answer.
    pub(super) fn ack(&mut self, tid: Option<u64>, more: Duration) -> bool {
        let Some((tid, open)) = tid.and_then(|tid| Some((tid, self.open.get_mut(&tid)?))) else {
            return false;
        };
        if open.acked {
            self.acked.remove(&(open.deadline, tid));
        }
        (open.acked, open.deadline) = (true, Instant::now() + more);
        self.acked.insert((open.deadline, tid));
        if let Expected::Answer(waiter) = &open.expected {
            waiter.ack();
        }
        true
    }

    /// When the next of them may run out of time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let unacked = self.unacked.front().map(|(deadline, tid)| self.due(*deadline, *tid));
        let acked = self.acked.first().map(|(deadline, _)| *deadline);
        unacked.into_iter().chain(acked).min()
    }

    /// When a request that was not acked runs out of time. One that is answered is not waited for.
    fn due(&self, deadline: Instant, tid: u64) -> Instant {
        match (self.open.get(&tid), self.reached) {
            (Some(open), Some((place, until))) if open.place > place => deadline.max(until),
            _ => deadline,
        }
    }

    /// Answers all whose time is over with `timeout`.
    ///
    /// # Errors
    /// When there were any.
    pub(super) fn expire(&mut self, now: Instant) -> Result<(), ErrorCode> {
        let mut expired = false;
        while let Some((deadline, tid)) = self.unacked.front().copied() {
            if self.due(deadline, tid) > now {
                break;
            }
            self.unacked.pop_front();
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
    fn answer(self, result: Result<Data<'_>, Error>) {
        if let Self::Answer(waiter) = self {
            waiter.answer(result.map(Data::to_json));
        }
    }
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::RawJson;
    use tokio::sync::oneshot;

    use super::*;

    fn asked(
        open: &mut OpenRequests,
        tid: u64,
        deadline: Instant,
    ) -> oneshot::Receiver<Result<RawJson, Error>> {
        let (reply, answer) = oneshot::channel();
        open.insert(tid, Expected::Answer(Waiter::Task { reply, acks: None, held: None }), deadline);
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
            assert!(tid == 12 || open.answer(Some(tid), Ok(Data::default())));
        }
        assert!(open.answer(Some(0), Ok(Data::default())));
        assert!(open.expire(start + Duration::from_secs(2)).is_ok());
        assert!(open.expire(start + Duration::from_secs(60)).is_err());
        assert!(last.try_recv().unwrap().unwrap_err().is(ErrorCode::Timeout));
        assert_eq!((open.len(), open.next_deadline()), (0, None));
    }

    #[test]
    fn who_answers_in_order_gets_time_for_the_rest() {
        let (mut open, start) = (OpenRequests::default(), Instant::now());
        for tid in 1..=3 {
            open.insert(tid, Expected::Event, start);
        }
        assert!(open.answered(Some(2), Ok(Data::default()), Duration::from_secs(10)));
        assert!(open.answered(Some(1), Ok(Data::default()), Duration::from_secs(10)));
        assert!(open.expire(start + Duration::from_secs(5)).is_ok());
        assert!(open.expire(start + Duration::from_secs(20)).is_err());
        let mut skipped = OpenRequests::default();
        skipped.insert(1, Expected::Event, start);
        skipped.insert(2, Expected::Event, start);
        assert!(skipped.answered(Some(2), Ok(Data::default()), Duration::from_secs(10)));
        assert!(skipped.expire(start).is_err());
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
