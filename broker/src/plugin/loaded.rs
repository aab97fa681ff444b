use std::sync::Arc;

use jackfield_plugin_api::{Error, Host, Manifest, PluginInfo, Registered, Shutdown, ffi::host::Health};
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Candidate, library::Opened};
use crate::{
    config::PluginRef,
    host::Describe,
    registry::{Entry, Provider},
};

/// A plugin in use.
pub struct Loaded {
    /// How it is listed.
    pub reference: PluginRef,
    /// What it said of itself.
    pub manifest: Manifest,
    /// What it registered.
    pub registered: Registered,
    /// How its commands know it.
    pub provider: Arc<Provider>,
    /// Asks its services to end.
    pub stop: Shutdown,
    /// Ends those of its services that did not, where they stand.
    pub abandon: CancellationToken,
    /// Its services, as long as they run.
    pub running: TaskTracker,
    /// Where it came from.
    pub origin: Origin,
    health: Option<Arc<Health>>,
    config: Value,
    state: Mutex<State>,
}

/// Where a plugin came from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// It is linked in.
    Builtin,
    /// From a library.
    Library(Box<Opened>),
}

impl Origin {
    const fn name(&self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Library(_) => "library",
        }
    }

    /// The path it came by does not matter.
    fn is_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Builtin, Self::Builtin) => true,
            (Self::Library(one), Self::Library(other)) => one.content == other.content,
            _ => false,
        }
    }
}

/// How a plugin is getting on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Well.
    Running,
    /// One of its services failed.
    Failed,
    /// It panicked too often: nothing of it is asked any more.
    Quarantined,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
        }
    }
}

impl Loaded {
    pub(super) fn new(
        candidate: &Candidate,
        config: Value,
        host: Arc<dyn Host>,
        registered: Registered,
    ) -> Arc<Self> {
        let provider = Provider { name: candidate.manifest.name.as_str().into(), host };
        Arc::new(Self {
            reference: candidate.reference.clone(),
            manifest: candidate.manifest.clone(),
            registered,
            provider: Arc::new(provider),
            stop: Shutdown::new(),
            abandon: CancellationToken::new(),
            running: TaskTracker::new(),
            origin: candidate.origin.clone(),
            health: candidate.health.clone(),
            config,
            state: Mutex::new(State::Running),
        })
    }

    /// Whether this is what the candidate would be with that table.
    pub(super) fn is_the_same(&self, candidate: &Candidate, table: &Value) -> bool {
        self.origin.is_the_same(&candidate.origin)
            && self.manifest == candidate.manifest
            && self.config == *table
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// The table that it has.
    pub fn table(&self) -> &Value {
        &self.config
    }

    /// Its commands, ready for the registry.
    ///
    /// # Errors
    /// A command whose schema is none.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        self.registered
            .commands
            .iter()
            .map(|command| Entry::new(command.clone(), Arc::clone(&self.provider)))
            .collect()
    }

    /// How the library that it is in is doing.
    pub fn health(&self) -> Option<&Arc<Health>> {
        self.health.as_ref()
    }

    fn state(&self) -> State {
        let quarantined = self.health.as_ref().is_some_and(|health| health.is_quarantined());
        if quarantined { State::Quarantined } else { *self.state.lock() }
    }

    /// Takes note of what became of it.
    pub fn set_state(&self, state: State) {
        *self.state.lock() = state;
    }

    /// Whether nobody is at work with it: no request holds a chain that it is in, nor any login, event or record one
    /// of its extensions. Once it is out of the registry and the chains, that holds for good.
    pub fn is_idle(&self) -> bool {
        fn unused<T: ?Sized>(extensions: &[Arc<T>]) -> bool {
            extensions.iter().all(|extension| Arc::strong_count(extension) == 1)
        }
        let Registered {
            authenticators,
            authorizers,
            event_filters,
            session_observers,
            log_sinks,
            broker_log_sinks,
            ..
        } = &self.registered;
        Arc::strong_count(&self.provider) == 1
            && unused(authenticators)
            && unused(authorizers)
            && unused(event_filters)
            && unused(session_observers)
            && unused(log_sinks)
            && unused(broker_log_sinks)
    }
}

impl Describe for Loaded {
    fn describe(&self) -> PluginInfo {
        let Registered {
            commands,
            authenticators,
            authorizers,
            event_filters,
            session_observers,
            log_sinks,
            broker_log_sinks,
            services,
        } = &self.registered;
        PluginInfo {
            name: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            kind: self.origin.name().into(),
            state: self.state().name().into(),
            description: self.manifest.about.clone(),
            depends: self.manifest.depends.clone(),
            commands: commands.iter().map(|command| command.key.to_string()).collect(),
            authenticators: authenticators.len(),
            authorizers: authorizers.len(),
            event_filters: event_filters.len(),
            session_observers: session_observers.len(),
            log_sinks: log_sinks.len(),
            broker_log_sinks: broker_log_sinks.len(),
            services: services.len(),
        }
    }
}
