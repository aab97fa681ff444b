//! What the harness knows: live sessions, and everything the plugins did.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, Weak},
};

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use super::{SERVICE, connection::BrokerEnd, loaded::Loaded, store::MemoryStore};
use crate::{
    error::{Error, ErrorCode, Result},
    event::{Event, ServiceScope, Subscription, Topic},
    host::{CommandInfo, PluginSource, SessionRequest},
    json::RawJson,
    log::LogRecord,
    message::CommandKey,
    permission::Action,
    registration::{AuthenticatorRegistration, Registration},
    session::{Caller, SessionChange, SessionChangeKind, SessionId, SessionInfo, UserId},
};

/// An event that a plugin fired, as the filters left it.
#[derive(Clone, Debug)]
pub struct Published {
    /// The event.
    pub event: Event,
    /// In whose name.
    pub from: Option<Caller>,
}

/// A request that a plugin sent to a session.
#[derive(Clone, Debug)]
pub struct SentRequest {
    /// Whom.
    pub session_id: SessionId,
    /// What.
    pub request: SessionRequest,
}

/// What a session registered.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Which session.
    pub session_id: SessionId,
    /// What.
    pub registration: Registration,
}

/// A change of the plugins that a plugin asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum PluginChange {
    /// To load one, with this table.
    Load(PluginSource, Option<Value>),
    /// To unload one.
    Unload(String),
    /// To reload one, with this table.
    Reload(String, Option<Value>),
}

pub(super) type Responder = Arc<dyn Fn(&SessionId, &SessionRequest) -> Result<RawJson> + Send + Sync>;

/// Shared by the harness and the hosts of its plugins. It holds the plugins weakly, for they hold it.
pub(super) struct World {
    loaded: OnceLock<Weak<Loaded>>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) services: Vec<String>,
    pub(super) sessions: Vec<SessionInfo>,
    pub(super) subscriptions: Vec<(SessionId, Subscription)>,
    pub(super) published: Vec<Published>,
    pub(super) requests: Vec<SentRequest>,
    pub(super) responder: Option<Responder>,
    pub(super) registrations: Vec<Registered>,
    pub(super) authenticators: Vec<(SessionId, AuthenticatorRegistration)>,
    pub(super) logs: Vec<LogRecord>,
    pub(super) acks: usize,
    pub(super) changes: u64,
    pub(super) connections: Vec<BrokerEnd>,
    pub(super) stores: BTreeMap<String, Arc<MemoryStore>>,
    pub(super) counters: BTreeMap<String, u64>,
    pub(super) gauges: BTreeMap<String, f64>,
    pub(super) plugin_changes: Vec<PluginChange>,
    /// The plugins that would be loaded by now, besides those of the harness.
    pub(super) further_plugins: Vec<String>,
}

impl World {
    pub(super) fn new() -> Arc<Self> {
        let state = State { services: vec![SERVICE.to_owned()], ..State::default() };
        Arc::new(Self { loaded: OnceLock::new(), state: Mutex::new(state) })
    }

    pub(super) fn loaded_are(&self, loaded: &Arc<Loaded>) {
        self.loaded.get_or_init(|| Arc::downgrade(loaded));
    }

    /// The plugins; `invalid_operation` while they still register.
    pub(super) fn loaded(&self) -> Result<Arc<Loaded>> {
        self.loaded.get().and_then(Weak::upgrade).ok_or_else(|| ErrorCode::InvalidOperation.into())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn start_session(&self, session: SessionInfo) -> Result<()> {
        {
            let mut state = self.state();
            if state.session(&session.session_id).is_some() {
                return Err(ErrorCode::DuplicatedSessionId.into());
            }
            state.sessions.push(session.clone());
        }
        self.tell_observers(SessionChangeKind::Started, session);
        Ok(())
    }

    pub(super) fn stop_session(&self, id: &SessionId) -> Result<UserId> {
        let session = self.state().take_session(id).ok_or(ErrorCode::SessionNotFound)?;
        let user = session.user.clone();
        self.tell_observers(
            SessionChangeKind::Ended { reason: ErrorCode::SessionStop.name().into() },
            session,
        );
        Ok(user)
    }

    fn tell_observers(&self, kind: SessionChangeKind, session: SessionInfo) {
        let number = self.state().next_change();
        if let Ok(loaded) = self.loaded() {
            loaded.session_changed(&SessionChange { number, kind, session });
        }
    }
}

impl Registered {
    pub(super) fn info(&self) -> CommandInfo {
        let Registration { key, description, data_schema, .. } = &self.registration;
        CommandInfo {
            class: key.class.to_string(),
            subclass: key.subclass.to_string(),
            cmd: key.cmd.to_string(),
            aliases: Vec::new(),
            description: description.clone(),
            plugin: format!("session:{}", self.session_id),
            permission: Action::Command(key.clone()).to_string(),
            data_schema: data_schema.clone().unwrap_or_else(|| json!({})),
            reply_schema: json!({}),
        }
    }
}

impl State {
    pub(super) fn session(&self, id: &SessionId) -> Option<&SessionInfo> {
        self.sessions.iter().find(|session| session.session_id == *id)
    }

    fn take_session(&mut self, id: &SessionId) -> Option<SessionInfo> {
        let index = self.sessions.iter().position(|session| session.session_id == *id)?;
        self.subscriptions.retain(|(session, _)| session != id);
        self.registrations.retain(|registered| registered.session_id != *id);
        self.authenticators.retain(|(session, _)| session != id);
        Some(self.sessions.remove(index))
    }

    fn next_change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    pub(super) fn check_session(&self, id: &SessionId) -> Result<()> {
        self.session(id).map(drop).ok_or_else(|| Error::new(ErrorCode::SessionNotFound))
    }

    /// Which session's registration serves `key`: the most exact, and of those the last.
    pub(super) fn registered(&self, key: &CommandKey) -> Option<&Registered> {
        let levels = [(&*key.subclass, &*key.cmd), (&*key.subclass, "*"), ("*", "*")];
        levels.into_iter().find_map(|(subclass, cmd)| {
            self.registrations.iter().rev().find(
                |Registered { registration: Registration { key: own, .. }, .. }| {
                    (&*own.class, &*own.subclass, &*own.cmd) == (&*key.class, subclass, cmd)
                },
            )
        })
    }

    pub(super) fn check_service(&self, scope: &ServiceScope) -> Result<()> {
        match scope {
            ServiceScope::Named(name) if !self.services.iter().any(|known| **known == **name) => {
                Err(ErrorCode::ServiceNotFound.into())
            }
            ServiceScope::Own | ServiceScope::Named(_) | ServiceScope::All => Ok(()),
        }
    }

    /// How many sessions hold a subscription to an event on `topic`.
    pub(super) fn receivers(&self, topic: &Topic) -> usize {
        let receives = |session: &&SessionInfo| {
            self.subscriptions
                .iter()
                .any(|(id, held)| *id == session.session_id && matches(&held.topic, topic))
        };
        self.sessions.iter().filter(receives).count()
    }
}

fn matches(held: &Topic, fired: &Topic) -> bool {
    held.fields().iter().zip(fired.fields()).all(|(held, fired)| *held == "*" || *held == fired)
}
