//! Connections that wait for what the broker sends: targets of commands, subscribers, and those that only hold a session.

use std::sync::{Arc, atomic::Ordering};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    asker::{Deliveries, excerpt},
    clock::{Phase, Shared},
    drive::Work,
    framing::Outbox,
    order::Order,
    payload::Payload,
    tally::{Recorder, Tally},
    wire::{self, Incoming, Shape},
};

/// The class of commands and events of a load.
pub(super) const CLASS: &str = "bench";

/// Answers pings and whatever else is asked of it.
#[derive(Debug, Default)]
pub(super) struct Idle {
    tally: Tally,
}

impl Work for Idle {
    fn take(&mut self, message: &[u8], _now: u64, outbox: &mut Outbox) {
        answer_any(message, outbox, &mut self.tally);
    }

    fn is_done(&self, phase: Phase) -> bool {
        phase >= Phase::Close
    }

    fn finish(&mut self, _end_of_load: u64) -> Tally {
        std::mem::take(&mut self.tally)
    }
}

/// Answers what is not part of the load.
fn answer_any(message: &[u8], outbox: &mut Outbox, tally: &mut Tally) {
    match wire::parse(message) {
        Ok(Incoming::Request { tid, .. }) => tid.into_iter().for_each(|tid| wire::put_ok(outbox, tid)),
        Ok(Incoming::Ack) => {}
        Ok(Incoming::Answer { .. }) => {
            tally.wrong += 1;
            tally.problem(|| format!("an answer to nothing that was asked: {}", excerpt(message)));
        }
        Err(error) => {
            tally.wrong += 1;
            tally.problem(|| error);
        }
    }
}

/// Answers commands with their own data.
#[derive(Debug)]
pub(super) struct Target {
    payload: Payload,
    shape: Option<Shape>,
    tally: Tally,
}

impl Target {
    pub(super) fn new(payload: Payload) -> Self {
        Self { payload, shape: None, tally: Tally::default() }
    }

    /// Answers a command that has the form of the one before it.
    fn answer_usual(&self, message: &[u8], outbox: &mut Outbox) -> Option<()> {
        let (data, tid) = self.shape.as_ref()?.split(message)?;
        self.payload.read(data)?;
        wire::put_ok_with(outbox, data, tid?);
        Some(())
    }
}

impl Work for Target {
    fn take(&mut self, message: &[u8], _now: u64, outbox: &mut Outbox) {
        if self.answer_usual(message, outbox).is_some() {
            return;
        }
        let Ok(Incoming::Request { class: "\"bench\"", data, tid: Some(tid), .. }) = wire::parse(message)
        else {
            return answer_any(message, outbox, &mut self.tally);
        };
        if self.payload.read(data.as_bytes()).is_none() {
            self.tally.wrong += 1;
            self.tally.problem(|| format!("wrong data in a command: {}", excerpt(data.as_bytes())));
        }
        self.shape = Shape::learn(message, data, Some(tid));
        wire::put_ok_with(outbox, data.as_bytes(), tid.as_bytes());
    }

    fn is_done(&self, phase: Phase) -> bool {
        phase >= Phase::Close
    }

    fn finish(&mut self, _end_of_load: u64) -> Tally {
        std::mem::take(&mut self.tally)
    }
}

/// Receives events, and sees that each publisher's come once and in order.
pub(super) struct Subscriber {
    shared: Arc<Shared>,
    payload: Payload,
    topic: String,
    shape: Option<Shape>,
    publishers: Vec<Source>,
    recorder: Recorder,
    tally: Tally,
}

/// What came from one publisher.
struct Source {
    order: Order,
    deliveries: Arc<Deliveries>,
    /// Events that the publisher does not know of yet.
    untold: u64,
}

impl Source {
    fn new(deliveries: &Arc<Deliveries>) -> Self {
        Self { order: Order::default(), deliveries: Arc::clone(deliveries), untold: 0 }
    }
}

#[derive(Deserialize)]
struct EventData<'a> {
    class: &'a str,
    #[serde(default)]
    obj_id: Option<&'a str>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

impl Subscriber {
    /// To the events of `topic`, an object's id, from as many publishers as there are deliveries.
    pub(super) fn new(
        shared: &Arc<Shared>,
        payload: Payload,
        topic: &str,
        deliveries: &[Arc<Deliveries>],
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            payload,
            topic: topic.to_owned(),
            shape: None,
            publishers: deliveries.iter().map(Source::new).collect(),
            recorder: Recorder::new(&shared.latencies),
            tally: Tally::default(),
        }
    }

    fn usual_event<'m>(&self, message: &'m [u8]) -> Option<(&'m [u8], Option<&'m [u8]>)> {
        let (body, tid) = self.shape.as_ref()?.split(message)?;
        self.payload.read(body).map(|_| (body, tid))
    }

    /// The body and the id of an event of this load.
    fn unusual_event<'m>(&mut self, message: &'m [u8]) -> Option<(&'m str, Option<&'m str>)> {
        let Ok(Incoming::Request { class: "\"core\"", cmd: "\"event\"", data, tid }) = wire::parse(message)
        else {
            return None;
        };
        let event: EventData<'m> = serde_json::from_str(data).ok()?;
        if (event.class, event.obj_id) != (CLASS, Some(&self.topic)) {
            return None;
        }
        let body = event.body.map_or("{}", RawValue::get);
        self.shape = Shape::learn(message, body, tid);
        Some((body, tid))
    }

    fn received(&mut self, body: &[u8], now: u64) {
        let stamp = self.payload.read(body);
        let publisher = stamp.and_then(|stamp| self.publishers.get_mut(usize::try_from(stamp.sender).ok()?));
        let (Some(stamp), Some(source)) = (stamp, publisher) else {
            self.tally.wrong += 1;
            return self.tally.problem(|| format!("wrong body of an event: {}", excerpt(body)));
        };
        if !source.order.received(stamp.number, &mut self.tally) {
            return;
        }
        self.tally.delivered += 1;
        source.untold += 1;
        if self.shared.measures(stamp.intended) {
            self.recorder.record(now.saturating_sub(stamp.intended));
        }
    }

    fn lost(&self) -> Option<u64> {
        let published = self.shared.published.get()?;
        Some(self.publishers.iter().zip(published).map(|(source, count)| source.order.lost(*count)).sum())
    }
}

impl Work for Subscriber {
    fn take(&mut self, message: &[u8], now: u64, outbox: &mut Outbox) {
        if let Some((body, tid)) = self.usual_event(message) {
            if let Some(tid) = tid.and_then(|tid| std::str::from_utf8(tid).ok()) {
                wire::put_ok(outbox, tid);
            }
            return self.received(body, now);
        }
        match self.unusual_event(message) {
            Some((body, tid)) => {
                tid.into_iter().for_each(|tid| wire::put_ok(outbox, tid));
                self.received(body.as_bytes(), now);
            }
            None => answer_any(message, outbox, &mut self.tally),
        }
    }

    fn tell_others(&mut self) {
        for source in self.publishers.iter_mut().filter(|source| source.untold > 0) {
            let events = std::mem::take(&mut source.untold);
            self.shared.completed.fetch_add(events, Ordering::Relaxed);
            source.deliveries.add(events);
        }
    }

    fn is_done(&self, phase: Phase) -> bool {
        phase >= Phase::Close && self.lost() == Some(0)
    }

    fn finish(&mut self, _end_of_load: u64) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        tally.lost = self.lost().unwrap_or_default();
        if tally.lost > 0 {
            let lost = tally.lost;
            tally.problem(|| format!("{lost} events never reached one subscriber"));
        }
        tally
    }
}
