use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use jackfield_plugin_api::{Caller, EventMode, Identity, RawJson, SessionInfo, Topic};
use parking_lot::Mutex;

use super::Link;

/// A logged-in connection.
pub struct Session {
    /// Unique for as long as the broker runs.
    pub key: u64,
    /// Who requests of this session come from.
    pub caller: Arc<Caller>,
    /// Who it is.
    pub identity: Identity,
    /// What plugins and `user get` see of it.
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
    /// What it is subscribed to, with the bodies, in order. `None` once it has ended.
    pub subscriptions: Mutex<Option<Subscriptions>>,
}

type Subscriptions = IndexMap<SubscriptionKey, RawJson, RandomState>;

/// What a subscription is kept under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionKey {
    /// The service's number, or [`SubscriptionKey::EVERY_SERVICE`].
    pub service: u16,
    /// What events it wants.
    pub topic: Topic,
}

impl SubscriptionKey {
    /// In place of a service's number: events of every one.
    pub const EVERY_SERVICE: u16 = u16::MAX;
}

impl Hash for SubscriptionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.service.hash(state);
        self.topic.fields().hash(state);
    }
}
