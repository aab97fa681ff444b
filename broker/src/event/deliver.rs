use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashSet;
use jackfield_plugin_api::{Caller, Event, EventMode, RawJson, json::push_string};
use smallvec::SmallVec;

use super::{
    Events,
    filters::Filters,
    index::{Index, Member, Subscribers},
    merge::Body,
};
use crate::{
    codec::{EventFrame, Framing, put_event},
    session::{PushError, Session, SubscriptionKey},
    telemetry::DropReason,
};

/// How many different bodies of one event are kept encoded; an event seldom meets more.
const MOST_BODIES: usize = 16;

/// About how many bytes stand around an event's body.
const ENVELOPE: usize = 200;

/// One event on its way to its receivers. It is encoded once for all who get the same bytes.
pub(super) struct Delivery<'a> {
    events: &'a Events,
    event: &'a Event,
    from: Option<String>,
    limit: usize,
    tid: u64,
    /// Whether some plugin wants to see each delivery.
    filtered: bool,
    seen: Option<HashSet<u64, RandomState>>,
    bodies: SmallVec<[(Body, RawJson); 1]>,
    frames: SmallVec<[(Variant, Bytes); 2]>,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    delivered: usize,
    filtered: u64,
    slow: u64,
    gone: u64,
}

/// What makes the bytes for two receivers differ.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Variant {
    framing: Framing,
    mode: EventMode,
    from: bool,
    /// The service it was fired in, where that is not the receiver's own.
    foreign: Option<u16>,
    /// The place among the merged bodies; `None`: the event's own.
    body: Option<usize>,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(events: &'a Events, event: &'a Event, from: Option<&Caller>, limit: usize) -> Self {
        Self {
            events,
            event,
            from: from.and_then(sender),
            limit,
            tid: events.next_tid(),
            filtered: events.filters.iter().any(Filters::see_deliveries),
            seen: None,
            bodies: SmallVec::new(),
            frames: SmallVec::new(),
            tally: Tally::default(),
        }
    }

    /// Delivers to all who want events of one service.
    pub(super) fn deliver_in(&mut self, index: &Index, service: u16) {
        let matching = index.matching(service, &self.event.topic);
        if matching.len() > 1 {
            self.seen = Some(HashSet::default());
        }
        for subscribers in matching {
            self.deliver_to(&subscribers, service, |_| true);
        }
    }

    /// Delivers an event of every service to those who want events of this one: first only to its own sessions.
    pub(super) fn deliver_of_all(&mut self, index: &Index, service: u16, own_only: bool) {
        self.seen.get_or_insert_default();
        for subscribers in index.matching(service, &self.event.topic) {
            self.deliver_to(&subscribers, service, |member| !own_only || member.session.service == service);
        }
    }

    fn deliver_to(&mut self, subscribers: &Subscribers, service: u16, wanted: impl Fn(&Member) -> bool) {
        let filtered = self.filtered;
        let mut deliver = |member: &Member| {
            if wanted(member) {
                self.deliver_one(member, service);
            }
        };
        if filtered { subscribers.members().iter().for_each(deliver) } else { subscribers.each(&mut deliver) }
    }

    /// Tells the metrics, and says for how many sessions the event was queued.
    pub(super) fn finish(self) -> usize {
        let Tally { delivered, filtered, slow, gone } = self.tally;
        let metrics = &self.events.metrics;
        metrics.events_delivered.increment(delivered as u64);
        for (reason, count) in [
            (DropReason::Filtered, filtered),
            (DropReason::SlowConsumer, slow),
            (DropReason::Disconnected, gone),
        ] {
            if count > 0 {
                metrics.events_dropped.add(reason, count);
            }
        }
        delivered
    }

    fn deliver_one(&mut self, member: &Member, service: u16) {
        let session = &member.session;
        if self.seen.as_mut().is_some_and(|seen| !seen.insert(session.key)) {
            return;
        }
        let filters = self.events.filters.get(usize::from(session.service)).filter(|_| self.filtered);
        let Some(filters) = filters.filter(|filters| filters.see_deliveries()) else {
            return self.deliver_shared(member, service);
        };
        let event = Event { body: member.body.merge(&self.event.body), ..self.event.clone() };
        match filters.delivering(event, &session.info) {
            Some(event) => {
                let bytes = self.encode(&event, &event.body, self.variant(session, service, None));
                self.tally.count(queue(session, &bytes, self.tid, self.limit));
            }
            None => self.tally.filtered += 1,
        }
    }

    /// Queues bytes that were encoded for the first of the member's kind.
    fn deliver_shared(&mut self, member: &Member, service: u16) {
        let session = &member.session;
        let body = if member.body.is_empty() { None } else { self.merged(&member.body) };
        let variant = self.variant(session, service, body);
        if body.is_none() && !member.body.is_empty() {
            let bytes = self.encode(self.event, &member.body.merge(&self.event.body), variant);
            return self.tally.count(queue(session, &bytes, self.tid, self.limit));
        }
        if !self.frames.iter().any(|(known, _)| *known == variant) {
            let merged = body.and_then(|place| self.bodies.get(place));
            let body = merged.map_or(&self.event.body, |(_, merged)| merged);
            self.frames.push((variant, self.encode(self.event, body, variant)));
        }
        if let Some((_, bytes)) = self.frames.iter().find(|(known, _)| *known == variant) {
            self.tally.count(queue(session, bytes, self.tid, self.limit));
        }
    }

    /// The place of the event's body merged with a subscription's; `None` when there are too many.
    fn merged(&mut self, subscription: &Body) -> Option<usize> {
        if let Some(place) = self.bodies.iter().position(|(known, _)| known.is_same(subscription)) {
            return Some(place);
        }
        if self.bodies.len() >= MOST_BODIES {
            return None;
        }
        self.bodies.push((subscription.clone(), subscription.merge(&self.event.body)));
        Some(self.bodies.len() - 1)
    }

    fn variant(&self, session: &Session, service: u16, body: Option<usize>) -> Variant {
        let own = service == session.service || service == SubscriptionKey::EVERY_SERVICE;
        Variant {
            framing: session.link.framing,
            mode: session.events,
            from: session.identify && self.from.is_some(),
            foreign: (!own).then_some(service),
            body,
        }
    }

    fn encode(&self, event: &Event, body: &RawJson, variant: Variant) -> Bytes {
        let frame = EventFrame {
            topic: &event.topic,
            body,
            service: variant.foreign.and_then(|service| self.events.service_name(service)),
            from: self.from.as_deref().filter(|_| variant.from),
            tid: (variant.mode == EventMode::Ack).then_some(self.tid),
        };
        let mut bytes = Vec::with_capacity(ENVELOPE + body.len());
        put_event(&mut bytes, variant.framing, &frame);
        Bytes::from(bytes)
    }
}

impl Tally {
    fn count(&mut self, pushed: Result<(), PushError>) {
        match pushed {
            Ok(()) => self.delivered += 1,
            Err(PushError::Full) => self.slow += 1,
            Err(PushError::Closed) => self.gone += 1,
        }
    }
}

fn queue(session: &Session, bytes: &Bytes, tid: u64, limit: usize) -> Result<(), PushError> {
    let tid = (session.events == EventMode::Ack).then_some(tid);
    session.link.push_event(bytes, tid, limit)
}

/// The stamp for sessions that want to know who sends them events and requests.
pub fn sender(caller: &Caller) -> Option<String> {
    let identity = caller.identity()?;
    let mut text = String::from(r#"{"user":"#);
    push_string(&mut text, identity.user.as_str());
    text.push_str(r#","session_id":"#);
    push_string(&mut text, identity.session_id.as_str());
    text.push('}');
    Some(text)
}
