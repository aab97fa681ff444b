use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jackfield_plugin_api::{Error, ErrorCode, json::JsonText};
use tokio::time::{Duration, Instant};

use crate::session::Waiter;

/// Room for so many is kept when all are answered, until the next of the connection's times is over.
const KEPT: usize = 4;

/// So many answered ones may stand between the others before it is looked whether they are the greater part.
const FEW: usize = 64;

/// The broker's requests that a client has not answered yet.
///
/// Their ids ascend, but for those of publishers who got in each other's way, and most are answered in that order. So
/// they stand in a row by their ids: one is put in at the back, found where the front is, or by halving.
#[derive(Default)]
pub(super) struct OpenRequests {
    /// Those that were not acked, by their ids. Those that were answered or acked leave empty places, never the first.
    row: VecDeque<Place>,
    /// How many of the places are not empty.
    waiting: usize,
    acked: Option<Box<AckedRequests>>,
    /// Counts what was sent.
    sent: u64,
    /// The last of them that was answered, and until when those behind it have time: the client has not got to them.
    reached: Option<(u64, Instant)>,
}

struct Place {
    tid: u64,
    /// `None`: it was answered, or acked.
    open: Option<Open>,
}

struct Open {
    expected: Expected,
    deadline: Instant,
    /// Its number among those that were sent.
    number: u64,
}

/// Requests that take longer.
#[derive(Default)]
struct AckedRequests {
    open: BTreeMap<u64, Open>,
    deadlines: BTreeSet<(Instant, u64)>,
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
        if self.waiting == 0 {
            // This one is behind nothing.
            self.reached = None;
        }
        self.sent += 1;
        self.waiting += 1;
        let place = Place { tid, open: Some(Open { expected, deadline, number: self.sent }) };
        if self.row.capacity() == 0 {
            // Most have but one at a time.
            self.row.reserve_exact(1);
        }
        if self.row.back().is_none_or(|last| last.tid < tid) {
            return self.row.push_back(place);
        }
        self.row.insert(self.row.partition_point(|before| before.tid < tid), place);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.waiting + self.acked.as_ref().map_or(0, |acked| acked.open.len())
    }

    /// An answer came; `false` when nobody waits for it. Answers come in order from a client that reads slowly, so
    /// those that were sent behind this one get `more` time from now.
    pub(super) fn answered(
        &mut self,
        tid: Option<u64>,
        result: Result<JsonText<'_>, Error>,
        more: Duration,
    ) -> bool {
        let Some(open) = tid.and_then(|tid| self.remove(tid)) else { return false };
        if self.reached.is_none_or(|(number, _)| open.number > number) {
            self.reached = Some((open.number, Instant::now() + more));
        }
        open.expected.answer(result);
        true
    }

    fn remove(&mut self, tid: u64) -> Option<Open> {
        self.remove_waiting(tid).or_else(|| self.remove_acked(tid))
    }

    fn remove_waiting(&mut self, tid: u64) -> Option<Open> {
        let is_first = self.row.front()?.tid == tid;
        let found = if is_first { Ok(0) } else { self.row.binary_search_by_key(&tid, |place| place.tid) };
        let place = found.ok()?;
        let open = self.row.get_mut(place)?.open.take()?;
        self.waiting -= 1;
        self.close_up();
        Some(open)
    }

    fn remove_acked(&mut self, tid: u64) -> Option<Open> {
        let acked = self.acked.as_mut()?;
        let open = acked.open.remove(&tid)?;
        acked.deadlines.remove(&(open.deadline, tid));
        if acked.open.is_empty() {
            self.acked = None;
        }
        Some(open)
    }

    /// Sees to it that the first place is not empty, nor the greater part of them.
    fn close_up(&mut self) {
        if self.waiting == 0 {
            self.row.clear();
            if self.row.capacity() > KEPT {
                self.row = VecDeque::new();
            }
            return;
        }
        while self.row.pop_front_if(|first| first.open.is_none()).is_some() {}
        if self.row.len() > 2 * self.waiting + FEW {
            self.row.retain(|place| place.open.is_some());
        }
    }

    /// An ack came; `false` when nobody waits for the answer.
    pub(super) fn ack(&mut self, tid: Option<u64>, more: Duration) -> bool {
        let Some((tid, open)) = tid.and_then(|tid| Some((tid, self.remove(tid)?))) else { return false };
        if let Expected::Answer(waiter) = &open.expected {
            waiter.ack();
        }
        let deadline = Instant::now() + more;
        let acked = self.acked.get_or_insert_default();
        acked.deadlines.insert((deadline, tid));
        acked.open.insert(tid, Open { deadline, ..open });
        true
    }

    /// When the next of them may run out of time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.row.front().and_then(|first| first.open.as_ref()).map(|open| self.due(open));
        waiting.into_iter().chain(self.next_acked().map(|(deadline, _)| deadline)).min()
    }

    fn next_acked(&self) -> Option<(Instant, u64)> {
        self.acked.as_ref()?.deadlines.first().copied()
    }

    /// When a request that was not acked runs out of time.
    fn due(&self, open: &Open) -> Instant {
        match self.reached {
            Some((number, until)) if open.number > number => open.deadline.max(until),
            _ => open.deadline,
        }
    }

    /// Answers all whose time is over with `timeout`.
    ///
    /// # Errors
    /// When there were any.
    pub(super) fn expire(&mut self, now: Instant) -> Result<(), ErrorCode> {
        let mut expired = false;
        while let Some(open) = self.next_expired(now) {
            open.expected.answer(Err(ErrorCode::Timeout.into()));
            expired = true;
        }
        if self.waiting == 0 {
            // A quiet connection keeps nothing.
            self.row = VecDeque::new();
        }
        if expired { Err(ErrorCode::Timeout) } else { Ok(()) }
    }

    fn next_expired(&mut self, now: Instant) -> Option<Open> {
        let first = self.row.front().and_then(|first| Some((first.tid, self.due(first.open.as_ref()?))));
        if let Some((tid, _)) = first.filter(|(_, due)| *due <= now) {
            return self.remove(tid);
        }
        let (_, tid) = self.next_acked().filter(|(deadline, _)| *deadline <= now)?;
        self.remove(tid)
    }
}

impl Expected {
    fn answer(self, result: Result<JsonText<'_>, Error>) {
        if let Self::Answer(waiter) = self {
            waiter.answer(result.map(JsonText::to_json));
        }
    }
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::RawJson;
    use proptest::prelude::*;
    use tokio::sync::oneshot;

    use super::*;

    fn answer(open: &mut OpenRequests, tid: u64) -> bool {
        open.answered(Some(tid), Ok(JsonText::default()), Duration::ZERO)
    }

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
            assert!(tid == 12 || answer(&mut open, tid));
        }
        assert!(answer(&mut open, 0));
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
        assert!(open.answered(Some(2), Ok(JsonText::default()), Duration::from_secs(10)));
        assert!(open.answered(Some(1), Ok(JsonText::default()), Duration::from_secs(10)));
        assert!(open.expire(start + Duration::from_secs(5)).is_ok());
        assert!(open.expire(start + Duration::from_secs(20)).is_err());
        let mut skipped = OpenRequests::default();
        skipped.insert(1, Expected::Event, start);
        skipped.insert(2, Expected::Event, start);
        assert!(skipped.answered(Some(2), Ok(JsonText::default()), Duration::from_secs(10)));
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
        assert_eq!(open.acked.as_ref().unwrap().deadlines.len(), 1);
    }

    #[test]
    fn one_that_is_never_answered_does_not_keep_what_was_sent_behind_it() {
        let (mut open, start) = (OpenRequests::default(), Instant::now());
        open.insert(0, Expected::Event, start);
        for tid in 1..10_000 {
            open.insert(tid, Expected::Event, start);
            assert!(answer(&mut open, tid));
            assert!(open.row.len() <= FEW + 3);
        }
        assert!(answer(&mut open, 0));
        assert!(open.row.capacity() <= KEPT);
    }

    #[test]
    fn ids_may_come_out_of_order_and_time_goes_by_what_was_sent_first() {
        let (mut open, start) = (OpenRequests::default(), Instant::now());
        for tid in [2, 1, 3] {
            open.insert(tid, Expected::Event, start);
        }
        assert!(open.answered(Some(2), Ok(JsonText::default()), Duration::from_secs(10)));
        assert!(open.expire(start + Duration::from_secs(5)).is_ok());
        assert!(answer(&mut open, 3) && answer(&mut open, 1));
        assert_eq!((open.len(), open.next_deadline()), (0, None));
    }

    proptest! {
        #[test]
        fn each_is_answered_once(steps in proptest::collection::vec((0u64..4, 0u64..40), 0..200)) {
            let (mut open, start) = (OpenRequests::default(), Instant::now());
            let (mut model, mut used) = (BTreeSet::new(), BTreeSet::new());
            for (what, tid) in steps {
                match what {
                    0 | 1 if used.insert(tid) => {
                        open.insert(tid, Expected::Event, start);
                        model.insert(tid);
                    }
                    2 => prop_assert_eq!(open.ack(Some(tid), Duration::ZERO), model.contains(&tid)),
                    _ => prop_assert_eq!(answer(&mut open, tid), model.remove(&tid)),
                }
                prop_assert_eq!(open.len(), model.len());
                prop_assert_eq!(open.next_deadline().is_some(), !model.is_empty());
            }
            prop_assert_eq!(open.expire(start + Duration::from_secs(60)).is_err(), !model.is_empty());
            prop_assert_eq!(open.len(), 0);
        }
    }
}
