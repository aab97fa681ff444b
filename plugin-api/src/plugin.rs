//! A plugin, and what it registers.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    auth::{Authenticator, Authorizer},
    command::{Command, schema_of},
    error::{Error, Result},
    event::EventFilter,
    host::Host,
    log::{BrokerLogSink, LogSink},
    service::Service,
    session::SessionObserver,
};

/// A plugin. One object is made for each service that lists it, and a new one when its configuration changes.
pub trait Plugin: Send + Sync + 'static {
    /// Its name and what is known before it runs.
    fn manifest(&self) -> Manifest;

    /// Registers all it has, once.
    ///
    /// # Errors
    /// What keeps it from working, such as a configuration that makes no sense: the broker does not start, or keeps
    /// what it had.
    fn register(&self, registrar: &mut Registrar) -> Result<()>;
}

/// What is known of a plugin before it runs. [`manifest!`](crate::manifest) makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its name: lower case, digits and `-`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// The plugins that it needs. They must be listed too, and are asked after it.
    pub depends: Vec<String>,
    /// What its table in the configuration file must look like; `None`: it has none.
    pub config_schema: Option<Value>,
    /// On which threads its handlers run.
    pub exec: Exec,
}

/// On which threads a plugin's handlers run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exec {
    /// On the broker's own: they never block. What takes time is awaited.
    #[default]
    Inline,
    /// On threads that may block, which costs each request a hop. For code that cannot be made to wait otherwise.
    Offload,
}

impl Manifest {
    /// A manifest with a name and a version.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            about: String::new(),
            depends: Vec::new(),
            config_schema: None,
            exec: Exec::Inline,
        }
    }

    /// What it is for, in a sentence.
    #[must_use]
    pub fn about(mut self, about: &str) -> Self {
        self.about = about.into();
        self
    }

    /// Needs `plugin`, and is asked before it.
    #[must_use]
    pub fn depends_on(mut self, plugin: &str) -> Self {
        self.depends.push(plugin.into());
        self
    }

    /// Its handlers run as `exec` says.
    #[must_use]
    pub fn exec(mut self, exec: Exec) -> Self {
        self.exec = exec;
        self
    }

    /// Has a table in the configuration file that reads into `C`.
    #[must_use]
    pub fn config<C: DeserializeOwned + JsonSchema>(mut self) -> Self {
        self.config_schema = Some(schema_of::<C>());
        self
    }
}

/// Makes a [`Manifest`] with the version of the crate in which it stands.
#[macro_export]
macro_rules! manifest {
    ($name:expr) => {
        $crate::Manifest::new($name, env!("CARGO_PKG_VERSION"))
    };
}

/// Takes what a plugin registers.
pub struct Registrar {
    config: Value,
    host: Arc<dyn Host>,
    registered: Registered,
}

/// All that one plugin registered, each kind in the order of its registration.
#[derive(Default)]
pub struct Registered {
    /// Commands.
    pub commands: Vec<Command>,
    /// Authenticators.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    /// Authorizers.
    pub authorizers: Vec<Arc<dyn Authorizer>>,
    /// Event filters.
    pub event_filters: Vec<Arc<dyn EventFilter>>,
    /// Session observers.
    pub session_observers: Vec<Arc<dyn SessionObserver>>,
    /// Log sinks.
    pub log_sinks: Vec<Arc<dyn LogSink>>,
    /// Sinks of the broker's own log.
    pub broker_log_sinks: Vec<Arc<dyn BrokerLogSink>>,
    /// Services.
    pub services: Vec<Arc<dyn Service>>,
}

impl Registrar {
    /// A registrar for a plugin with this table in the configuration, `{}` for none.
    pub fn new(config: Value, host: Arc<dyn Host>) -> Self {
        Self { config, host, registered: Registered::default() }
    }

    /// The plugin's table in the configuration file, which fits the schema in its manifest.
    ///
    /// # Errors
    /// `invalid_value` naming the key, where the type does not take what the schema let pass. It quotes no value, which
    /// may be a secret.
    pub fn config<C: DeserializeOwned>(&self) -> Result<C> {
        let config = if self.config.is_null() { Value::Object(Map::new()) } else { self.config.clone() };
        serde_path_to_error::deserialize(config).map_err(|error| {
            let path = error.path();
            let at_root = path.iter().next().is_none();
            if at_root { Error::invalid_value("the table") } else { Error::invalid_value(path) }
        })
    }

    /// The broker, to be kept for later. While plugins register, nothing else of them works yet.
    pub fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.host)
    }

    /// Registers a command.
    pub fn command(&mut self, command: Command) -> &mut Self {
        self.registered.commands.push(command);
        self
    }

    /// Registers an authenticator.
    pub fn authenticator(&mut self, authenticator: impl Authenticator) -> &mut Self {
        self.registered.authenticators.push(Arc::new(authenticator));
        self
    }

    /// Registers an authorizer.
    pub fn authorizer(&mut self, authorizer: impl Authorizer) -> &mut Self {
        self.registered.authorizers.push(Arc::new(authorizer));
        self
    }

    /// Registers an event filter.
    pub fn event_filter(&mut self, filter: impl EventFilter) -> &mut Self {
        self.registered.event_filters.push(Arc::new(filter));
        self
    }

    /// Registers a session observer.
    pub fn session_observer(&mut self, observer: impl SessionObserver) -> &mut Self {
        self.registered.session_observers.push(Arc::new(observer));
        self
    }

    /// Registers a log sink.
    pub fn log_sink(&mut self, sink: impl LogSink) -> &mut Self {
        self.registered.log_sinks.push(Arc::new(sink));
        self
    }

    /// Registers a sink of the broker's own log.
    pub fn broker_log_sink(&mut self, sink: impl BrokerLogSink) -> &mut Self {
        self.registered.broker_log_sinks.push(Arc::new(sink));
        self
    }

    /// Registers a service, which is started once all plugins are registered.
    pub fn service(&mut self, service: impl Service) -> &mut Self {
        self.registered.services.push(Arc::new(service));
        self
    }

    /// What was registered: the broker's business.
    pub fn finish(self) -> Registered {
        self.registered
    }
}

/// A plugin that is linked into the binary. [`register_plugin!`](crate::register_plugin) makes one.
pub struct Builtin {
    /// Makes the plugin.
    pub make: fn() -> Arc<dyn Plugin>,
}

inventory::collect!(Builtin);

impl Builtin {
    /// Every plugin that is linked in, in no particular order.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        inventory::iter::<Self>.into_iter()
    }
}

/// Links a plugin into the binary under the name in its manifest, ready to be listed in a service's `plugins`. The
/// expression makes the plugin anew for each service.
#[macro_export]
macro_rules! register_plugin {
    ($plugin:expr) => {
        $crate::inventory::submit! {
            $crate::Builtin { make: || ::std::sync::Arc::new($plugin) }
        }
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::Harness;

    #[derive(Debug, serde::Deserialize)]
    struct Table {
        #[expect(dead_code, reason = "only read")]
        server: Server,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Server {
        #[expect(dead_code, reason = "only read")]
        token: u32,
    }

    #[test]
    fn a_table_that_does_not_fit_is_told_by_its_key_alone() {
        let host = Harness::with(&json!({}), Vec::new()).unwrap().host();
        for (table, text) in [
            (json!({"server": {"token": "hunter2"}}), "Invalid value: server.token"),
            (json!({"server": "hunter2"}), "Invalid value: server"),
            (json!("hunter2"), "Invalid value: the table"),
        ] {
            let error = Registrar::new(table, Arc::clone(&host)).config::<Table>().unwrap_err();
            assert_eq!(error.text(), text);
        }
    }
}
