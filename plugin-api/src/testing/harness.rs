//! The harness itself.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    SERVICE, SESSION, USER, caller,
    connection::BrokerEnd,
    host::TestHost,
    loaded::Loaded,
    services::RunningServices,
    session,
    store::MemoryStore,
    world::{PluginChange, Published, Registered, SentRequest, World},
};
use crate::{
    auth::{Login, Verdict},
    error::{Error, Result},
    event::Event,
    host::{Host, SessionRequest},
    json::RawJson,
    log::{BrokerRecord, LogRecord},
    message::{CommandKey, Request},
    permission::Action,
    plugin::Plugin,
    registration::AuthenticatorRegistration,
    session::{Caller, SessionChange, SessionId, SessionInfo},
};

/// Plugins, running without a broker. One session is live from the start: [`SESSION`] of user [`USER`].
///
/// ```
/// use jackfield_plugin_api::{Command, Manifest, NoArguments, Plugin, Registrar, Result, manifest, testing::Harness};
///
/// struct Hello;
///
/// impl Plugin for Hello {
///     fn manifest(&self) -> Manifest {
///         manifest!("hello")
///     }
///
///     fn register(&self, registrar: &mut Registrar) -> Result<()> {
///         let hello = Command::define("hello", "core", "hello");
///         registrar.command(hello.handler(|_cx, _: NoArguments| async { Ok("hello") }));
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let answer = Harness::new(Hello)?.call("hello", "core", "hello", "{}").await?;
/// assert_eq!(answer.as_str(), r#""hello""#);
/// # Ok(())
/// # }
/// ```
pub struct Harness {
    loaded: Arc<Loaded>,
    world: Arc<World>,
    tester: Arc<Caller>,
}

impl Harness {
    /// Runs one plugin without configuration.
    ///
    /// # Errors
    /// What the plugin failed to register with.
    pub fn new(plugin: impl Plugin) -> Result<Self> {
        Self::with_config(plugin, &json!({}))
    }

    /// Runs one plugin with its table of the configuration file.
    ///
    /// # Errors
    /// `invalid_value` for a table that does not fit the plugin's schema; what the plugin failed to register with.
    pub fn with_config(plugin: impl Plugin, config: &Value) -> Result<Self> {
        let name = plugin.manifest().name;
        Self::with(&json!({ name: config }), vec![Arc::new(plugin)])
    }

    /// Runs several plugins, first asked first. `config` holds their tables by their names.
    ///
    /// # Errors
    /// Those of [`with_config`](Self::with_config); `invalid_value` for a dependency that is missing or circular.
    pub fn with(config: &Value, plugins: Vec<Arc<dyn Plugin>>) -> Result<Self> {
        let world = World::new();
        let loaded = Loaded::load(config, plugins, &world)?;
        let tester = session(USER, SESSION)?;
        let harness = Self { loaded, world, tester: caller(&tester) };
        // Before the plugins are told of sessions: this one was always there.
        harness.world.start_session(tester)?;
        harness.world.loaded_are(&harness.loaded);
        Ok(harness)
    }

    /// Sends a request with this JSON text as data, as [`SESSION`], and gives the answer's `data`.
    ///
    /// # Errors
    /// The answer's.
    pub async fn call(&self, class: &str, subclass: &str, cmd: &str, data: &str) -> Result<RawJson> {
        self.call_as(&self.tester, class, subclass, cmd, data).await
    }

    /// Sends a request as somebody else.
    ///
    /// # Errors
    /// The answer's.
    pub async fn call_as(
        &self,
        caller: &Arc<Caller>,
        class: &str,
        subclass: &str,
        cmd: &str,
        data: &str,
    ) -> Result<RawJson> {
        let data = RawJson::from_text(data.to_owned()).map_err(Error::syntax)?;
        let data = if data.is_null() { RawJson::empty() } else { data };
        self.loaded.call(Arc::clone(caller), Request::new(class, subclass, cmd, data)).await
    }

    /// Asks the authenticators for their verdict on a login from `from`.
    pub async fn authenticate(&self, login: &Login, from: &Caller) -> Verdict {
        self.loaded.authenticate(login, from).await
    }

    /// Asks the authorizers, then the default policy `allow`.
    ///
    /// # Errors
    /// The refusal.
    pub async fn authorize(&self, caller: &Arc<Caller>, action: &Action) -> Result<()> {
        self.loaded.authorize(caller, action).await
    }

    /// What the event filters leave of an event that is fired; `None` where one drops it.
    pub fn filter(&self, event: Event) -> Option<Event> {
        self.loaded.fired(event)
    }

    /// What the event filters leave of an event on its way to one session.
    pub fn deliver(&self, event: Event, to: &SessionInfo) -> Option<Event> {
        self.loaded.delivering(event, to)
    }

    /// Offers the event filters an event that a client sent as a request.
    pub fn receive(&self, event: &Event, from: &Caller) {
        self.loaded.received(event, from);
    }

    /// Hands a record to the log sinks.
    ///
    /// # Errors
    /// What a sink refused with.
    pub fn log(&self, record: &LogRecord) -> Result<()> {
        self.loaded.log(record)
    }

    /// Hands a line of the broker's own log to the sinks for it.
    pub fn broker_log(&self, record: &BrokerRecord) {
        self.loaded.broker_log(record);
    }

    /// Tells the session observers of a change.
    pub fn session_changed(&self, change: &SessionChange) {
        self.loaded.session_changed(change);
    }

    /// Starts the plugins' services. To be called inside a tokio runtime.
    pub fn start_services(&self) -> RunningServices {
        RunningServices::start(&self.loaded)
    }

    /// A host as the plugin `core` has it, to look around with.
    pub fn host(&self) -> Arc<dyn Host> {
        Arc::new(TestHost { plugin: "core".into(), world: Arc::clone(&self.world) })
    }

    /// Who asks in [`call`](Self::call).
    pub fn tester(&self) -> &Arc<Caller> {
        &self.tester
    }

    /// Adds a live session, of which the observers are told, and gives it as a caller.
    ///
    /// # Errors
    /// `duplicated_session_id`.
    pub fn add_session(&self, session: SessionInfo) -> Result<Arc<Caller>> {
        let caller = caller(&session);
        self.world.start_session(session)?;
        Ok(caller)
    }

    /// Adds another service of the same broker, besides [`SERVICE`].
    pub fn add_service(&self, name: &str) {
        debug_assert_ne!(name, SERVICE);
        self.world.state().services.push(name.to_owned());
    }

    /// Answers what plugins ask of sessions, and requests for what these have registered. Without this a session says
    /// nothing, which is `timeout`.
    pub fn on_request(
        &self,
        respond: impl Fn(&SessionId, &SessionRequest) -> Result<RawJson> + Send + Sync + 'static,
    ) {
        self.world.state().responder = Some(Arc::new(respond));
    }

    /// The events that were fired so far and that no filter dropped.
    pub fn published(&self) -> Vec<Published> {
        self.world.state().published.clone()
    }

    /// The requests that plugins sent to sessions so far.
    pub fn requests(&self) -> Vec<SentRequest> {
        self.world.state().requests.clone()
    }

    /// What sessions have registered and not taken back.
    pub fn registrations(&self) -> Vec<Registered> {
        self.world.state().registrations.clone()
    }

    /// The sessions that are to judge logins. The harness does not ask them.
    pub fn session_authenticators(&self) -> Vec<(SessionId, AuthenticatorRegistration)> {
        self.world.state().authenticators.clone()
    }

    /// The records that plugins logged so far.
    pub fn logs(&self) -> Vec<LogRecord> {
        self.world.state().logs.clone()
    }

    /// The changes of the plugins that were asked for so far. The harness takes note of them and makes none.
    pub fn plugin_changes(&self) -> Vec<PluginChange> {
        self.world.state().plugin_changes.clone()
    }

    /// How many acks handlers sent so far.
    pub fn acks(&self) -> usize {
        self.world.state().acks
    }

    /// The broker's ends of the virtual sessions that were opened since this was last asked.
    pub fn virtual_sessions(&self) -> Vec<BrokerEnd> {
        std::mem::take(&mut self.world.state().connections)
    }

    /// A plugin's store.
    pub fn store(&self, plugin: &str) -> Arc<MemoryStore> {
        Arc::clone(self.world.state().stores.entry(plugin.to_owned()).or_default())
    }

    /// The value of a counter, where a plugin registered it. One with labels is named with them, in their order:
    /// `calls_total{reason="refused"}`.
    pub fn counter(&self, name: &str) -> Option<u64> {
        self.world.state().counters.get(name).copied()
    }

    /// The value of a gauge, likewise.
    pub fn gauge(&self, name: &str) -> Option<f64> {
        self.world.state().gauges.get(name).copied()
    }

    /// Whether `class/subclass/cmd` is served by somebody.
    pub fn serves(&self, class: &str, subclass: &str, cmd: &str) -> bool {
        self.host().command(&CommandKey::new(class, subclass, cmd)).is_some()
    }
}

impl std::fmt::Debug for Harness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Harness")
    }
}
