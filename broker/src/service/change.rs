//! Plugins that come and go while the broker runs.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use jackfield_plugin_api::{
    Error, ErrorCode, Host, Manifest, PluginInfo, PluginSource, RawJson, Result, Topic,
};
use serde_json::{Value, json};

use super::{Prepared, Service, lifetime};
use crate::{
    config::{Config, PluginRef},
    host::{CORE, Describe, Manage, PluginHost},
    plugin::{self, Candidate, Loaded, Overlay, Refusal},
};

/// Other plugins, ready to be put in force.
struct Change {
    prepared: Prepared,
    overlay: Overlay,
    about: PluginInfo,
}

/// What to change from: all that holds now.
struct Present {
    config: Arc<Config>,
    plugins: Vec<Arc<Loaded>>,
    overlay: Overlay,
}

/// Changes the plugins of one service.
pub(super) struct Manager(pub(super) Weak<Service>);

#[async_trait]
impl Manage for Manager {
    async fn load(&self, source: PluginSource, config: Option<Value>) -> Result<PluginInfo> {
        self.change(move |service, present| service.prepare_load(present, &source, config)).await
    }

    async fn unload(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.change(move |service, present| service.prepare_unload(present, &name)).await.map(drop)
    }

    async fn reload(&self, name: &str, config: Option<Value>) -> Result<PluginInfo> {
        let name = name.to_owned();
        self.change(move |service, present| service.prepare_reload(present, &name, config)).await
    }
}

impl Manager {
    /// Makes a change ready where that may take its time, and puts it in force at once. There is one at a time.
    async fn change(
        &self,
        prepare: impl FnOnce(&Service, Present) -> Result<Change> + Send + 'static,
    ) -> Result<PluginInfo> {
        let service = self.0.upgrade().ok_or(ErrorCode::ShuttingDown)?;
        let _turn = service.runtime.changes.lock().await;
        if service.endpoint.sessions.is_draining() {
            return Err(ErrorCode::ShuttingDown.into());
        }
        let preparing = Arc::clone(&service);
        let prepared = tokio::task::spawn_blocking(move || prepare(&preparing, preparing.present()));
        let Change { prepared, overlay, about } =
            prepared.await.map_err(|source| Error::new(ErrorCode::InternalError).with_source(source))??;
        *service.overlay.lock() = overlay;
        service.commit(prepared);
        Ok(about)
    }
}

impl Service {
    fn present(&self) -> Present {
        Present {
            config: self.runtime.shared.settings.load_full(),
            plugins: self.plugins.lock().clone(),
            overlay: self.overlay.lock().clone(),
        }
    }

    fn prepare_load(
        &self,
        mut present: Present,
        source: &PluginSource,
        config: Option<Value>,
    ) -> Result<Change> {
        let reference = match source {
            PluginSource::Name(name) => {
                present.check_absent(name)?;
                let before = present.overlay.unloaded(name).cloned();
                before.unwrap_or_else(|| PluginRef::Builtin(name.clone()))
            }
            PluginSource::Path(path) => PluginRef::Library(path.into()),
        };
        let candidate = self.find(&present, &reference).map_err(|error| {
            let (PluginSource::Name(said) | PluginSource::Path(said)) = source;
            self.failed(said, Error::invalid_value(format_args!("{}: {error}", source.field())))
        })?;
        present.check_absent(&candidate.manifest.name)?;
        present.overlay.load(&candidate.manifest.name, candidate.reference.clone());
        self.put_in(present, &candidate, config)
    }

    fn prepare_reload(&self, mut present: Present, name: &str, config: Option<Value>) -> Result<Change> {
        let reference = present.loaded(name)?.reference.clone();
        let candidate = self.find(&present, &reference).map_err(|error| {
            self.failed(name, Error::about(ErrorCode::PluginUnavailable, format_args!("{name}: {error}")))
        })?;
        if candidate.manifest.name != name {
            let message = format!("{name}: the library is plugin '{}' now", candidate.manifest.name);
            return Err(self.failed(name, Error::about(ErrorCode::PluginUnavailable, message)));
        }
        present.plugins.retain(|plugin| plugin.name() != name);
        self.put_in(present, &candidate, config)
    }

    fn prepare_unload(&self, mut present: Present, name: &str) -> Result<Change> {
        let plugin = present.loaded(name)?;
        if name == CORE {
            return Err(Error::about(ErrorCode::InvalidOperation, "'core' cannot be unloaded"));
        }
        let needs = |other: &&Arc<Loaded>| other.manifest.depends.iter().any(|on| on == name);
        let users: Vec<&str> = present.plugins.iter().filter(needs).map(|other| other.name()).collect();
        if !users.is_empty() {
            let users = users.join(", ");
            let message = format!("'{name}' cannot be unloaded: {users} depend on it");
            return Err(Error::about(ErrorCode::InvalidOperation, message));
        }
        present.overlay.unload(name, plugin.reference.clone());
        present.plugins.retain(|other| other.name() != name);
        self.finish(present, plugin.describe())
    }

    fn find(&self, present: &Present, reference: &PluginRef) -> Result<Candidate, plugin::Missing> {
        let own = present.config.services.get(&*self.name);
        Candidate::find(reference, own.map(|own| own.library_sha256.as_slice()).unwrap_or_default())
    }

    /// Has a plugin register, and gives it its place among the others.
    fn put_in(&self, mut present: Present, candidate: &Candidate, config: Option<Value>) -> Result<Change> {
        let name = candidate.manifest.name.as_str();
        let failed = |error: Error| self.failed(name, error);
        if let Some(config) = &config {
            present.overlay.set_table(name, config.clone());
        }
        let order = self.order(&present, candidate).map_err(failed)?;
        let table = plugin::table(candidate, config, &present.overlay, &present.config, &self.name);
        let host: Arc<dyn Host> = Arc::new(PluginHost::new(name, Arc::clone(&self.facilities)));
        let loaded = candidate.register(table.map_err(failed)?, host).map_err(|refusal| match refusal {
            Refusal::Refused(error) => {
                let message = format!("{name}: {}", error.text());
                failed(Error::about(ErrorCode::PluginUnavailable, message).with_source(error))
            }
            Refusal::Panicked { error, .. } => failed(error),
        })?;
        present.plugins.push(Arc::clone(&loaded));
        present.plugins = order.into_iter().filter_map(|place| present.plugins.get(place).cloned()).collect();
        self.finish(present, loaded.describe()).map_err(failed)
    }

    /// The order of the present plugins and the candidate, which comes last.
    fn order(&self, present: &Present, candidate: &Candidate) -> Result<Vec<usize>> {
        let loaded = present.plugins.iter().map(|plugin| (plugin.reference.clone(), plugin.manifest.clone()));
        let last = std::iter::once((candidate.reference.clone(), candidate.manifest.clone()));
        let plugins: Vec<(PluginRef, Manifest)> = loaded.chain(last).collect();
        let own = present.config.services.get(&*self.name);
        let mut listed = present.overlay.wanted(own.map(|own| own.plugins.as_slice()).unwrap_or_default());
        listed.retain(|plugin| *plugin != PluginRef::Builtin(CORE.to_owned()));
        plugin::arrange(&plugins, &listed)
            .map_err(|message| Error::about(ErrorCode::InvalidOperation, message))
    }

    fn finish(&self, present: Present, about: PluginInfo) -> Result<Change> {
        let Present { config, plugins, overlay } = present;
        let prepared = self.prepared(&config, plugins, None).map_err(|problems| {
            let texts: Vec<&str> = problems.iter().map(crate::config::ConfigError::message).collect();
            Error::about(ErrorCode::PluginUnavailable, format_args!("{}: {}", about.name, texts.join("; ")))
        })?;
        Ok(Change { prepared, overlay, about })
    }

    /// Tells of a plugin that could not be loaded.
    fn failed(&self, name: &str, error: Error) -> Error {
        tracing::error!(service = %self.name, plugin = name, error = error.text(), "a plugin could not be loaded");
        self.tell_of_plugin("failed", name, &json!({ "error": error.text() }));
        error
    }

    /// Fires an event `core`/`plugin`.
    pub(super) fn tell_of_plugin(&self, what: &'static str, name: &str, body: &Value) {
        let body = RawJson::from_value(body).unwrap_or_default();
        self.endpoint.sessions.notify(Topic::new("core", "plugin", what, name), body);
    }

    /// Puts a configuration in force, and sees to the plugins that come and go by that.
    pub(crate) fn commit(&self, prepared: Prepared) {
        let before = self.install(prepared);
        let after = self.plugins.lock().clone();
        let missing_in =
            |list: &[Arc<Loaded>], plugin: &Arc<Loaded>| !list.iter().any(|other| Arc::ptr_eq(other, plugin));
        let gone: Vec<_> = before.iter().filter(|plugin| missing_in(&after, plugin)).cloned().collect();
        let new: Vec<_> = after.iter().filter(|plugin| missing_in(&before, plugin)).cloned().collect();
        for plugin in &gone {
            tracing::info!(service = %self.name, plugin = plugin.name(), "a plugin was unloaded");
            self.tell_of_plugin("unloaded", plugin.name(), &json!({ "version": plugin.manifest.version }));
        }
        for plugin in &new {
            lifetime::watch(&self.endpoint.sessions, plugin);
            let (name, version) = (plugin.name(), &plugin.manifest.version);
            tracing::info!(service = %self.name, plugin = name, version, "a plugin was loaded");
            self.tell_of_plugin("loaded", name, &json!({ "version": version }));
        }
        let leaving = gone.iter().map(|plugin| (plugin.name().to_owned(), plugin.running.clone()));
        let leaving: Vec<_> = leaving.collect();
        for plugin in gone {
            self.runtime.services.spawn(lifetime::retire(Arc::clone(&self.runtime), plugin));
        }
        for plugin in new {
            let (runtime, sessions) = (Arc::clone(&self.runtime), Arc::clone(&self.endpoint.sessions));
            let running = plugin.running.clone();
            let start = lifetime::start_after(runtime, sessions, plugin, leaving.clone());
            // Whoever waits for this one to end waits for those before it, too.
            self.runtime.services.spawn(running.track_future(start));
        }
    }
}

impl Present {
    fn loaded(&self, name: &str) -> Result<Arc<Loaded>> {
        let found = self.plugins.iter().find(|plugin| plugin.name() == name);
        found.cloned().ok_or_else(|| Error::about(ErrorCode::PluginUnavailable, name))
    }

    fn check_absent(&self, name: &str) -> Result<()> {
        if self.loaded(name).is_ok() {
            let message = format!("plugin '{name}' is loaded already");
            return Err(Error::about(ErrorCode::InvalidOperation, message));
        }
        Ok(())
    }
}
