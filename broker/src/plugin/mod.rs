//! The plugins of a service: which, in which order, with which configuration.

mod order;
mod table;

use std::{collections::BTreeMap, sync::Arc};

use jackfield_plugin_api::{Builtin, Host, Manifest, Plugin, PluginInfo, Registered, Registrar, Shutdown};
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::{
    config::{Config, ConfigError, PluginRef},
    host::{CORE, Describe},
    registry::{Entry, Provider},
};

/// A plugin in use.
pub struct Loaded {
    /// What it said of itself.
    pub manifest: Manifest,
    /// What it registered.
    pub registered: Registered,
    /// How its commands know it.
    pub provider: Arc<Provider>,
    /// Ends its services.
    pub stop: Shutdown,
    /// Its services, as long as they run.
    pub running: TaskTracker,
    config: Value,
    state: Mutex<&'static str>,
}

impl Loaded {
    /// Its commands, ready for the registry.
    ///
    /// # Errors
    /// A command whose schema is none.
    pub fn entries(&self) -> Result<Vec<Entry>, jackfield_plugin_api::Error> {
        self.registered
            .commands
            .iter()
            .map(|command| Entry::new(command.clone(), Arc::clone(&self.provider)))
            .collect()
    }

    /// Takes note of what became of it.
    pub fn set_state(&self, state: &'static str) {
        *self.state.lock() = state;
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
            broker_log_sinks: _,
            services,
        } = &self.registered;
        PluginInfo {
            name: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            kind: "builtin".into(),
            state: (*self.state.lock()).into(),
            description: self.manifest.about.clone(),
            depends: self.manifest.depends.clone(),
            commands: commands.iter().map(|command| command.key.to_string()).collect(),
            authenticators: authenticators.len(),
            authorizers: authorizers.len(),
            event_filters: event_filters.len(),
            session_observers: session_observers.len(),
            log_sinks: log_sinks.len(),
            services: services.len(),
        }
    }
}

/// Every plugin that is linked in, by name.
pub fn builtin() -> BTreeMap<String, Arc<dyn Plugin>> {
    Builtin::all().map(|plugin| (plugin.manifest().name, plugin)).collect()
}

/// Loads the plugins that a service lists, the core's last, each asked before those that it depends on. One of
/// `previous` whose configuration is the same is kept.
///
/// # Errors
/// All that is wrong: unknown plugins, missing or circular dependencies, tables that do not fit, plugins that refuse.
pub fn load(
    config: &Config,
    service: &str,
    previous: &[Arc<Loaded>],
    host: &dyn Fn(&str) -> Arc<dyn Host>,
) -> Result<Vec<Arc<Loaded>>, Vec<ConfigError>> {
    let listed = listed(config, service)?;
    let manifests: Vec<Manifest> = listed.iter().map(|plugin| plugin.manifest()).collect();
    let order = order::resolve(&manifests).map_err(|message| {
        vec![ConfigError::new(location(config, service, "plugins"), key(service, "plugins"), message)]
    })?;
    let mut problems = Vec::new();
    let mut loaded = Vec::new();
    let mut plugins: Vec<_> = listed.into_iter().zip(manifests).map(Some).collect();
    for place in order {
        let Some((plugin, manifest)) = plugins.get_mut(place).and_then(Option::take) else { continue };
        match load_one(config, service, previous, host, &*plugin, manifest) {
            Ok(plugin) => loaded.push(plugin),
            Err(wrong) => problems.extend(wrong),
        }
    }
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

fn load_one(
    config: &Config,
    service: &str,
    previous: &[Arc<Loaded>],
    host: &dyn Fn(&str) -> Arc<dyn Host>,
    plugin: &dyn Plugin,
    manifest: Manifest,
) -> Result<Arc<Loaded>, Vec<ConfigError>> {
    let table = table::read(config, service, &manifest)?;
    let same = |old: &&Arc<Loaded>| old.manifest == manifest && old.config == table;
    if let Some(old) = previous.iter().find(same) {
        return Ok(Arc::clone(old));
    }
    let host = host(&manifest.name);
    let mut registrar = Registrar::new(table.clone(), Arc::clone(&host));
    let refused = |message: String| {
        let path = format!("plugin.{}", manifest.name);
        vec![ConfigError::new(location(config, service, &path), key(service, &path), message)]
    };
    let registered =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| plugin.register(&mut registrar)));
    match registered {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(refused(format!("the plugin refuses: {}", error.text()))),
        Err(_) => return Err(refused("the plugin panicked while it registered".to_owned())),
    }
    let provider = Provider { name: manifest.name.as_str().into(), host };
    let loaded = Loaded {
        manifest,
        registered: registrar.finish(),
        provider: Arc::new(provider),
        stop: Shutdown::new(),
        running: TaskTracker::new(),
        config: table,
        state: Mutex::new("running"),
    };
    Ok(Arc::new(loaded))
}

/// The listed plugins, and the core's at the end.
fn listed(config: &Config, service: &str) -> Result<Vec<Arc<dyn Plugin>>, Vec<ConfigError>> {
    let mut builtin = builtin();
    let names: Vec<String> = builtin.keys().cloned().collect();
    let core = builtin.remove(CORE);
    let wanted = config.services.get(service).map(|service| service.plugins.as_slice()).unwrap_or_default();
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (place, plugin) in wanted.iter().enumerate() {
        let place = location(config, service, &format!("plugins.{place}"));
        let problem = |message: String| ConfigError::new(place, key(service, "plugins"), message);
        match plugin {
            PluginRef::Builtin(name) if name == CORE => {}
            PluginRef::Builtin(name) => match builtin.remove(name) {
                Some(plugin) => found.push(plugin),
                None if names.contains(name) => {
                    problems.push(problem(format!("plugin '{name}' is listed twice")))
                }
                None => {
                    let unknown =
                        problem(format!("expected the name of a plugin that is built in, found '{name}'"));
                    problems.push(unknown.with_nearest(name, names.iter().map(String::as_str)));
                }
            },
            PluginRef::Library(path) => {
                let path = path.display();
                problems.push(problem(format!("library plugins are not supported yet: {path}")));
            }
        }
    }
    let tables = config.services.get(service).into_iter().flat_map(|service| service.plugin_tables.keys());
    for table in tables.filter(|table| !names.contains(table)) {
        let path = format!("plugin.{table}");
        let message = "expected the name of a plugin that is built in";
        let unknown = ConfigError::new(location(config, service, &path), key(service, &path), message);
        problems.push(unknown.with_nearest(table, names.iter().map(String::as_str)));
    }
    found.extend(core);
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

fn key(service: &str, path: &str) -> String {
    format!("service.{service}.{path}")
}

fn location(config: &Config, service: &str, path: &str) -> Option<crate::config::Location> {
    let path: Vec<&str> = ["service", service].into_iter().chain(path.split('.')).collect();
    config.locate(&path).cloned()
}
