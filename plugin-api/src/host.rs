//! What a plugin may ask of the broker.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Value, json};

use crate::{
    context::{Call, Context},
    error::{Error, ErrorCode, Result},
    event::{Event, ServiceScope, Subscription, Topic},
    json::RawJson,
    log::LogRecord,
    message::{CommandKey, Relay, Request},
    permission::Action,
    registration::{AuthenticatorRegistration, Registration},
    session::{Caller, SessionId, SessionInfo, SessionRef, UserId},
    store::Store,
    virtual_session::VirtualSession,
};

/// The broker, as one plugin in one service sees it. What it is asked is checked as a client's request would be,
/// permissions apart: the operator who lists a plugin trusts it.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// The service.
    fn service(&self) -> &str;

    /// Asks whether `caller` may do `action`.
    ///
    /// # Errors
    /// The refusal.
    async fn authorize(&self, caller: &Arc<Caller>, action: &Action) -> Result<()>;

    /// Fires an event and says for how many sessions it was queued. `from` is stamped on it for the sessions that
    /// asked to know.
    ///
    /// # Errors
    /// `invalid_value` for class `*`, or for class `core` from a plugin that is not the core's;
    /// `service_not_found`.
    fn publish(&self, event: Event, from: Option<&Caller>) -> Result<usize>;

    /// Offers an event that a client sent as a request to the event filters. It goes nowhere else.
    fn received(&self, event: &Event, from: &Caller);

    /// Subscribes a session. The same topic and service again replaces the body.
    ///
    /// # Errors
    /// `session_not_found`, `service_not_found`, `limit_exceeded`.
    fn subscribe(&self, session: SessionRef<'_>, subscription: Subscription) -> Result<()>;

    /// Ends a subscription; one that is not there is no error.
    ///
    /// # Errors
    /// `session_not_found`, `service_not_found`.
    fn unsubscribe(&self, session: SessionRef<'_>, topic: &Topic, service: &ServiceScope) -> Result<()>;

    /// A session's subscriptions, in the order in which they were made.
    ///
    /// # Errors
    /// `session_not_found`.
    fn subscriptions(&self, session: SessionRef<'_>) -> Result<Vec<Subscription>>;

    /// Sends a request to a session, under a `tid` of the broker's, and waits for its answer.
    ///
    /// # Errors
    /// The session's own error unchanged; `session_not_found`, `session_stop`, `timeout`, `invalid_reply`.
    async fn request(&self, session: &SessionId, request: SessionRequest) -> Result<RawJson>;

    /// Sends a request to a session, whose answer and acks go to the caller: what becomes of
    /// [`Answer::Relay`](crate::Answer::Relay).
    ///
    /// # Errors
    /// `session_not_found`, `session_stop`; `not_implemented` where the caller's side is not the broker's.
    fn relay(&self, _relay: &Relay, _to: Arc<dyn Call>) -> Result<()> {
        Err(ErrorCode::NotImplemented.into())
    }

    /// Calls a registered command as this plugin.
    ///
    /// # Errors
    /// The command's, or `unknown_command`.
    async fn call(&self, request: Request) -> Result<RawJson>;

    /// All users with their sessions.
    fn users(&self) -> BTreeMap<UserId, Vec<SessionId>>;

    /// One session.
    fn session(&self, id: &SessionId) -> Option<SessionInfo>;

    /// The sessions of one user.
    fn user_sessions(&self, user: &UserId) -> Vec<SessionInfo>;

    /// Ends a session; its connection is closed once what is queued for it is written.
    ///
    /// # Errors
    /// `session_not_found`.
    fn stop_session(&self, id: &SessionId) -> Result<UserId>;

    /// Has requests for a command sent to a session, until it ends. The same triple again replaces what was said of it.
    ///
    /// # Errors
    /// `unauthorized` for class `core`, class `*` and what a plugin provides; `invalid_value` naming `subclass` for
    /// `*` above a cmd, or `data_schema`; `limit_exceeded`, `session_not_found`.
    fn register(&self, _session: SessionRef<'_>, _registration: Registration) -> Result<()> {
        Err(ErrorCode::NotImplemented.into())
    }

    /// Ends a registration; one that is not there is no error. What was sent to the session is still answered by it.
    ///
    /// # Errors
    /// `session_not_found`.
    fn unregister(&self, _session: SessionRef<'_>, _key: &CommandKey) -> Result<()> {
        Err(ErrorCode::NotImplemented.into())
    }

    /// Has a session asked about every login that no plugin accepts or rejects, until it ends.
    ///
    /// # Errors
    /// `limit_exceeded`, `session_not_found`.
    fn register_authenticator(
        &self,
        _session: SessionRef<'_>,
        _registration: AuthenticatorRegistration,
    ) -> Result<()> {
        Err(ErrorCode::NotImplemented.into())
    }

    /// Ends that; nothing to end is no error.
    ///
    /// # Errors
    /// `session_not_found`.
    fn unregister_authenticator(&self, _session: SessionRef<'_>) -> Result<()> {
        Err(ErrorCode::NotImplemented.into())
    }

    /// Every registered command.
    fn commands(&self) -> Vec<CommandInfo>;

    /// What serves `key`, which may be an alias or fall to a wildcard entry.
    fn command(&self, key: &CommandKey) -> Option<CommandInfo>;

    /// The plugins of the service, first asked first.
    fn plugins(&self) -> Vec<PluginInfo>;

    /// Loads a plugin into the service while it runs, with its table where `config` gives one. It holds at once, for
    /// every connection, and until the broker's end: a reload of the configuration file leaves it. Where it fails, all
    /// is as it was.
    ///
    /// # Errors
    /// `invalid_value` for what cannot be loaded, or a table that does not fit; `invalid_operation` where it is loaded
    /// already or lacks what it depends on; `plugin_unavailable` with the plugin's own refusal; `internal_error_ref`
    /// where it panics.
    async fn load_plugin(&self, source: PluginSource, config: Option<Value>) -> Result<PluginInfo> {
        let (PluginSource::Name(text) | PluginSource::Path(text)) = &source;
        manage(self, "load", json!({ source.field(): text, "config": config })).await
    }

    /// Unloads a plugin: no new request reaches it. Once those under way are finished, at most `timeouts.handler`
    /// later, its services are stopped and it is gone.
    ///
    /// # Errors
    /// `plugin_unavailable` for one that is not loaded; `invalid_operation` for the core's, and for one that others
    /// depend on.
    async fn unload_plugin(&self, name: &str) -> Result<()> {
        manage(self, "unload", json!({ "name": name })).await.map(|_: IgnoredAny| ())
    }

    /// Loads a plugin anew, a library from its file, and puts it in the place of the one that is loaded; no request
    /// fails by that. Without `config` it keeps its table.
    ///
    /// # Errors
    /// Those of [`load_plugin`](Self::load_plugin) and [`unload_plugin`](Self::unload_plugin); the loaded one stays
    /// then.
    async fn reload_plugin(&self, name: &str, config: Option<Value>) -> Result<PluginInfo> {
        manage(self, "reload", json!({ "name": name, "config": config })).await
    }

    /// Writes a record to the broker's log and to every log sink.
    ///
    /// # Errors
    /// What a sink refused with.
    fn log(&self, record: LogRecord) -> Result<()>;

    /// Opens a session without a socket; `remote` tells where its client is, such as `mqtt:10.0.0.7:5123`.
    ///
    /// # Errors
    /// `limit_exceeded`, `shutting_down`.
    fn open_session(&self, remote: &str) -> Result<VirtualSession>;

    /// The plugin's own state, kept over restarts where the broker has a data directory.
    ///
    /// # Errors
    /// `internal_error` when the data directory cannot be used.
    fn store(&self) -> Result<Arc<dyn Store>>;

    /// Registers a counter under `jackfield_plugin_NAME`; the same name again gives the same counter.
    fn counter(&self, name: &str, help: &str) -> Counter {
        self.counter_with(name, help, &[])
    }

    /// Registers a gauge, likewise.
    fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.gauge_with(name, help, &[])
    }

    /// Registers a counter that is told apart by labels, such as `("reason", "refused")`. Every label's value must be one
    /// of a few: each is a series of its own, kept for as long as the broker runs.
    fn counter_with(&self, name: &str, help: &str, labels: &[(&'static str, &str)]) -> Counter;

    /// Registers a gauge, likewise.
    fn gauge_with(&self, name: &str, help: &str, labels: &[(&'static str, &str)]) -> Gauge;
}

/// Asks the core's plugin: a host that is not the broker itself has its commands.
async fn manage<H: Host + ?Sized, T: DeserializeOwned>(host: &H, cmd: &str, data: Value) -> Result<T> {
    let reply = host.call(Request::new("core", "plugin", cmd, RawJson::from_value(&data)?)).await?;
    reply.parse().map_err(|source| Error::from(ErrorCode::InvalidReply).with_source(source))
}

/// Where a plugin is to be loaded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// It is built in, or was unloaded before.
    Name(String),
    /// It is a library; a relative path is relative to the broker's working directory.
    Path(String),
}

impl PluginSource {
    /// The field of `core plugin load` that gives it.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Name(_) => "name",
            Self::Path(_) => "path",
        }
    }
}

/// A request of the broker's to a session.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    /// What is asked, in the session's own terms.
    pub command: CommandKey,
    /// The arguments.
    pub data: RawJson,
    /// In whose name; stamped on the request where the session asked to know.
    pub from: Option<Arc<Caller>>,
    /// Whose caller is to see the session's acks.
    pub relay_acks: Option<Context>,
}

/// What the registry tells of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommandInfo {
    /// Its class.
    pub class: String,
    /// Its subclass, `*` for any.
    pub subclass: String,
    /// Its name, `*` for any.
    pub cmd: String,
    /// Other names for `cmd`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// What it does.
    pub description: String,
    /// Who provides it: the first that is asked.
    pub plugin: String,
    /// The permission that it needs.
    pub permission: String,
    /// What its data must look like, as a JSON Schema.
    pub data_schema: Value,
    /// What its answer looks like.
    pub reply_schema: Value,
}

/// What `core plugin list` tells of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PluginInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it came: `builtin`, `library` or `session`.
    pub kind: String,
    /// `running`, `failed` (one of its services did) or `quarantined` (it panicked too often).
    pub state: String,
    /// What it is for.
    pub description: String,
    /// The plugins that it needs, which are asked after it.
    pub depends: Vec<String>,
    /// Its commands, as `class/subclass/cmd`.
    pub commands: Vec<String>,
    /// How many authenticators it registered.
    pub authenticators: usize,
    /// How many authorizers.
    pub authorizers: usize,
    /// How many event filters.
    pub event_filters: usize,
    /// How many session observers.
    pub session_observers: usize,
    /// How many log sinks.
    pub log_sinks: usize,
    /// How many sinks of the broker's own log.
    #[serde(default)]
    pub broker_log_sinks: usize,
    /// How many services of its own.
    pub services: usize,
}

/// A number that only rises.
#[derive(Clone)]
pub struct Counter(Arc<dyn Fn(u64) + Send + Sync>);

impl Counter {
    /// Wraps what adds to the counter.
    pub fn new(add: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(add))
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        (self.0)(n);
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counter")
    }
}

/// A number that rises and falls.
#[derive(Clone)]
pub struct Gauge(Arc<dyn Fn(f64) + Send + Sync>);

impl Gauge {
    /// Wraps what sets the gauge.
    pub fn new(set: impl Fn(f64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(set))
    }

    /// Sets it.
    pub fn set(&self, value: f64) {
        (self.0)(value);
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauge")
    }
}
