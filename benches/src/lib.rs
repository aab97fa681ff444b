//! A service put together without listeners and sockets, for the benchmarks beside it.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to measure")]

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures_util::FutureExt;
use jackfield::{
    auth::{Authorizers, Policy},
    codec::Framing,
    config::{Config, ServiceConfig},
    event::Events,
    host::{Facilities, PluginHost, Stores},
    lifecycle::{Sessions, Shared},
    registry::{Entry, Provider, Snapshot},
    router::Router,
    session::{Item, Link, Session},
    telemetry::Metrics,
};
use jackfield_plugin_api::{
    Accepted, Authenticator, Call, Caller, Command, CommandKey, Event, Host, Login, RawJson, Registration,
    Subscription, Topic, UserId, Verdict,
};

/// How many events are published before the queues are emptied. A writer takes as many at once.
const ROUND: u64 = 16;

/// A service with sessions and commands.
pub struct World {
    /// Its sessions.
    pub sessions: Arc<Sessions>,
    /// Its commands.
    pub router: Arc<Router>,
    last_link: AtomicU64,
}

impl World {
    /// A service that lets everyone in.
    pub fn new() -> Self {
        let mut config = Config::default();
        config.limits.subscriptions_per_session = usize::MAX;
        config.limits.registrations_per_session = usize::MAX;
        let metrics = Arc::new(Metrics::new());
        let settings = Arc::new(ArcSwap::from_pointee(config));
        let service: Arc<str> = "main".into();
        let events = Events::new(vec![Arc::clone(&service)], Arc::clone(&settings), Arc::clone(&metrics));
        let shared = Shared {
            events: Arc::new(events),
            settings,
            metrics: Arc::clone(&metrics),
            draining: Arc::default(),
        };
        let policy = Policy::new(&ServiceConfig::default()).unwrap();
        let router = Router::new(Authorizers::new(policy), metrics);
        let sessions = Sessions::new(service, 0, shared, Arc::clone(&router.registry));
        sessions.authenticators.replace(vec![Arc::new(Everyone)]);
        Self { sessions: Arc::new(sessions), router: Arc::new(router), last_link: AtomicU64::new(0) }
    }

    /// The broker, as a plugin sees it.
    pub fn host(&self) -> Arc<dyn Host> {
        let facilities = Facilities {
            sessions: Arc::clone(&self.sessions),
            router: Arc::clone(&self.router),
            log_sinks: ArcSwap::default(),
            plugins: ArcSwap::default(),
            stores: Arc::new(Stores::new(None)),
            connect: OnceLock::new(),
            manage: OnceLock::new(),
        };
        Arc::new(PluginHost::new("bench", Arc::new(facilities)))
    }

    /// Puts these commands, and no others, in the registry.
    pub fn register(&self, commands: impl IntoIterator<Item = Command>) {
        let provider = Arc::new(Provider { name: "bench".into(), host: self.host() });
        let entries = commands.into_iter().map(|command| Entry::new(command, Arc::clone(&provider)).unwrap());
        self.router.registry.replace(Snapshot::build(entries));
    }

    /// A new session.
    pub fn log_in(&self, user: &str) -> Arc<Session> {
        let id = self.last_link.fetch_add(1, Ordering::Relaxed) + 1;
        let link = Arc::new(Link::new(id, Framing::WebSocket, "main".into(), "ws:127.0.0.1:1".into()));
        let login = Login { user: UserId::new(user).ok(), ..Login::default() };
        self.sessions.login(&link, login).now_or_never().unwrap().unwrap();
        link.session().unwrap()
    }

    /// Has a session serve a command.
    pub fn serve(&self, session: &Arc<Session>, key: &CommandKey, host: &Arc<dyn Host>) {
        let registration = Registration::new(key.clone());
        self.sessions.workers.register(session, registration, Arc::clone(host)).unwrap();
    }

    /// Subscribes a session.
    pub fn subscribe(&self, session: &Arc<Session>, topic: Topic) {
        let subscription = Subscription { topic, service: Default::default(), body: RawJson::empty() };
        self.sessions.events.subscribe(session, &subscription).unwrap();
    }

    /// How long it takes to publish an event `times` times, each time to `receivers` sessions, whose queues are
    /// emptied in between, off the clock.
    pub fn publish(&self, event: &Event, times: u64, receivers: &[Arc<Session>]) -> Duration {
        let mut total = Duration::ZERO;
        let mut left = times;
        while left > 0 {
            let round = left.min(ROUND);
            let started = Instant::now();
            for _ in 0..round {
                let reached = self.sessions.events.publish(0, event.clone(), None).unwrap();
                debug_assert_eq!(reached, receivers.len());
            }
            total += started.elapsed();
            left -= round;
            receivers.iter().for_each(|session| drop(queued(session)));
        }
        total
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes what waits to be written to a session.
pub fn queued(session: &Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |item: Item<'_>| match item {
        Item::Bytes(own) => bytes.extend_from_slice(own),
        Item::Shared(shared) => bytes.extend_from_slice(&shared),
        Item::Event(_) | Item::Written(_) | Item::Request(..) => {}
    };
    while session.link.outbound.take(usize::MAX, &mut put) {}
    bytes
}

/// An event with a body of 100 bytes.
pub fn event(topic: Topic) -> Event {
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(89));
    Event::new(topic, RawJson::from_text(body).unwrap())
}

/// A request without a connection.
pub struct Bare {
    /// Who asks.
    pub session: Arc<Session>,
}

impl Call for Bare {
    fn caller(&self) -> &Arc<Caller> {
        &self.session.caller
    }
}

/// Lets everyone in under the name they gave.
struct Everyone;

#[async_trait]
impl Authenticator for Everyone {
    async fn authenticate(&self, login: &Login, _from: &Caller) -> Verdict {
        login.user.clone().map_or(Verdict::Continue, |user| Verdict::Accept(Accepted::user(user)))
    }
}
