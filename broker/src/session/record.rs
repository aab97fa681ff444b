use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use jackfield_plugin_api::{Caller, EventMode, RawJson, SessionInfo, Topic};
use parking_lot::Mutex;

use super::Link;

/// A logged-in connection.
pub struct Session {
    /// Unique for as long as the broker runs.
    pub key: u64,
    /// Who requests of this session come from.
    pub caller: Arc<Caller>,
    /// Who it is, and what plugins and `user get` see of it.
    pub info: SessionInfo,
    /// How events reach it.
    pub events: EventMode,
    /// Whether it is told who sends it events and requests.
    pub identify: bool,
    /// Its service's number.
    pub service: u16,
    /// When it ends by itself.
    pub expires: Option<tokio::time::Instant>,
    /// Its connection.
    pub link: Arc<Link>,
    /// Whether the two subscriptions that every session gets at login are as they were made. Then they are in no
    /// table: who is meant by such an event is found in the [`Directory`](super::Directory).
    pub automatic: AtomicBool,
    /// What else it is subscribed to, with the bodies, in order. `None` once it has ended.
    pub subscriptions: Mutex<Option<Subscriptions>>,
}

impl Session {
    /// Whether its automatic subscriptions are as they were made.
    pub fn has_automatic(&self) -> bool {
        self.automatic.load(Ordering::Acquire)
    }

    /// What every session is subscribed to at login (protocol §5).
    pub fn automatic_keys(&self) -> [SubscriptionKey; 2] {
        let SessionInfo { user, session_id, .. } = &self.info;
        let key = |subclass, obj_id| SubscriptionKey::new(self.service, ["core", subclass, "*", obj_id]);
        [key("user_event", user.as_str()), key("session_event", session_id.as_str())]
    }
}

/// A session's own subscriptions. Most have none, and keep no table for them.
pub type Subscriptions = Option<Box<IndexMap<Arc<SubscriptionKey>, RawJson, RandomState>>>;

/// What a subscription is kept under. Its fields are one text: a broker may have millions of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionKey {
    /// The service's number, or [`SubscriptionKey::EVERY_SERVICE`].
    pub service: u16,
    /// Where the first three of the fields end.
    ends: [u32; 3],
    fields: Box<str>,
}

impl SubscriptionKey {
    /// In place of a service's number: events of every one.
    pub const EVERY_SERVICE: u16 = u16::MAX;

    /// A key for events of a service with these fields, `*` for what may be anything.
    pub fn new(service: u16, fields: [&str; 4]) -> Self {
        let mut end = 0;
        let [class, subclass, kind, _] = fields.map(|field| {
            end += field.len() as u32;
            end
        });
        Self { service, ends: [class, subclass, kind], fields: fields.concat().into() }
    }

    /// The four fields of the topic in their order.
    pub fn fields(&self) -> [&str; 4] {
        let [class, subclass, kind] = self.ends.map(|end| end as usize);
        [0..class, class..subclass, subclass..kind, kind..self.fields.len()]
            .map(|range| self.fields.get(range).unwrap_or_default())
    }

    /// The first of them.
    pub fn class(&self) -> &str {
        let [class, ..] = self.fields();
        class
    }

    /// What events it wants.
    pub fn topic(&self) -> Topic {
        let [class, subclass, kind, obj_id] = self.fields();
        Topic::new(class, subclass, kind, obj_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_fields_apart() {
        let fields = ["a", "", "bç", "*"];
        let key = SubscriptionKey::new(3, fields);
        assert_eq!(key.fields(), fields);
        assert_ne!(key, SubscriptionKey::new(3, ["a", "b", "ç", "*"]));
        assert_eq!(key.topic(), Topic::new("a", "", "bç", "*"));
    }
}
