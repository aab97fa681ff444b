//! Events and subscriptions.

use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::{CallerText, RefText};
use crate::{
    event::{Event, ServiceScope, Subscription, Topic},
    json::RawJson,
};

/// EVENT.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct EventText {
    class: ByteString,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subclass: Option<ByteString>,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<ByteString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    obj_id: Option<ByteString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<ByteString>,
    #[serde(default, skip_serializing_if = "RawJson::is_empty")]
    body: RawJson,
}

/// The scope as text, absent for one's own service.
pub(in crate::ffi) fn scope_text(scope: &ServiceScope) -> Option<&str> {
    match scope {
        ServiceScope::Own => None,
        ServiceScope::Named(name) => Some(name),
        ServiceScope::All => Some("*"),
    }
}

impl EventText {
    pub(in crate::ffi) fn new(topic: &Topic, service: &ServiceScope, body: &RawJson) -> Self {
        let Topic { class, subclass, kind, obj_id } = topic.clone();
        let service = scope_text(service).map(ByteString::from);
        Self { class, subclass, kind, obj_id, service, body: body.clone() }
    }

    /// Absent fields and `*` are the same (protocol §5).
    fn into_parts(self) -> (Topic, ServiceScope, RawJson) {
        let Self { class, subclass, kind, obj_id, service, body } = self;
        (
            TopicText { class, subclass, kind, obj_id }.into(),
            ServiceScope::from_wire(service.as_deref()),
            body,
        )
    }
}

impl From<&Event> for EventText {
    fn from(event: &Event) -> Self {
        Self::new(&event.topic, &event.service, &event.body)
    }
}

impl From<EventText> for Event {
    fn from(text: EventText) -> Self {
        let (topic, service, body) = text.into_parts();
        Self { topic, service, body }
    }
}

impl From<&Subscription> for EventText {
    fn from(subscription: &Subscription) -> Self {
        Self::new(&subscription.topic, &subscription.service, &subscription.body)
    }
}

impl From<EventText> for Subscription {
    fn from(text: EventText) -> Self {
        let (topic, service, body) = text.into_parts();
        Self { topic, service, body }
    }
}

/// What an action on events is about.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct TopicText {
    class: ByteString,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subclass: Option<ByteString>,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<ByteString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    obj_id: Option<ByteString>,
}

impl From<&Topic> for TopicText {
    fn from(topic: &Topic) -> Self {
        let Topic { class, subclass, kind, obj_id } = topic.clone();
        Self { class, subclass, kind, obj_id }
    }
}

impl From<TopicText> for Topic {
    fn from(text: TopicText) -> Self {
        let some = |field: Option<ByteString>| field.filter(|field| *field != *"*");
        Self {
            class: text.class,
            subclass: some(text.subclass),
            kind: some(text.kind),
            obj_id: some(text.obj_id),
        }
    }
}

/// An event and whose it is.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct FromText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::ffi) from: Option<CallerText>,
    pub(in crate::ffi) event: EventText,
}

/// What a session subscribes to.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct SubscribeText {
    pub(in crate::ffi) session: RefText,
    pub(in crate::ffi) event: EventText,
}
