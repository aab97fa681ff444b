//! The host of a plugin under test.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use serde_json::Value;

use super::{
    SERVICE,
    connection::BrokerEnd,
    world::{PluginChange, Published, Registered, SentRequest, World},
};
use crate::{
    error::{Error, ErrorCode, Result},
    event::{Event, ServiceScope, Subscription, Topic},
    host::{CommandInfo, Counter, Gauge, Host, PluginInfo, PluginSource, SessionRequest},
    json::RawJson,
    log::LogRecord,
    message::{CommandKey, Request},
    permission::Action,
    registration::{AuthenticatorRegistration, Registration},
    schema::DataSchema,
    session::{Caller, SessionId, SessionInfo, SessionRef, UserId, Who},
    store::Store,
    virtual_session::VirtualSession,
};

/// Plays the broker for one plugin, and writes down what it asks.
pub(super) struct TestHost {
    pub(super) plugin: String,
    pub(super) world: Arc<World>,
}

impl TestHost {
    fn plugin_info(&self, name: &str) -> Result<PluginInfo> {
        let found = self.plugins().into_iter().find(|plugin| plugin.name == name);
        found.ok_or_else(|| Error::about(ErrorCode::PluginUnavailable, name))
    }
}

#[async_trait]
impl Host for TestHost {
    fn service(&self) -> &str {
        SERVICE
    }

    async fn authorize(&self, caller: &Arc<Caller>, action: &Action) -> Result<()> {
        self.world.loaded()?.authorize(caller, action).await
    }

    fn publish(&self, event: Event, from: Option<&Caller>) -> Result<usize> {
        let class = &*event.topic.class;
        if class == "*" || (class == "core" && self.plugin != "core") {
            return Err(Error::invalid_value("class"));
        }
        self.world.state().check_service(&event.service)?;
        let Some(event) = self.world.loaded()?.fired(event) else { return Ok(0) };
        let mut state = self.world.state();
        let receivers = state.receivers(&event.topic);
        state.published.push(Published { event, from: from.cloned() });
        Ok(receivers)
    }

    fn received(&self, event: &Event, from: &Caller) {
        if let Ok(loaded) = self.world.loaded() {
            loaded.received(event, from);
        }
    }

    fn subscribe(&self, session: SessionRef<'_>, subscription: Subscription) -> Result<()> {
        let (session, mut state) = (session.id, self.world.state());
        state.check_session(session)?;
        state.check_service(&subscription.service)?;
        let held = state.subscriptions.iter_mut().find(|(id, held)| {
            id == session && held.topic == subscription.topic && held.service == subscription.service
        });
        match held {
            Some((_, held)) => held.body = subscription.body,
            None => state.subscriptions.push((session.clone(), subscription)),
        }
        Ok(())
    }

    fn unsubscribe(&self, session: SessionRef<'_>, topic: &Topic, service: &ServiceScope) -> Result<()> {
        let (session, mut state) = (session.id, self.world.state());
        state.check_session(session)?;
        state.check_service(service)?;
        state
            .subscriptions
            .retain(|(id, held)| id != session || held.topic != *topic || held.service != *service);
        Ok(())
    }

    fn subscriptions(&self, session: SessionRef<'_>) -> Result<Vec<Subscription>> {
        let (session, state) = (session.id, self.world.state());
        state.check_session(session)?;
        let own = state.subscriptions.iter().filter(|(id, _)| id == session);
        Ok(own.map(|(_, subscription)| subscription.clone()).collect())
    }

    async fn request(&self, session: &SessionId, request: SessionRequest) -> Result<RawJson> {
        let responder = {
            let mut state = self.world.state();
            state.check_session(session)?;
            state.requests.push(SentRequest { session_id: session.clone(), request: request.clone() });
            state.responder.clone()
        };
        responder.map_or_else(|| Err(ErrorCode::Timeout.into()), |respond| respond(session, &request))
    }

    async fn call(&self, request: Request) -> Result<RawJson> {
        let caller = Caller {
            connection: 0,
            service: SERVICE.into(),
            remote: self.plugin.as_str().into(),
            certificate: None,
            who: Who::Plugin,
        };
        self.world.loaded()?.call(Arc::new(caller), request).await
    }

    fn users(&self) -> BTreeMap<UserId, Vec<SessionId>> {
        let mut users = BTreeMap::<_, Vec<_>>::new();
        for session in &self.world.state().sessions {
            users.entry(session.user.clone()).or_default().push(session.session_id.clone());
        }
        users
    }

    fn session(&self, id: &SessionId) -> Option<SessionInfo> {
        self.world.state().session(id).cloned()
    }

    fn user_sessions(&self, user: &UserId) -> Vec<SessionInfo> {
        self.world.state().sessions.iter().filter(|session| session.user == *user).cloned().collect()
    }

    fn stop_session(&self, id: &SessionId) -> Result<UserId> {
        self.world.stop_session(id)
    }

    fn register(&self, session: SessionRef<'_>, registration: Registration) -> Result<()> {
        let key = &registration.key;
        if matches!(&*key.class, "core" | "*") || self.world.loaded()?.provides(key) {
            return Err(ErrorCode::Unauthorized.into());
        }
        if &*key.subclass == "*" && &*key.cmd != "*" {
            return Err(Error::invalid_value("subclass"));
        }
        if let Some(schema) = &registration.data_schema {
            DataSchema::compile_bounded(schema)?;
        }
        self.unregister(session, key)?;
        let registered = Registered { session_id: session.id.clone(), registration };
        self.world.state().registrations.push(registered);
        Ok(())
    }

    fn unregister(&self, session: SessionRef<'_>, key: &CommandKey) -> Result<()> {
        let mut state = self.world.state();
        state.check_session(session.id)?;
        state.registrations.retain(|held| held.session_id != *session.id || held.registration.key != *key);
        Ok(())
    }

    fn register_authenticator(
        &self,
        session: SessionRef<'_>,
        registration: AuthenticatorRegistration,
    ) -> Result<()> {
        self.unregister_authenticator(session)?;
        self.world.state().authenticators.push((session.id.clone(), registration));
        Ok(())
    }

    fn unregister_authenticator(&self, session: SessionRef<'_>) -> Result<()> {
        let mut state = self.world.state();
        state.check_session(session.id)?;
        state.authenticators.retain(|(id, _)| id != session.id);
        Ok(())
    }

    fn commands(&self) -> Vec<CommandInfo> {
        let Ok(loaded) = self.world.loaded() else { return Vec::new() };
        let state = self.world.state();
        let of_sessions = state.registrations.iter().filter(|held| !loaded.provides(&held.registration.key));
        loaded.commands().into_iter().chain(of_sessions.map(Registered::info)).collect()
    }

    fn command(&self, key: &CommandKey) -> Option<CommandInfo> {
        let of_plugin = self.world.loaded().ok()?.command(key);
        of_plugin.or_else(|| self.world.state().registered(key).map(Registered::info))
    }

    fn plugins(&self) -> Vec<PluginInfo> {
        self.world.loaded().map(|loaded| loaded.infos()).unwrap_or_default()
    }

    async fn load_plugin(&self, source: PluginSource, config: Option<Value>) -> Result<PluginInfo> {
        let (PluginSource::Name(name) | PluginSource::Path(name)) = source.clone();
        let mut state = self.world.state();
        if state.further_plugins.contains(&name) || self.plugin_info(&name).is_ok() {
            return Err(Error::about(ErrorCode::InvalidOperation, format_args!("'{name}' is loaded")));
        }
        state.plugin_changes.push(PluginChange::Load(source, config));
        state.further_plugins.push(name.clone());
        Ok(PluginInfo { name, ..PluginInfo::default() })
    }

    async fn unload_plugin(&self, name: &str) -> Result<()> {
        let mut state = self.world.state();
        if name == "core" {
            return Err(Error::about(ErrorCode::InvalidOperation, "'core' cannot be unloaded"));
        }
        if self.plugin_info(name).is_err() && !state.further_plugins.iter().any(|further| further == name) {
            return Err(Error::about(ErrorCode::PluginUnavailable, name));
        }
        state.further_plugins.retain(|further| further != name);
        state.plugin_changes.push(PluginChange::Unload(name.to_owned()));
        Ok(())
    }

    async fn reload_plugin(&self, name: &str, config: Option<Value>) -> Result<PluginInfo> {
        let info = self.plugin_info(name)?;
        self.world.state().plugin_changes.push(PluginChange::Reload(name.to_owned(), config));
        Ok(info)
    }

    fn log(&self, record: LogRecord) -> Result<()> {
        let loaded = self.world.loaded()?;
        self.world.state().logs.push(record.clone());
        loaded.log(&record)
    }

    fn open_session(&self, remote: &str) -> Result<VirtualSession> {
        let (session, end) = BrokerEnd::open(remote);
        self.world.state().connections.push(end);
        Ok(session)
    }

    fn store(&self) -> Result<Arc<dyn Store>> {
        let store = Arc::clone(self.world.state().stores.entry(self.plugin.clone()).or_default());
        Ok(store)
    }

    fn counter_with(&self, name: &str, _help: &str, labels: &[(&'static str, &str)]) -> Counter {
        let (world, name) = (Arc::clone(&self.world), series(name, labels));
        world.state().counters.entry(name.clone()).or_default();
        Counter::new(move |n| *world.state().counters.entry(name.clone()).or_default() += n)
    }

    fn gauge_with(&self, name: &str, _help: &str, labels: &[(&'static str, &str)]) -> Gauge {
        let (world, name) = (Arc::clone(&self.world), series(name, labels));
        world.state().gauges.entry(name.clone()).or_default();
        Gauge::new(move |value| *world.state().gauges.entry(name.clone()).or_default() = value)
    }
}

/// A metric's name with its labels, as Prometheus writes it: `calls_total{reason="refused"}`.
fn series(name: &str, labels: &[(&'static str, &str)]) -> String {
    if labels.is_empty() {
        return name.to_owned();
    }
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{name}{{{}}}", labels.join(","))
}
