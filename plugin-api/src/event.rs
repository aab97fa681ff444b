//! Events, subscriptions, and the filters between them.

use bytestring::ByteString;

use crate::{
    json::RawJson,
    session::{Caller, SessionInfo},
};

/// What an event is about, or what a subscription asks for.
///
/// In an event an absent field is unknown; in a subscription it matches anything. A `"*"` on the wire is an absent
/// field here, the class apart: class `*` in a subscription matches every class.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// The class.
    pub class: ByteString,
    /// The subclass.
    pub subclass: Option<ByteString>,
    /// The type.
    pub kind: Option<ByteString>,
    /// The object.
    pub obj_id: Option<ByteString>,
}

impl Topic {
    /// A topic as it stands on the wire, `"*"` for what is absent.
    pub fn new(
        class: impl Into<ByteString>,
        subclass: impl Into<ByteString>,
        kind: impl Into<ByteString>,
        obj_id: impl Into<ByteString>,
    ) -> Self {
        Self { class: class.into(), subclass: field(subclass), kind: field(kind), obj_id: field(obj_id) }
    }

    /// The four fields in their order, `*` for what is absent.
    pub fn fields(&self) -> [&str; 4] {
        [
            &self.class,
            or_star(self.subclass.as_ref()),
            or_star(self.kind.as_ref()),
            or_star(self.obj_id.as_ref()),
        ]
    }
}

fn field(text: impl Into<ByteString>) -> Option<ByteString> {
    let text = text.into();
    (text != "*").then_some(text)
}

fn or_star(field: Option<&ByteString>) -> &str {
    field.map_or("*", |text| text)
}

/// Which service an event is fired in, or a subscription listens to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServiceScope {
    /// That of the caller.
    #[default]
    Own,
    /// Another one of the same broker.
    Named(ByteString),
    /// Every one.
    All,
}

impl ServiceScope {
    /// The scope as it stands on the wire: absent, a name, or `*`.
    pub fn from_wire(service: Option<&str>) -> Self {
        match service {
            None => Self::Own,
            Some("*") => Self::All,
            Some(name) => Self::Named(name.into()),
        }
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub topic: Topic,
    /// Where it is fired.
    pub service: ServiceScope,
    /// What it says; `{}` for nothing.
    pub body: RawJson,
}

impl Event {
    /// An event in the caller's own service.
    pub fn new(topic: Topic, body: RawJson) -> Self {
        Self { topic, service: ServiceScope::Own, body }
    }
}

/// A session's wish to receive events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// What the events must be about.
    pub topic: Topic,
    /// Where they must be fired.
    pub service: ServiceScope,
    /// Merged below each event's own body; `{}` for nothing.
    pub body: RawJson,
}

/// What a filter makes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filtered {
    /// It goes on as it is.
    Pass,
    /// This one goes on in its place.
    Replace(Event),
    /// It goes no further, and is counted. The sender is still answered `ok`.
    Drop,
}

/// Sees every event. Filters are asked in plugin order, each with what the one before made of the event.
///
/// Called in place by whoever fires the event, so it must return at once.
pub trait EventFilter: Send + Sync + 'static {
    /// An event was fired and is about to be matched.
    fn fired(&self, event: &Event) -> Filtered;

    /// Whether [`delivering`](Self::delivering) is to be asked. Asking costs a call for every receiver, and an
    /// event that is changed is encoded for that receiver alone.
    fn filters_deliveries(&self) -> bool {
        false
    }

    /// An event is about to be queued for one session.
    fn delivering(&self, _event: &Event, _to: &SessionInfo) -> Filtered {
        Filtered::Pass
    }

    /// A client sent a request `core/core/event`. It was answered `ok` and goes nowhere else.
    fn received(&self, _event: &Event, _from: &Caller) {}
}
