//! How to connect, who to log in as, and what to do when the connection is lost.

use std::{fmt, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    Error, Registration, RequestHandler, Secret, Tls,
    endpoint::Endpoint,
    handler::{BoxedHandler, boxed},
    message::{Command, encode_request},
};

/// Everything a [`Client`](crate::Client) needs to know before it connects.
#[derive(Clone)]
pub struct ConnectOptions {
    pub(crate) endpoint: Endpoint,
    pub(crate) login: Option<Login>,
    pub(crate) timeouts: Timeouts,
    pub(crate) reconnect: Reconnect,
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: Duration,
    pub(crate) event_queue: usize,
    pub(crate) send_queue: usize,
    pub(crate) max_handlers: usize,
    pub(crate) max_message_bytes: usize,
    pub(crate) handler: Option<Arc<BoxedHandler>>,
    pub(crate) tls: Tls,
    pub(crate) registrations: Vec<Registration>,
}

impl ConnectOptions {
    /// Options for the broker at `url`: `ws://host[:port][/path]` (port 9010 when left out), `wss://…` (9011),
    /// `tcp://host[:port]` (9012) or `tls://…` (9013).
    ///
    /// # Errors
    /// [`Error::UnsupportedScheme`] for another scheme; [`Error::InvalidUrl`] for what is no URL of a broker.
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self {
            endpoint: url.parse()?,
            login: None,
            timeouts: Timeouts::default(),
            reconnect: Reconnect::default(),
            connect_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(90),
            event_queue: 1024,
            send_queue: 1024,
            max_handlers: 256,
            max_message_bytes: 64 << 20,
            handler: None,
            tls: Tls::new(),
            registrations: Vec::new(),
        })
    }

    /// Logs in on every connection. Without a login only `core`/`core`/`ping` is of use.
    pub fn login(mut self, login: Login) -> Self {
        self.login = Some(login);
        self
    }

    /// Whom to trust and who to be on `wss://` and `tls://` connections; without TLS it means nothing.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// How long requests wait for their answers.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// What to do when the connection is lost. The default is [`Reconnect::default`].
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// How long the making of one connection may take, TLS and WebSocket handshakes included; 10 s by default. The
    /// login has the [`Timeouts`] of a request.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// After how much silence from the broker a ping is sent; 90 s by default. No sign of life within
    /// [`Timeouts::answer`] after that and the connection counts as lost.
    pub fn keepalive(mut self, silence: Duration) -> Self {
        self.keepalive = silence;
        self
    }

    /// How many events wait for the application; 1,024 by default, at least 1. [`Events`](crate::Events)
    /// says what happens when there are more.
    pub fn event_queue(mut self, events: usize) -> Self {
        self.event_queue = events.max(1);
        self
    }

    /// How many requests wait to be written, also while there is no connection; 1,024 by default, at
    /// least 1. A request beyond that waits for room within its own time.
    pub fn send_queue(mut self, requests: usize) -> Self {
        self.send_queue = requests.max(1);
        self
    }

    /// How many server requests are handled at once; 256 by default, at least 1. One more is answered with
    /// error 100085, too many requests.
    pub fn max_handlers(mut self, handlers: usize) -> Self {
        self.max_handlers = handlers.max(1);
        self
    }

    /// The longest message that is accepted from the broker, in bytes; 64 MiB by default.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Serves requests that come from the broker: other sessions' `core session cmd`, and commands this
    /// session registered. Without a handler they are answered with error 100006, not implemented.
    ///
    /// See [`Registration`] for a whole example.
    ///
    /// A handler that holds a [`Client`](crate::Client) keeps that client from being closed by being
    /// dropped; use [`Client::close`](crate::Client::close) then.
    pub fn on_request(mut self, handler: impl RequestHandler) -> Self {
        self.handler = Some(boxed(handler));
        self
    }

    /// Serves commands, after each login anew. A connection on which the broker refuses that is no good: the first
    /// fails with [`Error::Connect`], a later one is tried again.
    pub fn register(mut self, registration: Registration) -> Self {
        self.registrations.push(registration);
        self
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("url", &self.endpoint.url())
            .field("login", &self.login)
            .field("tls", &self.tls)
            .field("timeouts", &self.timeouts)
            .field("reconnect", &self.reconnect)
            .finish_non_exhaustive()
    }
}

/// What a session logs in with.
///
/// ```
/// use jackfield_client::Login;
///
/// let login = Login::user("ann@example.com").password("secret").meta("lang", "en");
/// assert!(!format!("{login:?}").contains("secret"));
/// ```
#[derive(Clone, Default)]
pub struct Login {
    user: Option<String>,
    password: Option<Secret>,
    session_id: Option<String>,
    meta: Map<String, Value>,
    events: EventMode,
    identify: bool,
    extra: Map<String, Value>,
}

impl Login {
    /// A login as this user.
    pub fn user(user: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..Self::default() }
    }

    /// A login whose user an authenticator finds out, from a token for example.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// The user's password.
    pub fn password(mut self, password: impl Into<Secret>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Asks for this session id; without it the broker makes one.
    pub fn session_id(mut self, session_id: impl Into<String>) -> Self {
        self.session_id = Some(session_id.into());
        self
    }

    /// Keeps a value with the session, where others can see it.
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.meta.insert(key.into(), value.into());
        self
    }

    /// Whether events are answered; [`EventMode::Ack`] by default.
    pub fn events(mut self, mode: EventMode) -> Self {
        self.events = mode;
        self
    }

    /// Asks the broker to say with each event and server request which user and session it is from.
    pub fn identify(mut self) -> Self {
        self.identify = true;
        self
    }

    /// Any other login field, `token` for example. It is taken for a secret and never printed. A field that
    /// has a method of its own here is better set with that; what was set here wins.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// The login as the message that goes over the wire, secrets included: for those who hold a
    /// [`RawConnection`](crate::RawConnection).
    ///
    /// # Errors
    /// [`Error::Encode`] where a value cannot be written as JSON.
    pub fn to_message(&self, tid: u64) -> Result<String, Error> {
        encode_request(Command::core("user", "login"), &self.to_data(), tid)
    }

    /// The `data` of the login request.
    pub(crate) fn to_data(&self) -> Map<String, Value> {
        let mut data = Map::new();
        let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
        if let Some(user) = &self.user {
            put("user", user.as_str().into());
        }
        if let Some(password) = &self.password {
            put("password", password.expose().into());
        }
        if let Some(session_id) = &self.session_id {
            put("session_id", session_id.as_str().into());
        }
        if !self.meta.is_empty() {
            put("meta", self.meta.clone().into());
        }
        if self.events == EventMode::Push {
            put("events", "push".into());
        }
        if self.identify {
            put("identify", true.into());
        }
        data.extend(self.extra.clone());
        data
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("password", &self.password)
            .field("session_id", &self.session_id)
            .field("meta", &self.meta.keys().collect::<Vec<_>>())
            .field("events", &self.events)
            .field("identify", &self.identify)
            .field("extra", &self.extra.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// How events reach the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventMode {
    /// Each event is a request that the client answers once it is in the application's queue.
    #[default]
    Ack,
    /// Events are not answered: less traffic, and the broker cannot tell a session that hangs from one that
    /// has nothing to say.
    Push,
}

/// How long a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the call to the answer or the first ack, the wait for a connection included; 5 s by default.
    pub answer: Duration,
    /// From each ack to the answer or the next ack; 180 s by default.
    pub acked: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { answer: Duration::from_secs(5), acked: Duration::from_secs(180) }
    }
}

/// What to do when the connection is lost. The first connection is always tried once only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// Nothing: for callers that make one request and leave.
    Never,
    /// Try again after a delay that doubles with each attempt; the true delay is a random one between half
    /// of that and all of it, so that a broker that comes back is not asked by everybody at once.
    Backoff {
        /// The delay before the first attempt.
        initial: Duration,
        /// The longest delay. A connection that lasted longer than this starts the count afresh.
        max: Duration,
        /// After how many attempts without success to give up; `None` is never.
        max_attempts: Option<u32>,
    },
}

impl Reconnect {
    /// The delay before attempt number `attempt` (from 1); `None` to give up.
    pub(crate) fn delay(self, attempt: u32) -> Option<Duration> {
        let Self::Backoff { initial, max, max_attempts } = self else { return None };
        if max_attempts.is_some_and(|limit| attempt > limit) {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(31);
        let full = initial.saturating_mul(1 << doublings).min(max);
        Some(full.mul_f64(rand::random_range(0.5..=1.0)))
    }
}

impl Default for Reconnect {
    /// From 200 ms to 30 s, for ever.
    fn default() -> Self {
        Self::Backoff {
            initial: Duration::from_millis(200),
            max: Duration::from_secs(30),
            max_attempts: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_carries_what_was_set_and_prints_no_secret() {
        let login = Login::user("ann")
            .password("hunter2")
            .session_id("s1")
            .meta("lang", "en")
            .events(EventMode::Push)
            .identify()
            .field("token", "t0k3n");
        let expected = serde_json::json!({
            "user": "ann", "password": "hunter2", "session_id": "s1", "meta": {"lang": "en"},
            "events": "push", "identify": true, "token": "t0k3n",
        });
        assert_eq!(Value::Object(login.to_data()), expected);
        let options = ConnectOptions::new("ws://localhost").unwrap().login(login);
        let printed = format!("{options:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("t0k3n"), "{printed}");
        assert!(printed.contains("***"));
    }

    #[test]
    fn the_delay_doubles_up_to_its_limit_and_is_jittered() {
        let policy = Reconnect::Backoff {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(1),
            max_attempts: Some(50),
        };
        for (attempt, full) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (50, 1000)] {
            let delay = policy.delay(attempt).unwrap().as_millis();
            assert!(delay >= full / 2 && delay <= full, "attempt {attempt}: {delay} ms");
        }
        assert_eq!(policy.delay(51), None);
        assert_eq!(Reconnect::Never.delay(1), None);
    }
}
