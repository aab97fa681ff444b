//! Events: who wants them, and how they get there. Plain functions: nothing here waits for anybody.

mod deliver;
mod filters;
mod index;
mod merge;

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use jackfield_plugin_api::{Caller, Error, ErrorCode, Event, RawJson, ServiceScope, Subscription, Topic};

use crate::{
    config::Config,
    session::{Directory, Session, SubscriptionKey, Subscriptions},
    telemetry::{DropReason, Metrics},
};
use deliver::Delivery;
use filters::Filters;
use index::Index;

pub use deliver::sender;
pub use filters::NamedFilter;
pub use merge::Body;

/// The longest body of a subscription, in bytes. It is merged into every event by whoever fires that, and kept.
const LARGEST_BODY: usize = 16 << 10;

/// How many events may be fired by filters of an event, and by filters of those.
const DEEPEST: usize = 16;

/// How many subscriptions a session gets at login.
const AUTOMATIC: usize = 2;

/// The events of a broker: every service's, for events may cross from one to another.
pub struct Events {
    index: Index,
    services: Vec<Arc<str>>,
    directories: Vec<Arc<Directory>>,
    filters: Vec<Filters>,
    settings: Arc<ArcSwap<Config>>,
    metrics: Arc<Metrics>,
    /// Ids of the broker's own requests, events among them: one counter, so that receivers can share a frame.
    last_tid: AtomicU64,
}

impl Events {
    /// The events of the services with these names; their numbers are their places.
    pub fn new(services: Vec<Arc<str>>, settings: Arc<ArcSwap<Config>>, metrics: Arc<Metrics>) -> Self {
        let filters = services.iter().map(|_| Filters::default()).collect();
        let directories: Vec<Arc<Directory>> = services.iter().map(|_| Arc::default()).collect();
        let index = Index::new(directories.iter().cloned());
        Self { index, services, directories, filters, settings, metrics, last_tid: AtomicU64::new(0) }
    }

    /// Where a service lists its sessions; they get what is sent to them, or to their users, from then on.
    pub fn directory(&self, service: u16) -> Arc<Directory> {
        self.directories.get(usize::from(service)).cloned().unwrap_or_default()
    }

    /// The next id for a request of the broker's.
    pub fn next_tid(&self) -> u64 {
        self.last_tid.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Puts another chain of filters in force in a service.
    pub fn set_filters(&self, service: u16, chain: Vec<NamedFilter>) {
        if let Some(filters) = self.filters.get(usize::from(service)) {
            filters.replace(chain);
        }
    }

    /// Fires an event in the name of `from`, and says for how many sessions it was queued. `service` is where `Own`
    /// is.
    ///
    /// # Errors
    /// `invalid_value` for class `*`, `service_not_found`.
    pub fn publish(&self, service: u16, event: Event, from: Option<&Caller>) -> Result<usize, Error> {
        if event.topic.class == "*" {
            return Err(Error::invalid_value("class"));
        }
        let target = self.resolve(&event.service, service)?;
        let Some(_depth) = Depth::enter() else { return Err(ErrorCode::InvalidOperation.into()) };
        self.metrics.events_published.increment(1);
        let was_core = event.topic.class == "core";
        let event = match self.filters.get(usize::from(service)) {
            Some(filters) => filters.fired(event),
            None => Some(event),
        };
        // Nor does a filter speak for the broker, or to every class.
        let may_be = |event: &Event| event.topic.class != "*" && (was_core || event.topic.class != "core");
        let Some(event) = event.filter(may_be) else {
            self.metrics.events_dropped.add(DropReason::Filtered, 1);
            return Ok(0);
        };
        let config = self.settings.load();
        let mut delivery = Delivery::new(self, &event, from, config.limits.outbound_bytes);
        match target {
            SubscriptionKey::EVERY_SERVICE => self.deliver_everywhere(&mut delivery),
            target => delivery.deliver_in(&self.index, target),
        }
        Ok(delivery.finish())
    }

    /// An event to every service reaches each session once, its own service's subscriptions first.
    fn deliver_everywhere(&self, delivery: &mut Delivery<'_>) {
        for own_only in [true, false] {
            for (number, _) in self.services.iter().enumerate() {
                delivery.deliver_of_all(&self.index, number as u16, own_only);
            }
        }
    }

    /// Offers an event that a client sent to the filters of its service.
    pub fn received(&self, service: u16, event: &Event, from: &Caller) {
        if let Some(filters) = self.filters.get(usize::from(service)) {
            filters.received(event, from);
        }
    }

    /// Subscribes a session, or replaces the body of a subscription that it has. The two that every session gets at
    /// login come on top of the limit.
    ///
    /// # Errors
    /// `service_not_found`, `session_not_found` once it has ended, `limit_exceeded`.
    pub fn subscribe(&self, session: &Arc<Session>, subscription: &Subscription) -> Result<(), Error> {
        let most = self.settings.load().limits.subscriptions_per_session;
        self.add(session, subscription, most.saturating_add(AUTOMATIC))
    }

    /// Counts what a session that has just started is subscribed to.
    pub fn subscribed_to_own(&self) {
        self.metrics.subscriptions.increment(AUTOMATIC as f64);
    }

    fn add(&self, session: &Arc<Session>, subscription: &Subscription, most: usize) -> Result<(), Error> {
        let key = self.key(session, &subscription.topic, &subscription.service)?;
        let body = subscription.body.detached();
        let mut own = session.subscriptions.lock();
        let Some(own) = own.as_mut() else { return Err(ErrorCode::SessionNotFound.into()) };
        self.unfold(session, own, &key);
        let own = own.get_or_insert_default();
        let automatic = if session.has_automatic() { AUTOMATIC } else { 0 };
        if own.len() + automatic >= most && !own.contains_key(&key) {
            return Err(Error::about(ErrorCode::LimitExceeded, "subscriptions_per_session"));
        }
        if body.len() > LARGEST_BODY {
            return Err(Error::about(ErrorCode::LimitExceeded, "body of a subscription"));
        }
        let key = self.index.insert(key, session, Body::new(&body));
        if own.insert(key, body).is_none() {
            self.metrics.subscriptions.increment(1.0);
        }
        Ok(())
    }

    /// Makes ordinary subscriptions of the automatic ones, where one of them is about to be changed.
    fn unfold(&self, session: &Arc<Session>, own: &mut Subscriptions, changed: &SubscriptionKey) {
        if !session.has_automatic() || changed.class() != "core" {
            return;
        }
        let automatic = session.automatic_keys();
        if !automatic.contains(changed) {
            return;
        }
        let own = own.get_or_insert_default();
        for (place, key) in automatic.into_iter().enumerate() {
            own.shift_insert(place, self.index.insert(key, session, Body::empty()), RawJson::empty());
        }
        session.automatic.store(false, Ordering::Release);
    }

    /// Ends a subscription, if it is there.
    ///
    /// # Errors
    /// `service_not_found`.
    pub fn unsubscribe(
        &self,
        session: &Arc<Session>,
        topic: &Topic,
        service: &ServiceScope,
    ) -> Result<(), Error> {
        let key = self.key(session, topic, service)?;
        let mut own = session.subscriptions.lock();
        let Some(own) = own.as_mut() else { return Ok(()) };
        self.unfold(session, own, &key);
        if own.as_mut().is_some_and(|own| own.shift_remove(&key).is_some()) {
            self.index.remove(&key, session.key);
            self.metrics.subscriptions.decrement(1.0);
        }
        Ok(())
    }

    /// Ends all of a session's subscriptions, for good. It is in no directory any more.
    pub fn forget(&self, session: &Session) {
        let Some(own) = session.subscriptions.lock().take() else { return };
        if session.has_automatic() {
            self.metrics.subscriptions.decrement(AUTOMATIC as f64);
        }
        let Some(own) = own else { return };
        self.metrics.subscriptions.decrement(own.len() as f64);
        for key in own.keys() {
            self.index.remove(key, session.key);
        }
    }

    /// A session's subscriptions, in the order in which they were made; none once it has ended.
    pub fn subscriptions(&self, session: &Session) -> Vec<Subscription> {
        let own = session.subscriptions.lock();
        let Some(own) = own.as_ref() else { return Vec::new() };
        let subscription = |key: &SubscriptionKey, body: &RawJson| Subscription {
            topic: key.topic(),
            service: self.scope(key.service, session.service),
            body: body.clone(),
        };
        let automatic = session.automatic_keys().into_iter().filter(|_| session.has_automatic());
        let automatic = automatic.map(|key| subscription(&key, &RawJson::empty()));
        automatic
            .chain(own.iter().flat_map(|own| own.iter()).map(|(key, body)| subscription(key, body)))
            .collect()
    }

    fn scope(&self, service: u16, own: u16) -> ServiceScope {
        match self.services.get(usize::from(service)) {
            _ if service == own => ServiceScope::Own,
            Some(name) => ServiceScope::Named((&**name).into()),
            None => ServiceScope::All,
        }
    }

    fn key(&self, session: &Session, topic: &Topic, scope: &ServiceScope) -> Result<SubscriptionKey, Error> {
        let service = self.resolve(scope, session.service)?;
        Ok(SubscriptionKey::new(service, topic.fields()))
    }

    fn resolve(&self, scope: &ServiceScope, own: u16) -> Result<u16, Error> {
        match scope {
            ServiceScope::Own => Ok(own),
            ServiceScope::All => Ok(SubscriptionKey::EVERY_SERVICE),
            ServiceScope::Named(name) => {
                let place = self.services.iter().position(|service| **service == **name);
                place.map(|place| place as u16).ok_or_else(|| ErrorCode::ServiceNotFound.into())
            }
        }
    }

    fn service_name(&self, service: u16) -> Option<&str> {
        self.services.get(usize::from(service)).map(|name| &**name)
    }
}

/// Counts how deep a thread is in events that fire events.
struct Depth;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

impl Depth {
    fn enter() -> Option<Self> {
        let depth = DEPTH.get();
        (depth < DEEPEST).then(|| {
            DEPTH.set(depth + 1);
            Self
        })
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}
