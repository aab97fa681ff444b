//! Sessions that do a plugin's work: they serve commands, or judge logins (protocol §6).

mod ask;
mod authenticator;
mod class;
mod places;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicUsize},
};

use jackfield_plugin_api::{
    AuthenticatorRegistration, Command, CommandKey, Error, ErrorCode, Host, PluginInfo, Registration, Result,
    schema::DataSchema,
};
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    auth::Authenticators,
    registry::{Entry, Provider, Registry},
    session::Session,
};
use authenticator::SessionAuthenticator;
use class::{Class, Member};
use places::Places;

pub use ask::{Asker, Question, Sent};

/// The sessions of one service that do a plugin's work.
pub struct Workers {
    asker: Arc<Asker>,
    registry: Arc<Registry>,
    authenticators: Arc<Authenticators>,
    /// Held while the registry and the chain of authenticators follow.
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    rows: BTreeMap<Arc<CommandKey>, Row>,
    /// By the sessions' keys.
    workers: BTreeMap<u64, Worker>,
}

/// A triple and those who serve it. What the last of them said of it holds.
struct Row {
    class: Arc<Class>,
    served: Vec<Served>,
}

struct Served {
    member: Arc<Member>,
    entry: Arc<Entry>,
}

/// All that one session registered.
struct Worker {
    session: Arc<Session>,
    keys: BTreeSet<Arc<CommandKey>>,
    authenticates: usize,
    bytes: Arc<AtomicUsize>,
}

/// What the registry shows as the provider.
fn name(session: &Session) -> String {
    format!("session:{}", session.info.session_id)
}

impl Workers {
    /// None yet.
    pub fn new(asker: Asker, registry: Arc<Registry>, authenticators: Arc<Authenticators>) -> Self {
        Self { asker: Arc::new(asker), registry, authenticators, table: Mutex::default() }
    }

    /// What sends requests to sessions.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Has requests for a command sent to a session. `host` is what its handler's context has.
    ///
    /// # Errors
    /// Those of [`Host::register`].
    pub fn register(
        &self,
        session: &Arc<Session>,
        registration: Registration,
        host: Arc<dyn Host>,
    ) -> Result<()> {
        let Registration { key, description, data_schema, if_lost, inflight } = registration;
        self.check(&key)?;
        let data_schema = data_schema.unwrap_or_else(|| json!({}));
        let schema = DataSchema::compile_bounded(&data_schema)?;
        let provider = Arc::new(Provider { name: name(session).into(), host });
        let key = Arc::new(key);
        let mut table = self.table.lock();
        let bytes = self.enlist(&mut table, session, Some(&key))?;
        let row = table.rows.entry(Arc::clone(&key)).or_insert_with(|| Row::new(&self.asker, &key));
        // What it was given under an earlier registration still counts.
        let earlier = row.take_out(session.key).map(|earlier| Arc::clone(&earlier.member.places.taken));
        if earlier.is_none() {
            self.asker.metrics.worker_registrations.increment(1.0);
        }
        let places = Places { most: inflight, taken: earlier.unwrap_or_default(), bytes };
        let member = Arc::new(Member { session: Arc::clone(session), if_lost, places });
        let command = Command::define(&key.class, &key.subclass, &key.cmd)
            .about(description)
            .data_schema(data_schema)
            .keeps_own_time()
            .finish(Arc::clone(&row.class) as _);
        let entry = Arc::new(Entry::with_schema(command, schema, provider));
        row.served.push(Served { member, entry });
        row.tell_class();
        self.registry.set_of_sessions([(key, row.entry())]);
        Ok(())
    }

    fn check(&self, key: &CommandKey) -> Result<()> {
        if matches!(&*key.class, "core" | "*") || self.registry.is_of_plugin(key) {
            return Err(ErrorCode::Unauthorized.into());
        }
        // protocol.md §6: no look-up leads to `<class, *, cmd>`.
        if &*key.subclass == "*" && &*key.cmd != "*" {
            return Err(Error::invalid_value("subclass"));
        }
        Ok(())
    }

    /// Makes a session a worker, with one registration more where it has not got that one, and gives its count of
    /// bytes.
    fn enlist(
        &self,
        table: &mut Table,
        session: &Arc<Session>,
        key: Option<&Arc<CommandKey>>,
    ) -> Result<Arc<AtomicUsize>> {
        let most = self.asker.settings.load().limits.registrations_per_session;
        let worker = table.workers.get(&session.key);
        let has_it = worker.is_some_and(|worker| match key {
            Some(key) => worker.keys.contains(key),
            None => worker.authenticates > 0,
        });
        if !has_it && worker.is_some_and(|worker| worker.keys.len() + worker.authenticates >= most) {
            return Err(Error::about(ErrorCode::LimitExceeded, "registrations_per_session"));
        }
        let worker = table.workers.entry(session.key).or_insert_with(|| Worker {
            session: Arc::clone(session),
            keys: BTreeSet::new(),
            authenticates: 0,
            bytes: Arc::default(),
        });
        match key {
            Some(key) => drop(worker.keys.insert(Arc::clone(key))),
            None => worker.authenticates = 1,
        }
        Ok(Arc::clone(&worker.bytes))
    }

    /// Ends a session's registration for a command, if there is one.
    pub fn unregister(&self, session: &Session, key: &CommandKey) {
        let mut table = self.table.lock();
        let Some(worker) = table.workers.get_mut(&session.key) else { return };
        let Some(key) = worker.keys.take(key) else { return };
        if worker.keys.is_empty() && worker.authenticates == 0 {
            table.workers.remove(&session.key);
        }
        self.strike_out(&mut table, session.key, [key]);
    }

    /// Has a session asked about logins, behind the plugins' authenticators and those sessions that came before.
    ///
    /// # Errors
    /// Those of [`Host::register_authenticator`].
    pub fn register_authenticator(
        &self,
        session: &Arc<Session>,
        registration: AuthenticatorRegistration,
    ) -> Result<()> {
        let mut table = self.table.lock();
        let bytes = self.enlist(&mut table, session, None)?;
        let authenticator = SessionAuthenticator {
            asker: Arc::clone(&self.asker),
            session: Arc::clone(session),
            deadline: registration.deadline,
            places: Places { most: authenticator::MOST_LOGINS, taken: Arc::default(), bytes },
        };
        if self.authenticators.set_of_session(session.key, Arc::new(authenticator)) {
            self.asker.metrics.worker_registrations.increment(1.0);
        }
        Ok(())
    }

    /// Asks a session about logins no more.
    pub fn unregister_authenticator(&self, session: &Session) {
        let mut table = self.table.lock();
        let Some(worker) = table.workers.get_mut(&session.key) else { return };
        worker.authenticates = 0;
        if worker.keys.is_empty() {
            table.workers.remove(&session.key);
        }
        self.dismiss_authenticator(session.key);
    }

    /// A session has ended, and with it all that it registered.
    pub fn leave(&self, session: &Session) {
        let mut table = self.table.lock();
        let Some(worker) = table.workers.remove(&session.key) else { return };
        self.strike_out(&mut table, session.key, worker.keys);
        self.dismiss_authenticator(session.key);
    }

    fn dismiss_authenticator(&self, session: u64) {
        if self.authenticators.remove_of_session(session) {
            self.asker.metrics.worker_registrations.decrement(1.0);
        }
    }

    fn strike_out(&self, table: &mut Table, session: u64, keys: impl IntoIterator<Item = Arc<CommandKey>>) {
        let mut entries = Vec::new();
        for key in keys {
            let Some(row) = table.rows.get_mut(&key) else { continue };
            row.take_out(session);
            row.tell_class();
            let entry = row.entry();
            if entry.is_none() {
                table.rows.remove(&key);
            }
            entries.push((key, entry));
            self.asker.metrics.worker_registrations.decrement(1.0);
        }
        if !entries.is_empty() {
            self.registry.set_of_sessions(entries);
        }
    }

    /// What `core plugin list` tells of them.
    pub fn describe(&self) -> Vec<PluginInfo> {
        self.table.lock().workers.values().map(Worker::describe).collect()
    }
}

impl Row {
    fn new(asker: &Arc<Asker>, key: &Arc<CommandKey>) -> Self {
        Self { class: Arc::new(Class::new(Arc::clone(asker), Arc::clone(key))), served: Vec::new() }
    }

    fn take_out(&mut self, session: u64) -> Option<Served> {
        let place = self.served.iter().position(|served| served.member.session.key == session)?;
        Some(self.served.remove(place))
    }

    fn tell_class(&self) {
        self.class.set_members(self.served.iter().map(|served| Arc::clone(&served.member)).collect());
    }

    /// What the registry has for the triple.
    fn entry(&self) -> Option<Arc<Entry>> {
        self.served.last().map(|served| Arc::clone(&served.entry))
    }
}

impl Worker {
    fn describe(&self) -> PluginInfo {
        PluginInfo {
            name: name(&self.session),
            kind: "session".into(),
            state: "running".into(),
            description: format!("A session of {}.", self.session.info.user),
            commands: self.keys.iter().map(ToString::to_string).collect(),
            authenticators: self.authenticates,
            ..PluginInfo::default()
        }
    }
}
