//! The plugins of a service: which, in which order, with which configuration.

mod candidate;
mod library;
mod loaded;
mod order;
mod overlay;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use jackfield_plugin_api::{Builtin, Error, Host, Manifest};
use serde_json::Value;

use crate::{
    config::{Config, ConfigError, PluginRef},
    host::CORE,
};
pub use candidate::{Candidate, Missing, Refusal};
pub use loaded::{Loaded, Origin, State};
pub use overlay::Overlay;

/// Every plugin that is linked in, by name.
pub fn builtin() -> &'static BTreeMap<String, &'static Builtin> {
    static BY_NAME: LazyLock<BTreeMap<String, &'static Builtin>> = LazyLock::new(|| {
        let named = |builtin: &'static Builtin| ((builtin.make)().manifest().name, builtin);
        Builtin::all().map(named).collect()
    });
    &BY_NAME
}

/// What the plugins of a service follow from.
pub struct Wanted<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The service.
    pub service: &'a str,
    /// What was changed while the broker runs.
    pub overlay: &'a Overlay,
    /// The plugins in use.
    pub previous: &'a [Arc<Loaded>],
    /// Makes a plugin's view of the broker.
    pub host: &'a dyn Fn(&str) -> Arc<dyn Host>,
}

/// Loads the plugins that a service lists, the core's last, each asked before those that it depends on. A previous
/// one is kept where its manifest, its table and, of a library, its content are the same.
///
/// # Errors
/// All that is wrong: unknown plugins, missing or circular dependencies, tables that do not fit, plugins that refuse.
pub fn load(wanted: &Wanted<'_>) -> Result<Vec<Arc<Loaded>>, Vec<ConfigError>> {
    let Wanted { config, service, .. } = *wanted;
    let listed = wanted.listed()?;
    let manifests: Vec<&Manifest> = listed.iter().map(|plugin| &plugin.manifest).collect();
    let order = order::resolve(&manifests).map_err(|message| {
        vec![ConfigError::new(location(config, service, "plugins"), key(service, "plugins"), message)]
    })?;
    let mut problems = Vec::new();
    let mut loaded = Vec::new();
    for candidate in order.into_iter().filter_map(|place| listed.get(place)) {
        match wanted.load_one(candidate) {
            Ok(plugin) => loaded.push(plugin),
            Err(wrong) => problems.extend(wrong),
        }
    }
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

/// Loads one plugin by itself, whatever it depends on.
///
/// # Errors
/// What is wrong with it.
pub fn load_alone(wanted: &Wanted<'_>, reference: &PluginRef) -> Result<Arc<Loaded>, Vec<ConfigError>> {
    let own = wanted.config.services.get(wanted.service);
    let allowed = own.map(|own| own.library_sha256.as_slice()).unwrap_or_default();
    let candidate = Candidate::find(reference, allowed)
        .map_err(|missing| vec![ConfigError::new(None, "", missing.to_string())])?;
    wanted.load_one(&candidate)
}

/// The table of a plugin that is loaded while the broker runs: the one that is given, else the one that it was given
/// before, else the file's.
///
/// # Errors
/// `invalid_value`, naming the keys that do not fit.
pub fn table(
    candidate: &Candidate,
    given: Option<Value>,
    overlay: &Overlay,
    config: &Config,
    service: &str,
) -> Result<Value, Error> {
    let manifest = &candidate.manifest;
    let given = given.or_else(|| overlay.table(&manifest.name).cloned());
    let given = given.or_else(|| table::from_file(config, service, manifest));
    table::check(manifest, given).map_err(|mistakes| table::refusal(&mistakes))
}

/// The places of plugins in the order in which they are asked: that of `listed`, those that are not in it behind, but
/// each before those that it depends on.
///
/// # Errors
/// What cannot be resolved, in words.
pub fn arrange(plugins: &[(PluginRef, Manifest)], listed: &[PluginRef]) -> Result<Vec<usize>, String> {
    let place = |plugin: &PluginRef| listed.iter().position(|listed| listed == plugin);
    let mut places: Vec<usize> = (0..plugins.len()).collect();
    places.sort_by_key(|index| {
        plugins.get(*index).and_then(|(reference, _)| place(reference)).unwrap_or(usize::MAX)
    });
    let manifests: Vec<&Manifest> =
        places.iter().filter_map(|index| plugins.get(*index)).map(|(_, manifest)| manifest).collect();
    let order = order::resolve(&manifests)?;
    Ok(order.into_iter().filter_map(|place| places.get(place).copied()).collect())
}

impl Wanted<'_> {
    fn load_one(&self, candidate: &Candidate) -> Result<Arc<Loaded>, Vec<ConfigError>> {
        let Self { config, service, overlay, previous, host } = *self;
        let manifest = &candidate.manifest;
        let path = format!("plugin.{}", manifest.name);
        let problem = |message: String| {
            vec![ConfigError::new(location(config, service, &path), key(service, &path), message)]
        };
        let table = match overlay.table(&manifest.name) {
            Some(table) => table::check(manifest, Some(table.clone()))
                .map_err(|mistakes| problem(table::refusal(&mistakes).text().to_owned()))?,
            None => table::read(config, service, manifest)?,
        };
        if let Some(old) = previous.iter().find(|old| old.is_the_same(candidate, &table)) {
            return Ok(Arc::clone(old));
        }
        candidate.register(table, host(&manifest.name)).map_err(|refusal| problem(refusal.to_string()))
    }

    /// The listed plugins, and the core's at the end.
    fn listed(&self) -> Result<Vec<Candidate>, Vec<ConfigError>> {
        let Self { config, service, overlay, .. } = *self;
        let own = config.services.get(service);
        let allowed = own.map(|own| own.library_sha256.as_slice()).unwrap_or_default();
        let in_file = own.map(|own| own.plugins.as_slice()).unwrap_or_default();
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        let mut names = BTreeSet::from([CORE.to_owned()]);
        for reference in overlay.wanted(in_file) {
            if reference == PluginRef::Builtin(CORE.to_owned()) {
                continue;
            }
            match Candidate::find(&reference, allowed) {
                Ok(plugin) if names.insert(plugin.manifest.name.clone()) => found.push(plugin),
                Ok(twice) => {
                    let message = format!("plugin '{}' is listed twice", twice.manifest.name);
                    problems.push(self.problem(&reference, message));
                }
                Err(missing) => problems.push(self.missing(&reference, &missing)),
            }
        }
        if problems.is_empty() {
            problems = self.stray_tables(&found);
        }
        found.extend(Candidate::find(&PluginRef::Builtin(CORE.to_owned()), allowed));
        if problems.is_empty() { Ok(found) } else { Err(problems) }
    }

    fn problem(&self, reference: &PluginRef, message: String) -> ConfigError {
        let own = self.config.services.get(self.service);
        let place = own.and_then(|own| own.plugins.iter().position(|listed| listed == reference));
        let place = place.map_or("plugins".to_owned(), |place| format!("plugins.{place}"));
        ConfigError::new(location(self.config, self.service, &place), key(self.service, "plugins"), message)
    }

    fn missing(&self, reference: &PluginRef, missing: &Missing) -> ConfigError {
        let problem = self.problem(reference, missing.to_string());
        let Missing::Unknown(name) = missing else { return problem };
        problem.with_nearest(name, builtin().keys().map(String::as_str))
    }

    /// The tables that belong to no plugin.
    fn stray_tables(&self, found: &[Candidate]) -> Vec<ConfigError> {
        let mut known: BTreeSet<&str> = builtin().keys().map(String::as_str).collect();
        known.extend(found.iter().map(|plugin| plugin.manifest.name.as_str()));
        let own = self.config.services.get(self.service);
        let tables = own.into_iter().flat_map(|service| service.plugin_tables.keys());
        let stray =
            tables.filter(|table| !known.contains(table.as_str()) && self.overlay.unloaded(table).is_none());
        stray
            .map(|table| {
                let path = format!("plugin.{table}");
                let message = "expected the name of a plugin that is built in or listed";
                let place = location(self.config, self.service, &path);
                let unknown = ConfigError::new(place, key(self.service, &path), message);
                unknown.with_nearest(table, known.iter().copied())
            })
            .collect()
    }
}

fn key(service: &str, path: &str) -> String {
    format!("service.{service}.{path}")
}

fn location(config: &Config, service: &str, path: &str) -> Option<crate::config::Location> {
    let path: Vec<&str> = ["service", service].into_iter().chain(path.split('.')).collect();
    config.locate(&path).cloned()
}
