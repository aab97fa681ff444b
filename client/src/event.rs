//! Events: what arrives, what is subscribed to, and the queue between the connection and the application.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::Stream;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use tokio::sync::Notify;

use crate::{
    Error, SessionId,
    message::{IncomingRequest, empty_object},
    stats::Counters,
};

/// An event that reached this session. Serializing it gives one line of the protocol's own form.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// The subsystem that the event is about.
    pub class: String,
    /// Subdivision of the class; absent in an event for all of them. So are the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subclass: Option<String>,
    /// What happened.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// What it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obj_id: Option<String>,
    /// The broker's service the event was fired in, where that is not the session's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The body as JSON text, `{}` when there is none.
    pub body: Box<RawValue>,
    /// Who sent it: only for sessions that logged in with [`identify`](crate::Login::identify), and not for
    /// events of the broker's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Origin>,
}

impl Event {
    /// The body as a type of the application's.
    ///
    /// # Errors
    /// [`Error::Decode`] when it does not fit.
    pub fn body_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(self.body.get()).map_err(Error::Decode)
    }

    pub(crate) fn parse(request: &IncomingRequest<'_>) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Data<'a> {
            class: String,
            subclass: Option<String>,
            #[serde(rename = "type")]
            event_type: Option<String>,
            obj_id: Option<String>,
            service: Option<String>,
            #[serde(borrow)]
            body: Option<&'a RawValue>,
        }
        let data: Data<'_> = serde_json::from_str(request.data.map_or("{}", RawValue::get))?;
        Ok(Self {
            class: data.class,
            subclass: data.subclass,
            event_type: data.event_type,
            obj_id: data.obj_id,
            service: data.service,
            body: data.body.map_or_else(empty_object, ToOwned::to_owned),
            from: Origin::parse(request.from)?,
        })
    }
}

/// The user and session that an event or a server request is from, stamped by the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Origin {
    /// The user.
    pub user: String,
    /// The session.
    pub session_id: SessionId,
}

impl Origin {
    pub(crate) fn parse(from: Option<&RawValue>) -> Result<Option<Self>, serde_json::Error> {
        from.map(|from| serde_json::from_str(from.get())).transpose()
    }
}

/// Which events a session wants. A field that is not set matches every value.
///
/// ```
/// use jackfield_client::Subscription;
///
/// let all_sessions_ending = Subscription::to("core").subclass("session").event_type("stop");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Subscription {
    class: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subclass: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obj_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
}

impl Subscription {
    /// A subscription to every event of a class; `"*"` is every class, where the broker allows it.
    pub fn to(class: impl Into<String>) -> Self {
        Self {
            class: class.into(),
            subclass: None,
            event_type: None,
            obj_id: None,
            service: None,
            body: None,
        }
    }

    /// Only events of this subclass.
    pub fn subclass(mut self, subclass: impl Into<String>) -> Self {
        self.subclass = Some(subclass.into());
        self
    }

    /// Only events of this type.
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = Some(event_type.into());
        self
    }

    /// Only events about this object.
    pub fn obj_id(mut self, obj_id: impl Into<String>) -> Self {
        self.obj_id = Some(obj_id.into());
        self
    }

    /// Events of another service of the broker; `"*"` is all of them.
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// A body that the broker merges into each event's own.
    pub fn body(mut self, body: impl Into<Value>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The subscription without its body, which is no part of what it matches.
    pub(crate) fn without_body(mut self) -> Self {
        self.body = None;
        self
    }

    /// Whether one replaces the other.
    pub(crate) fn same_events(&self, other: &Self) -> bool {
        let key = |s: &Self| {
            let fields = [&s.subclass, &s.event_type, &s.obj_id];
            // Left out and "*" are the same, except for the service, where left out is the session's own.
            fields.map(|field| field.clone().filter(|value| value != "*"))
        };
        self.class == other.class && self.service == other.service && key(self) == key(other)
    }
}

/// The session's events, in the order the broker sent them.
///
/// Events wait in a queue of a fixed size ([`event_queue`](crate::ConnectOptions::event_queue)).
/// An event is answered once it is in the queue, so the broker knows how far the application got. When the
/// application is slower than its events:
///
/// 1. The queue fills. As many events again are taken from the connection and held back *unanswered*; the
///    client goes on reading answers and requests meanwhile.
/// 2. When those are as many as the queue holds, the client stops reading the connection until the
///    application takes an event. Requests made meanwhile time out.
/// 3. The broker closes the session: as `timeout` when an event stays unanswered for its
///    `timeouts.answer` (5 s), or as `slow_consumer` when too much piles up on its side. With
///    [`EventMode::Push`](crate::EventMode::Push) only the latter. The client reconnects as its options say.
///
/// Nothing that reached the client is dropped while this value lives. Without one, events beyond the queue's
/// size are answered and dropped, and counted in
/// [`Stats::events_discarded`](crate::Stats::events_discarded): so a client that wants no events needs not
/// care, and none that came between the login and [`Client::events`](crate::Client::events) is lost.
/// Dropping this value drops and counts what is queued.
///
/// Events that the broker fires while there is no connection are not received;
/// [`Client::states`](crate::Client::states) tells of such gaps. The stream ends when the client is closed
/// or gave up, after the last event was taken.
#[derive(Debug)]
pub struct Events {
    queue: Arc<EventQueue>,
}

impl Events {
    /// Waits for the next event; `None` when the client is closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.queue.poll_take(cx)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.queue.poll_take(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.queue.unclaim();
    }
}

/// The bounded queue between the connection's task and [`Events`].
#[derive(Debug)]
pub(crate) struct EventQueue {
    state: Mutex<QueueState>,
    capacity: usize,
    room: Notify,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<Event>,
    consumer: Consumer,
    closed: bool,
}

#[derive(Debug, Default)]
enum Consumer {
    #[default]
    Absent,
    Busy,
    Waiting(Waker),
}

impl EventQueue {
    pub(crate) fn new(capacity: usize, counters: Arc<Counters>) -> Self {
        Self { state: Mutex::default(), capacity, room: Notify::new(), counters }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The one stream of events; `None` while there is another.
    pub(crate) fn claim(self: &Arc<Self>) -> Option<Events> {
        let mut state = self.state.lock();
        if !matches!(state.consumer, Consumer::Absent) {
            return None;
        }
        state.consumer = Consumer::Busy;
        Some(Events { queue: Arc::clone(self) })
    }

    fn unclaim(&self) {
        let left = {
            let mut state = self.state.lock();
            state.consumer = Consumer::Absent;
            std::mem::take(&mut state.events)
        };
        self.counters.events_discarded.add(left.len() as u64);
        self.room.notify_one();
    }

    /// Takes an event in; gives it back when there is no room for it yet.
    #[expect(clippy::result_large_err, reason = "the event goes back to where it came from, by move")]
    pub(crate) fn push(&self, event: Event) -> Result<(), Event> {
        let mut state = self.state.lock();
        if state.events.len() >= self.capacity {
            if !matches!(state.consumer, Consumer::Absent) {
                return Err(event);
            }
            self.counters.events_discarded.add(1);
            return Ok(());
        }
        state.events.push_back(event);
        if matches!(state.consumer, Consumer::Waiting(_))
            && let Consumer::Waiting(waker) = std::mem::replace(&mut state.consumer, Consumer::Busy)
        {
            drop(state);
            waker.wake();
        }
        Ok(())
    }

    /// Waits until an event was taken from a full queue.
    pub(crate) async fn room(&self) {
        self.room.notified().await;
    }

    /// Ends the stream, after these last events; for them the queue's size does not count any more.
    pub(crate) fn close(&self, last: impl IntoIterator<Item = Event>) {
        let mut state = self.state.lock();
        state.closed = true;
        state.events.extend(last);
        if let Consumer::Waiting(waker) = &state.consumer {
            waker.wake_by_ref();
        }
    }

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.state.lock();
        let was_full = state.events.len() >= self.capacity;
        if let Some(event) = state.events.pop_front() {
            drop(state);
            if was_full {
                self.room.notify_one();
            }
            return Poll::Ready(Some(event));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.consumer = Consumer::Waiting(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(obj_id: &str) -> Event {
        Event {
            class: "media".into(),
            subclass: None,
            event_type: Some("created".into()),
            obj_id: Some(obj_id.into()),
            service: None,
            body: empty_object(),
            from: None,
        }
    }

    fn queue(capacity: usize) -> (Arc<EventQueue>, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Arc::new(EventQueue::new(capacity, Arc::clone(&counters))), counters)
    }

    #[test]
    fn an_event_is_written_in_the_protocols_form() {
        let line = serde_json::to_string(&event("7")).unwrap();
        assert_eq!(line, r#"{"class":"media","type":"created","obj_id":"7","body":{}}"#);
    }

    #[test]
    fn the_body_is_no_part_of_what_a_subscription_matches() {
        let plain = Subscription::to("media").subclass("session");
        let with_body = plain.clone().body(serde_json::json!({"x": 1}));
        assert!(plain.same_events(&with_body));
        assert!(plain.same_events(&plain.clone().obj_id("*")));
        assert!(!plain.same_events(&plain.clone().obj_id("7")));
        assert!(!plain.same_events(&plain.clone().service("*")));
        assert_eq!(with_body.without_body(), plain);
    }

    #[tokio::test]
    async fn a_full_queue_gives_the_event_back_only_while_somebody_listens() {
        let (queue, counters) = queue(1);
        assert!(queue.push(event("1")).is_ok());
        assert!(queue.push(event("2")).is_ok());
        assert_eq!(counters.snapshot().events_discarded, 1);
        let mut events = queue.claim().unwrap();
        assert!(queue.claim().is_none());
        assert!(queue.push(event("3")).is_err());
        assert_eq!(events.next().await.unwrap().obj_id.as_deref(), Some("1"));
        queue.room().await;
        assert!(queue.push(event("3")).is_ok());
        drop(events);
        assert_eq!(counters.snapshot().events_discarded, 2);
        assert!(queue.claim().is_some());
    }

    #[tokio::test]
    async fn the_stream_ends_after_the_last_event() {
        let (queue, _) = queue(4);
        let mut events = queue.claim().unwrap();
        assert!(queue.push(event("1")).is_ok());
        queue.close([event("2")]);
        assert!(events.next().await.is_some());
        assert!(events.next().await.is_some());
        assert!(events.next().await.is_none());
    }
}
