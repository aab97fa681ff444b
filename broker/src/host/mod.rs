//! The broker as plugins see it.

mod session_log;
mod store;
mod virtual_session;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use jackfield_plugin_api::{
    Action, AuthenticatorRegistration, Call, Caller, CommandInfo, CommandKey, Counter, Error, ErrorCode,
    Event, Gauge, Host, LogRecord, LogSink, PluginInfo, PluginSource, RawJson, Registration, Relay, Request,
    Result, ServiceScope, SessionId, SessionInfo, SessionRef, SessionRequest, Store, Subscription, Topic,
    UserId, VirtualSession, Who,
};
use serde_json::Value;

use crate::{
    codec::CloseReason, event::sender, lifecycle::Sessions, router::Router, session::Session,
    transport::Stream, worker::Question,
};
pub use store::Stores;

/// The plugin that may speak for the broker.
pub const CORE: &str = "core";

/// What the hosts of one service's plugins have in common.
pub struct Facilities {
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The commands.
    pub router: Arc<Router>,
    /// Where `core session log` goes besides the broker's own log.
    pub log_sinks: ArcSwap<Vec<Arc<dyn LogSink>>>,
    /// What `core plugin list` tells, asked anew each time.
    pub plugins: ArcSwap<Vec<Arc<dyn Describe>>>,
    /// The plugins' state.
    pub stores: Arc<Stores>,
    /// Serves the broker's end of a virtual session; set once connections can be served.
    pub connect: OnceLock<Box<dyn Connect>>,
    /// Changes the plugins; set once they are running.
    pub manage: OnceLock<Box<dyn Manage>>,
}

/// Tells of a plugin.
pub trait Describe: Send + Sync {
    /// What there is to tell now.
    fn describe(&self) -> PluginInfo;
}

/// Takes new connections.
pub trait Connect: Send + Sync {
    /// Serves a connection that came without a listener.
    ///
    /// # Errors
    /// `limit_exceeded`, `shutting_down`.
    fn connect(&self, stream: Box<dyn Stream>, remote: Arc<str>) -> Result<()>;
}

/// Changes which plugins there are while the broker runs. What fails changes nothing.
#[async_trait]
pub trait Manage: Send + Sync {
    /// Loads one, with this table where one is given.
    ///
    /// # Errors
    /// Those of [`Host::load_plugin`].
    async fn load(&self, source: PluginSource, config: Option<Value>) -> Result<PluginInfo>;

    /// Unloads one.
    ///
    /// # Errors
    /// Those of [`Host::unload_plugin`].
    async fn unload(&self, name: &str) -> Result<()>;

    /// Loads one anew.
    ///
    /// # Errors
    /// Those of [`Host::reload_plugin`].
    async fn reload(&self, name: &str, config: Option<Value>) -> Result<PluginInfo>;
}

/// The broker, as one plugin of one service sees it.
pub struct PluginHost {
    plugin: Box<str>,
    facilities: Arc<Facilities>,
}

impl PluginHost {
    /// The view of `plugin`.
    pub fn new(plugin: &str, facilities: Arc<Facilities>) -> Self {
        Self { plugin: plugin.into(), facilities }
    }

    fn sessions(&self) -> &Sessions {
        &self.facilities.sessions
    }

    fn manage(&self) -> Result<&dyn Manage> {
        self.facilities.manage.get().map(|manage| &**manage).ok_or_else(|| ErrorCode::InvalidOperation.into())
    }

    fn live(&self, session: SessionRef<'_>) -> Result<Arc<Session>> {
        let found = self.sessions().directory.get(session.id.as_str());
        let meant = found.filter(|found| session.connection.is_none_or(|connection| connection == found.key));
        meant.ok_or_else(|| ErrorCode::SessionNotFound.into())
    }

    /// A session that ended while it registered must not stay registered: its end may have come too early to see it.
    fn if_still_live(&self, session: SessionRef<'_>, registered: &Session) -> Result<()> {
        let still = self.live(session).is_ok_and(|live| live.key == registered.key);
        if !still {
            self.sessions().workers.leave(registered);
            return Err(ErrorCode::SessionNotFound.into());
        }
        Ok(())
    }
}

#[async_trait]
impl Host for PluginHost {
    fn service(&self) -> &str {
        &self.sessions().service
    }

    async fn authorize(&self, caller: &Arc<Caller>, action: &Action) -> Result<()> {
        self.facilities.router.authorizers.permit(caller, action).await
    }

    fn publish(&self, event: Event, from: Option<&Caller>) -> Result<usize> {
        // protocol.md §5: class `core` is the broker's.
        if event.topic.class == CORE && *self.plugin != *CORE {
            return Err(Error::invalid_value("class"));
        }
        self.sessions().events.publish(self.sessions().number, event, from)
    }

    fn received(&self, event: &Event, from: &Caller) {
        self.sessions().events.received(self.sessions().number, event, from);
    }

    fn subscribe(&self, session: SessionRef<'_>, subscription: Subscription) -> Result<()> {
        self.sessions().events.subscribe(&self.live(session)?, &subscription)
    }

    fn unsubscribe(&self, session: SessionRef<'_>, topic: &Topic, service: &ServiceScope) -> Result<()> {
        self.sessions().events.unsubscribe(&self.live(session)?, topic, service)
    }

    fn subscriptions(&self, session: SessionRef<'_>) -> Result<Vec<Subscription>> {
        Ok(self.sessions().events.subscriptions(&*self.live(session)?))
    }

    async fn request(&self, session: &SessionId, request: SessionRequest) -> Result<RawJson> {
        let session = self.live(session.into())?;
        let from = stamp(&session, &request);
        let SessionRequest { command, data, relay_acks, .. } = &request;
        let acks = relay_acks.clone();
        let question = Question { command, data, from: from.as_deref(), acks, held: None };
        let sent = self.sessions().workers.asker().send(&session, question)?;
        sent.answer().await.unwrap_or_else(|| Err(ErrorCode::SessionStop.into()))
    }

    fn relay(&self, relay: &Relay, to: Arc<dyn Call>) -> Result<()> {
        let session = self.live((&relay.session).into())?;
        let from = stamp(&session, &relay.request);
        self.sessions().workers.asker().relay(&session, &relay.request, from.as_deref(), to)
    }

    async fn call(&self, request: Request) -> Result<RawJson> {
        let caller = Caller {
            connection: 0,
            service: Arc::clone(&self.sessions().service),
            remote: format!("plugin:{}", self.plugin).into(),
            certificate: None,
            who: Who::Plugin,
        };
        let limit = self.sessions().settings.load().timeouts.handler;
        self.facilities.router.call(request, Arc::new(PluginCall(Arc::new(caller))), limit).await.result
    }

    fn users(&self) -> BTreeMap<UserId, Vec<SessionId>> {
        self.sessions().directory.users()
    }

    fn session(&self, id: &SessionId) -> Option<SessionInfo> {
        self.sessions().directory.get(id.as_str()).map(|session| session.info.clone())
    }

    fn user_sessions(&self, user: &UserId) -> Vec<SessionInfo> {
        self.sessions().directory.of_user(user.as_str()).iter().map(|session| session.info.clone()).collect()
    }

    fn stop_session(&self, id: &SessionId) -> Result<UserId> {
        Ok(self.sessions().stop(id, CloseReason::Stopped)?)
    }

    fn register(&self, session: SessionRef<'_>, registration: Registration) -> Result<()> {
        let live = self.live(session)?;
        let name = format!("session:{}", session.id);
        let host = Arc::new(Self::new(&name, Arc::clone(&self.facilities)));
        self.sessions().workers.register(&live, registration, host)?;
        self.if_still_live(session, &live)
    }

    fn unregister(&self, session: SessionRef<'_>, key: &CommandKey) -> Result<()> {
        self.sessions().workers.unregister(&*self.live(session)?, key);
        Ok(())
    }

    fn register_authenticator(
        &self,
        session: SessionRef<'_>,
        registration: AuthenticatorRegistration,
    ) -> Result<()> {
        let live = self.live(session)?;
        self.sessions().workers.register_authenticator(&live, registration)?;
        self.if_still_live(session, &live)
    }

    fn unregister_authenticator(&self, session: SessionRef<'_>) -> Result<()> {
        self.sessions().workers.unregister_authenticator(&*self.live(session)?);
        Ok(())
    }

    fn commands(&self) -> Vec<CommandInfo> {
        self.facilities.router.registry.commands()
    }

    fn command(&self, key: &CommandKey) -> Option<CommandInfo> {
        let chain = self.facilities.router.registry.lookup(&key.class, &key.subclass, &key.cmd)?;
        chain.entries.first().map(|entry| entry.info())
    }

    fn plugins(&self) -> Vec<PluginInfo> {
        let mut plugins: Vec<_> =
            self.facilities.plugins.load().iter().map(|plugin| plugin.describe()).collect();
        plugins.extend(self.sessions().workers.describe());
        plugins
    }

    async fn load_plugin(&self, source: PluginSource, config: Option<Value>) -> Result<PluginInfo> {
        self.manage()?.load(source, config).await
    }

    async fn unload_plugin(&self, name: &str) -> Result<()> {
        self.manage()?.unload(name).await
    }

    async fn reload_plugin(&self, name: &str, config: Option<Value>) -> Result<PluginInfo> {
        self.manage()?.reload(name, config).await
    }

    fn log(&self, record: LogRecord) -> Result<()> {
        session_log::write(&record);
        session_log::hand_out(&self.facilities.log_sinks.load(), &record)
    }

    fn open_session(&self, remote: &str) -> Result<VirtualSession> {
        let connect = self.facilities.connect.get().ok_or(ErrorCode::PluginUnavailable)?;
        virtual_session::open(&**connect, remote)
    }

    fn store(&self) -> Result<Arc<dyn Store>> {
        self.facilities.stores.open(&self.sessions().service, &self.plugin)
    }

    fn counter_with(&self, name: &str, help: &str, labels: &[(&'static str, &str)]) -> Counter {
        let counter = self.sessions().metrics.plugin_counter(name, help, labels);
        Counter::new(move |n| counter.increment(n))
    }

    fn gauge_with(&self, name: &str, help: &str, labels: &[(&'static str, &str)]) -> Gauge {
        let gauge = self.sessions().metrics.plugin_gauge(name, help, labels);
        Gauge::new(move |value| gauge.set(value))
    }
}

/// Who asks, for a session that wants to know.
fn stamp(session: &Session, request: &SessionRequest) -> Option<String> {
    request.from.as_ref().filter(|_| session.identify).and_then(|caller| sender(caller))
}

/// A request that a plugin makes by itself.
struct PluginCall(Arc<Caller>);

impl Call for PluginCall {
    fn caller(&self) -> &Arc<Caller> {
        &self.0
    }
}
