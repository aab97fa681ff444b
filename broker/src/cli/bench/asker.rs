//! A connection that makes requests: of the broker, of another session, or to fire events.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    clock::{Phase, Shared},
    connection::Gate,
    drive::Work,
    framing::Outbox,
    pace::Pace,
    payload::{Payload, Stamp},
    tally::{Recorder, Tally},
    wire::{self, Incoming, TID},
};

/// How many ids are kept from the oldest open request on. An answer that takes long must not fill the memory.
const LONGEST_WINDOW: usize = 1 << 20;

/// What a request is made of; its id follows.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) before: Vec<u8>,
    pub(super) body: Body,
    pub(super) after: Vec<u8>,
}

/// The part of a request that the load is about.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// The same each time.
    Fixed(Vec<u8>),
    /// Another one each time.
    Stamped(Payload),
}

/// What the answers' data is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// Nothing: any good answer will do.
    Ok,
    /// What was sent.
    Echo,
}

/// What is measured.
#[derive(Debug, Clone)]
pub(super) enum Measure {
    /// The time to the answer.
    Answers,
    /// The way of the events, by the subscribers. The publisher waits for them, too.
    Deliveries(Arc<Deliveries>),
}

/// How far the subscribers are with one publisher's events.
#[derive(Debug)]
pub(super) struct Deliveries {
    delivered: AtomicU64,
    subscribers: u64,
    publisher: Arc<Gate>,
}

impl Deliveries {
    pub(super) fn new(subscribers: u64, publisher: Arc<Gate>) -> Self {
        Self { delivered: AtomicU64::new(0), subscribers, publisher }
    }

    /// Takes note of events that reached a subscriber, and wakes the publisher when that makes room for another.
    pub(super) fn add(&self, events: u64) {
        let before = self.delivered.fetch_add(events, Ordering::AcqRel);
        if (before + events) / self.subscribers > before / self.subscribers {
            self.publisher.open();
        }
    }

    /// Whether another event may be on its way, after `published` and with at most `depth` at a time.
    fn has_room(&self, published: u64, depth: usize) -> bool {
        let delivered = self.delivered.load(Ordering::Acquire) / self.subscribers;
        published < delivered + depth as u64
    }
}

/// A request that was sent.
#[derive(Debug, Clone, Copy)]
enum Slot {
    /// And is not answered; when it was to be sent.
    Open(u64),
    Answered,
}

/// How an asker is to behave.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    /// Which of the senders it is.
    pub(super) index: u64,
    pub(super) request: Request,
    pub(super) expect: Expect,
    pub(super) measure: Measure,
    /// How many requests may be unanswered.
    pub(super) depth: usize,
    pub(super) pace: Pace,
}

/// Makes requests, and sees that each is answered once.
pub(super) struct Asker {
    asking: Asking,
    shared: Arc<Shared>,
    recorder: Recorder,
    slots: VecDeque<Slot>,
    /// The id of the first slot.
    first: u64,
    open: usize,
    /// Completed requests that are not counted among those of all yet.
    untold: u64,
    tally: Tally,
}

impl Asker {
    pub(super) fn new(asking: Asking, shared: &Arc<Shared>) -> Self {
        let recorder = Recorder::new(&shared.latencies);
        let (slots, tally) = (VecDeque::new(), Tally::default());
        Self { asking, shared: Arc::clone(shared), recorder, slots, first: 0, open: 0, untold: 0, tally }
    }

    fn may_send(&self) -> bool {
        let has_room = match &self.asking.measure {
            Measure::Answers => true,
            Measure::Deliveries(deliveries) => deliveries.has_room(self.tally.sent, self.asking.depth),
        };
        has_room && self.open < self.asking.depth && self.slots.len() < LONGEST_WINDOW
    }

    fn send(&mut self, intended: u64, outbox: &mut Outbox) {
        let tid = self.first + self.slots.len() as u64;
        let Request { before, body, after } = &mut self.asking.request;
        let body = match body {
            Body::Fixed(text) => text,
            Body::Stamped(payload) => {
                payload.stamped(Stamp { sender: self.asking.index, number: tid, intended })
            }
        };
        let mut digits = [0; 20];
        outbox.put(&[before, body, after, TID, decimal(tid, &mut digits), b"}"]);
        self.slots.push_back(Slot::Open(intended));
        self.open += 1;
        self.tally.sent += 1;
        self.asking.pace.advance();
    }

    /// Closes the request of this id, and says when it was to be sent.
    fn close(&mut self, tid: Option<u64>) -> Option<u64> {
        let Some(tid) = tid.filter(|tid| *tid < self.first + self.slots.len() as u64) else {
            self.tally.wrong += 1;
            self.tally.problem(|| "an answer to nothing that was asked".into());
            return None;
        };
        let place =
            tid.checked_sub(self.first).and_then(|index| self.slots.get_mut(usize::try_from(index).ok()?));
        let Some(Slot::Open(intended)) = place.map(|slot| std::mem::replace(slot, Slot::Answered)) else {
            self.tally.duplicates += 1;
            self.tally.problem(|| format!("request {tid} was answered twice"));
            return None;
        };
        while let Some(Slot::Answered) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
        self.open -= 1;
        self.tally.answered += 1;
        Some(intended)
    }

    /// An answer: with the stamp that its data has, where it has one.
    fn answered(&mut self, tid: Option<u64>, outcome: Result<&[u8], String>, now: u64) {
        let Some(intended) = self.close(tid) else { return };
        match outcome {
            Err(error) => {
                self.tally.errors += 1;
                self.tally.problem(|| error);
            }
            Ok(data) if self.is_expected(data, tid, intended) => self.completed(intended, now),
            Ok(data) => {
                self.tally.wrong += 1;
                self.tally.problem(|| format!("wrong data in an answer: {}", excerpt(data)));
            }
        }
    }

    fn is_expected(&self, data: &[u8], tid: Option<u64>, intended: u64) -> bool {
        match (self.asking.expect, &self.asking.request.body) {
            (Expect::Ok, _) => true,
            (Expect::Echo, Body::Fixed(text)) => text == data,
            (Expect::Echo, Body::Stamped(payload)) => payload.read(data).is_some_and(|stamp| {
                (stamp.sender, Some(stamp.number), stamp.intended) == (self.asking.index, tid, intended)
            }),
        }
    }

    fn completed(&mut self, intended: u64, now: u64) {
        if let Measure::Answers = self.asking.measure {
            self.untold += 1;
            if self.shared.measures(intended) {
                self.recorder.record(now.saturating_sub(intended));
            }
        }
    }

    /// A good answer in the broker's usual form, read without a parser.
    fn usual_answer<'m>(&self, message: &'m [u8]) -> Option<(&'m [u8], u64)> {
        if let Some(tid) = wire::plain_ok(message) {
            return Some((b"{}", tid));
        }
        let Body::Stamped(payload) = &self.asking.request.body else { return None };
        let (data, tid) = wire::ok_with(message, payload.len())?;
        payload.read(data).map(|_| (data, tid))
    }
}

impl Work for Asker {
    fn send_due(&mut self, outbox: &mut Outbox) {
        let Some(timeline) = self.shared.timeline() else { return };
        if self.shared.phase() != Phase::Load || !self.may_send() {
            return;
        }
        let now = self.shared.now();
        while self.may_send() {
            let Some(intended) = self.asking.pace.due(timeline.start, now) else { return };
            self.send(intended, outbox);
        }
    }

    fn take(&mut self, message: &[u8], now: u64, outbox: &mut Outbox) {
        if let Some((data, tid)) = self.usual_answer(message) {
            return self.answered(Some(tid), Ok(data), now);
        }
        match wire::parse(message) {
            Ok(Incoming::Answer { tid, outcome }) => self.answered(tid, outcome.map(str::as_bytes), now),
            Ok(Incoming::Ack) => {}
            Ok(Incoming::Request { tid, .. }) => {
                tid.into_iter().for_each(|tid| wire::put_ok(outbox, tid));
            }
            Err(error) => {
                self.tally.wrong += 1;
                self.tally.problem(|| error);
            }
        }
    }

    fn tell_others(&mut self) {
        if self.untold > 0 {
            self.shared.completed.fetch_add(std::mem::take(&mut self.untold), Ordering::Relaxed);
        }
    }

    fn is_done(&self, phase: Phase) -> bool {
        phase >= Phase::Drain && self.open == 0
    }

    fn finish(&mut self, end_of_load: u64) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        tally.lost = self.open as u64;
        if tally.lost > 0 {
            tally.problem(|| format!("{} requests of one connection were never answered", self.open));
        }
        let start = self.shared.timeline().map_or(0, |timeline| timeline.start);
        tally.unsent = self.asking.pace.behind(start, end_of_load);
        tally
    }
}

/// A number in digits, without an allocation.
fn decimal(number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut rest = number;
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    digits.get(digits.len() - used..).unwrap_or_default()
}

/// The beginning of what came, for people.
pub(super) fn excerpt(data: &[u8]) -> String {
    let beginning = data.get(..data.len().min(120)).unwrap_or_default();
    String::from_utf8_lossy(beginning).into_owned()
}

#[cfg(test)]
mod tests {
    use jackfield_client::Framing;

    use super::*;

    fn asker(depth: usize) -> (Asker, Outbox) {
        let shared = Arc::new(Shared::new().unwrap());
        shared.begin(std::time::Duration::ZERO);
        let body = Body::Fixed(b"{}".to_vec());
        let request = Request { before: b"{\"data\":".to_vec(), body, after: Vec::new() };
        let (expect, measure, pace) = (Expect::Ok, Measure::Answers, Pace::Free);
        let asking = Asking { index: 0, request, expect, measure, depth, pace };
        let mut outbox = Outbox::new(Framing::Lines);
        let mut asker = Asker::new(asking, &shared);
        asker.send_due(&mut outbox);
        (asker, outbox)
    }

    /// Sends two requests, takes these answers, and counts.
    fn tally_of(answers: &[&str]) -> Tally {
        let (mut asker, mut outbox) = asker(2);
        answers.iter().for_each(|answer| asker.take(answer.as_bytes(), 1, &mut outbox));
        asker.finish(0)
    }

    #[test]
    fn no_more_than_depth_are_open() {
        let (mut asker, mut outbox) = asker(2);
        assert_eq!(outbox.bytes(), b"{\"data\":{},\"tid\":0}\n{\"data\":{},\"tid\":1}\n");
        asker.send_due(&mut outbox);
        assert_eq!(asker.open, 2);
        asker.take(b"{\"result\":\"ok\",\"tid\":1}", 1, &mut outbox);
        asker.send_due(&mut outbox);
        assert_eq!((asker.open, asker.tally.sent), (2, 3));
    }

    #[test]
    fn every_mistake_has_its_count() {
        let (ok0, ok1) = (r#"{"result":"ok","tid":0}"#, r#"{"result":"ok","tid":1}"#);
        assert!(tally_of(&[ok1, ok0]).is_clean());
        assert_eq!(tally_of(&[ok0]).lost, 1);
        assert_eq!(tally_of(&[ok0, ok1, ok0]).duplicates, 1);
        assert_eq!(tally_of(&[ok1, ok1, ok0]).duplicates, 1);
        assert_eq!(tally_of(&[ok0, ok1, r#"{"result":"ok","tid":9}"#]).wrong, 1);
        assert_eq!(tally_of(&[ok0, ok1, "{}"]).wrong, 1);
        assert_eq!(tally_of(&[ok0, r#"{"result":"error","data":{},"tid":1}"#]).errors, 1);
        assert!(tally_of(&[ok0, "{\"ack\":1}", ok1]).is_clean());
    }

    #[test]
    fn an_echo_must_be_what_was_sent() {
        let (mut asker, mut outbox) = asker(2);
        asker.asking.expect = Expect::Echo;
        asker.take(br#"{"result":"ok","data":{"a":1},"tid":0}"#, 1, &mut outbox);
        asker.take(br#"{"result":"ok","tid":1}"#, 1, &mut outbox);
        let tally = asker.finish(0);
        assert_eq!((tally.wrong, tally.answered), (1, 2));
        assert!(tally.first_problem.unwrap().contains("{\"a\":1}"));
    }

    #[test]
    fn numbers_in_digits() {
        for number in [0, 7, 10, 12_345, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
