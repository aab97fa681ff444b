//! How sessions begin and end.

mod login;
mod metadata;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use jackfield_plugin_api::{
    CommandKey, ErrorCode, Event, RawJson, RawObject, SessionChange, SessionChangeKind, SessionId,
    SessionObserver, Topic, UserId,
};
use parking_lot::{Mutex, MutexGuard};

use crate::{
    auth::Authenticators,
    codec::CloseReason,
    config::Config,
    event::Events,
    registry::Registry,
    session::{Anonymous, Directory, Session},
    telemetry::{Metrics, panics},
    worker::{Asker, Workers},
};

/// The sessions of one service.
pub struct Sessions {
    /// The service's name.
    pub service: Arc<str>,
    /// The service's number.
    pub number: u16,
    /// Who is here.
    pub directory: Arc<Directory>,
    /// Who may come in.
    pub authenticators: Arc<Authenticators>,
    /// Those of them that do a plugin's work.
    pub workers: Workers,
    /// What they tell each other.
    pub events: Arc<Events>,
    /// The configuration in force.
    pub settings: Arc<ArcSwap<Config>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Set when the broker stops.
    pub draining: Arc<AtomicBool>,
    /// The connections that have not logged in.
    pub anonymous: Anonymous,
    /// That of sessions without any.
    no_metadata: Arc<RawObject>,
    changes: Mutex<Changes>,
}

/// Starts and ends have one order, that of this lock, and observers see it. They are called outside of it, by one
/// thread at a time, so that they may ask the broker for something.
#[derive(Default)]
struct Changes {
    last: u64,
    untold: VecDeque<SessionChange>,
    telling: bool,
    observers: Vec<Arc<dyn SessionObserver>>,
}

/// What all services of a broker share.
#[derive(Clone)]
pub struct Shared {
    /// All events.
    pub events: Arc<Events>,
    /// The configuration in force.
    pub settings: Arc<ArcSwap<Config>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Set when the broker stops.
    pub draining: Arc<AtomicBool>,
}

impl Sessions {
    /// The sessions of the service `name`, none yet. Some will serve commands of `registry`.
    pub fn new(name: Arc<str>, number: u16, shared: Shared, registry: Arc<Registry>) -> Self {
        let authenticators = Arc::new(Authenticators::new());
        let asker = Asker {
            events: Arc::clone(&shared.events),
            settings: Arc::clone(&shared.settings),
            metrics: Arc::clone(&shared.metrics),
        };
        Self {
            service: name,
            number,
            directory: shared.events.directory(number),
            workers: Workers::new(asker, registry, Arc::clone(&authenticators)),
            authenticators,
            events: shared.events,
            settings: shared.settings,
            metrics: shared.metrics,
            draining: shared.draining,
            anonymous: Anonymous::default(),
            no_metadata: Arc::default(),
            changes: Mutex::default(),
        }
    }

    /// Whether the broker is stopping.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Tells other observers from now on.
    pub fn set_observers(&self, observers: Vec<Arc<dyn SessionObserver>>) {
        self.changes.lock().observers = observers;
    }

    /// Tells the observers what has been recorded, unless somebody is at it already.
    fn tell_observers(&self) {
        let mut changes = self.changes.lock();
        if std::mem::replace(&mut changes.telling, true) {
            return;
        }
        while let Some(change) = changes.untold.pop_front() {
            let observers = changes.observers.clone();
            MutexGuard::unlocked(&mut changes, || {
                for observer in &observers {
                    let told = AssertUnwindSafe(|| observer.session_changed(&change));
                    if let Err(panic) = catch_unwind(told) {
                        panics::caught("a session observer panicked", &*panic);
                    }
                }
            });
        }
        changes.telling = false;
    }

    /// Ends a session, once: it is listed no more and gets no more events. Its connection is its own business.
    pub fn end(&self, session: &Session, reason: CloseReason) {
        {
            let mut changes = self.changes.lock();
            if !self.directory.remove(session) {
                return;
            }
            changes.record(session, SessionChangeKind::Ended { reason: reason.name().into() });
        }
        // Before anybody who waits for its answer learns that there will be none.
        self.workers.leave(session);
        self.tell_observers();
        self.events.forget(session);
        session.link.outbound.forget_waiters();
        self.metrics.sessions.decrement(1.0);
        let Identifiers { user, session_id } = Identifiers::of(session);
        tracing::debug!(service = %self.service, ?user, %session_id, reason = reason.name(), "session ended");
        self.announce(session, "stop", Some(reason.name()));
    }

    /// Ends a session and has its connection closed once what is queued for it is written.
    ///
    /// # Errors
    /// `session_not_found`.
    pub fn stop(&self, id: &SessionId, reason: CloseReason) -> Result<UserId, ErrorCode> {
        let session = self.directory.get(id.as_str()).ok_or(ErrorCode::SessionNotFound)?;
        self.close(&session, reason);
        Ok(session.info.user.clone())
    }

    /// Ends this session and no other, and has its connection closed likewise.
    pub fn close(&self, session: &Session, reason: CloseReason) {
        self.end(session, reason);
        session.link.close(reason);
    }

    /// Fires an event of the broker's own.
    pub fn notify(&self, topic: Topic, body: RawJson) {
        // Class and service are right by construction.
        self.events.publish(self.number, Event::new(topic, body), None).ok();
    }

    /// Tells a session which of its request's data fields nobody knows (protocol §5).
    pub fn notify_unrecognized(&self, session: &Session, command: &CommandKey, fields: &[String]) {
        let CommandKey { class, subclass, cmd } = command;
        let body = serde_json::json!({ "class": class, "subclass": subclass, "cmd": cmd, "fields": fields });
        let body = RawJson::from_value(&body).unwrap_or_default();
        let id = session.info.session_id.as_str();
        self.notify(Topic::new("core", "session_event", "unrecognized_fields", id), body);
    }

    /// The event `core`/`session`/`start` or `stop`.
    fn announce(&self, session: &Session, kind: &'static str, reason: Option<&str>) {
        let mut body = RawObject::default();
        let fields = [
            ("user", Some(session.info.user.as_str())),
            ("remote", Some(&*session.info.remote)),
            ("reason", reason),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                // A string is always JSON.
                body.set(name, &value).ok();
            }
        }
        self.notify(Topic::new("core", "session", kind, session.info.session_id.as_str()), body.to_json());
    }
}

impl Changes {
    fn record(&mut self, session: &Session, kind: SessionChangeKind) {
        self.last += 1;
        if !self.observers.is_empty() {
            self.untold.push_back(SessionChange { number: self.last, kind, session: session.info.clone() });
        }
    }
}

/// A session's names, for log fields.
struct Identifiers<'a> {
    user: &'a UserId,
    session_id: &'a SessionId,
}

impl<'a> Identifiers<'a> {
    fn of(session: &'a Session) -> Self {
        Self { user: &session.info.user, session_id: &session.info.session_id }
    }
}
