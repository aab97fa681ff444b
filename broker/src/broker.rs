//! The whole broker: services, administration, start and stop.

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use jackfield_plugin_api::{Builtin, CommandInfo, ffi::host::wait_until_destroyed};
use tokio::time::{Instant, timeout_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use crate::service::Inspection;
use crate::{
    admin::{self, AdminServer},
    config::{Config, ConfigError, ListenUrl, PluginTables, ServiceConfig},
    event::Events,
    host::Stores,
    lifecycle::Shared,
    plugin,
    service::{Prepared, Runtime, Service},
    telemetry::Metrics,
    transport::Listener,
};

/// What is left of `timeouts.drain`, a fifth at most, when the requests under way have had their time: queues are
/// written out in it.
const DRAIN_RESERVE: Duration = Duration::from_millis(500);

/// A running broker.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use jackfield::{Broker, config::Config};
///
/// let broker = Broker::start(Config::default()).await?;
/// println!("{:?}", broker.addresses().listeners);
/// broker.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct Broker {
    services: Vec<Arc<Service>>,
    runtime: Arc<Runtime>,
    addresses: Addresses,
    admin: Option<AdminServer>,
    /// What cannot change while it runs is as it stands here.
    started_with: Arc<Config>,
}

/// Where a broker listens.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// The listeners of all services, as URLs.
    pub listeners: Vec<String>,
    /// The listeners of each service.
    pub services: BTreeMap<String, Vec<String>>,
    /// Metrics and health, where they are on.
    pub admin: Option<String>,
}

/// Why a broker does not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong; all that is wrong with it.
    Config(Vec<ConfigError>),
    /// The machine does not give what is needed, such as a port.
    Runtime(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                f.write_str(&problems.join("\n"))
            }
            Self::Runtime(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for StartError {}

impl From<Vec<ConfigError>> for StartError {
    fn from(problems: Vec<ConfigError>) -> Self {
        Self::Config(problems)
    }
}

/// A plugin that is linked in.
#[derive(Clone, Debug)]
pub struct PluginSummary {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for.
    pub description: String,
}

impl Broker {
    /// Starts a broker: when this returns, all listeners accept.
    ///
    /// # Errors
    /// A configuration that is wrong; a port that cannot be had.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let runtime = runtime(config);
        let config = runtime.shared.settings.load_full();
        let services = load_off_thread(&config, &runtime).await?;
        let listeners = bind(&config).await?;
        let admin = match &config.admin.listen {
            Some(address) => {
                let admin = admin::serve(address, &runtime)
                    .await
                    .map_err(|error| StartError::Runtime(error.to_string()))?;
                Some(admin)
            }
            None => None,
        };
        let mut addresses = Addresses { admin: admin.as_ref().map(AdminServer::url), ..Addresses::default() };
        for (service, listeners) in services.iter().zip(listeners) {
            service.announce(&config);
            service.start();
            let urls: Vec<String> = listeners.iter().map(|listener| listener.url().to_string()).collect();
            addresses.listeners.extend_from_slice(&urls);
            addresses.services.insert(service.name().to_owned(), urls);
            listeners.into_iter().for_each(|listener| service.accept(listener));
        }
        Ok(Self { services, runtime, addresses, admin, started_with: config })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Puts another configuration in force, all of it that can change while the broker runs, and says what cannot.
    ///
    /// # Errors
    /// What is wrong with it. Nothing has changed then.
    pub async fn reload(&self, config: Config) -> Result<Vec<String>, StartError> {
        let _turn = self.runtime.changes.lock().await;
        let config = Arc::new(config);
        let services = self.services.iter().filter(|service| config.services.contains_key(service.name()));
        let services: Vec<_> = services.cloned().collect();
        for (service, prepared) in prepare_off_thread(services, &config).await? {
            service.commit(prepared);
            service.announce(&config);
        }
        let notes = needs_restart(&self.started_with, &config);
        let before = self.runtime.shared.settings.swap(Arc::clone(&config));
        if before.timeouts != config.timeouts {
            self.services.iter().for_each(|service| service.apply_timeouts());
        }
        Ok(notes)
    }

    /// Stops: nothing new is accepted, every session is told, requests under way finish, queues are written out.
    /// Takes at most `timeouts.drain`.
    pub async fn shutdown(self) {
        let drain = self.runtime.shared.settings.load().timeouts.drain;
        let started = Instant::now();
        self.runtime.stop_accepting.cancel();
        self.runtime.shared.draining.store(true, Ordering::Release);
        self.services.iter().for_each(|service| service.tell_stopping());
        self.runtime.handlers.close();
        self.runtime.relays.close();
        let finished = async {
            tokio::join!(self.runtime.handlers.wait(), self.runtime.relays.wait());
        };
        let requests = started + drain.saturating_sub(DRAIN_RESERVE.min(drain / 5));
        if timeout_at(requests, finished).await.is_err() {
            tracing::warn!(
                pending = self.runtime.pending_requests(),
                "requests under way did not finish in time"
            );
            self.runtime.stop_handlers.cancel();
            self.runtime.handlers.wait().await;
        }
        // A little is left for the process to end in.
        let deadline = started + drain.saturating_sub(Duration::from_millis(100).min(drain / 10));
        self.runtime.stop_services.cancel();
        self.services.iter().for_each(|service| {
            service.stop_services(deadline.saturating_duration_since(Instant::now()));
            service.close_connections();
        });
        self.runtime.services.close();
        self.runtime.tasks.close();
        let done = async {
            tokio::join!(self.runtime.tasks.wait(), self.runtime.services.wait());
        };
        if timeout_at(deadline, done).await.is_err() {
            tracing::warn!(connections = self.runtime.tasks.len(), "not everything was written out in time");
        }
        self.services.iter().for_each(|service| service.unload());
        let rest = deadline.saturating_duration_since(Instant::now());
        // What a library does at its end is its own business, and may take time.
        tokio::task::spawn_blocking(move || wait_until_destroyed(rest)).await.ok();
        if let Some(admin) = self.admin {
            admin.stop();
        }
    }
}

/// Loads the plugins of a configuration and says what is odd about it. Nothing is started.
///
/// # Errors
/// What is wrong with it.
pub fn check(config: &Config) -> Result<Vec<String>, StartError> {
    let services = load_services(config, &runtime(config.clone()))?;
    let warnings = services.iter().flat_map(|service| service.warnings(config)).collect();
    unload(&services);
    Ok(warnings)
}

/// The commands that a configuration's plugins register, of the service `main` or else the first.
///
/// # Errors
/// What is wrong with it.
pub fn commands(config: &Config) -> Result<Vec<CommandInfo>, StartError> {
    let services = load_services(config, &runtime(config.clone()))?;
    let main = services.iter().find(|service| service.name() == "main").or(services.first());
    let commands = main.map(|service| service.registry().commands()).unwrap_or_default();
    unload(&services);
    Ok(commands)
}

/// Loads a library, with its table in service `main` or else the first, and says what it is. Nothing of it is started.
///
/// # Errors
/// Why it cannot be loaded.
pub fn inspect(library: &Path, config: &Config) -> Result<Inspection, StartError> {
    let mut alone = config.clone();
    alone.services.retain(|name, _| name == "main" || !config.services.contains_key("main"));
    for service in alone.services.values_mut() {
        service.plugins.clear();
        service.plugin_tables = PluginTables::default();
    }
    let services = load_services(&alone, &runtime(alone.clone()))?;
    let service = services.first().ok_or_else(|| StartError::Runtime("there is no service".to_owned()))?;
    let inspection = service.inspect(library, config)?;
    unload(&services);
    Ok(inspection)
}

/// Every plugin that is linked in.
pub fn builtin_plugins() -> Vec<PluginSummary> {
    let summary = |builtin: &&Builtin| {
        let manifest = (builtin.make)().manifest();
        PluginSummary { name: manifest.name, version: manifest.version, description: manifest.about }
    };
    plugin::builtin().values().map(summary).collect()
}

/// Lets go of plugins that were only to be looked at.
fn unload(services: &[Arc<Service>]) {
    services.iter().for_each(|service| service.unload());
    wait_until_destroyed(DRAIN_RESERVE);
}

fn runtime(config: Config) -> Arc<Runtime> {
    let metrics = Arc::new(Metrics::new());
    let names = config.services.keys().map(|name| name.as_str().into()).collect();
    let stores = Arc::new(Stores::new(config.data_dir.clone()));
    let settings = Arc::new(ArcSwap::from_pointee(config));
    let events = Arc::new(Events::new(names, Arc::clone(&settings), Arc::clone(&metrics)));
    let draining = Arc::new(AtomicBool::new(false));
    Arc::new(Runtime {
        shared: Shared { events, settings, metrics, draining },
        stores,
        tasks: TaskTracker::new(),
        handlers: TaskTracker::new(),
        relays: TaskTracker::new(),
        stop_handlers: CancellationToken::new(),
        services: TaskTracker::new(),
        stop_services: CancellationToken::new(),
        changes: tokio::sync::Mutex::default(),
        stop_accepting: CancellationToken::new(),
        connections: AtomicUsize::new(0),
        refusals: AtomicUsize::new(0),
        last_connection: AtomicU64::new(0),
    })
}

/// Libraries are loaded, and plugins register, where that may take its time.
async fn load_off_thread(
    config: &Arc<Config>,
    runtime: &Arc<Runtime>,
) -> Result<Vec<Arc<Service>>, StartError> {
    let (config, runtime) = (Arc::clone(config), Arc::clone(runtime));
    let loading = tokio::task::spawn_blocking(move || load_services(&config, &runtime));
    loading.await.map_err(|error| StartError::Runtime(error.to_string()))?
}

/// Makes a configuration ready for these services, likewise.
async fn prepare_off_thread(
    services: Vec<Arc<Service>>,
    config: &Arc<Config>,
) -> Result<Vec<(Arc<Service>, Prepared)>, StartError> {
    let config = Arc::clone(config);
    let prepare = move |service: Arc<Service>| {
        let prepared = service.prepare(&config)?;
        Ok((service, prepared))
    };
    let preparing = tokio::task::spawn_blocking(move || services.into_iter().map(prepare).collect());
    preparing.await.map_err(|error| StartError::Runtime(error.to_string()))?
}

fn load_services(config: &Config, runtime: &Arc<Runtime>) -> Result<Vec<Arc<Service>>, StartError> {
    let mut problems = Vec::new();
    let mut services = Vec::new();
    for (number, name) in config.services.keys().enumerate() {
        match Service::load(config, name, u16::try_from(number).unwrap_or(u16::MAX), runtime) {
            Ok(service) => services.push(service),
            Err(wrong) => problems.extend(wrong),
        }
    }
    if problems.is_empty() { Ok(services) } else { Err(StartError::Config(problems)) }
}

/// Binds the listeners of every service, in the order of the services.
async fn bind(config: &Config) -> Result<Vec<Vec<Listener>>, StartError> {
    let mut bound = Vec::new();
    for service in config.services.values() {
        let mut listeners = Vec::new();
        for url in &service.listen {
            listeners
                .push(Listener::bind(url).await.map_err(|error| StartError::Runtime(error.to_string()))?);
        }
        bound.push(listeners);
    }
    Ok(bound)
}

/// What of a new configuration waits for a restart.
fn needs_restart(before: &Config, after: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, service) in &after.services {
        match before.services.get(name) {
            None => notes.push(format!("service.{name}: a new service needs a restart")),
            Some(old) if listens(old) != listens(service) => {
                notes.push(format!("service.{name}.listen: listeners need a restart"));
            }
            Some(_) => {}
        }
    }
    let gone = before.services.keys().filter(|name| !after.services.contains_key(*name));
    notes.extend(gone.map(|name| format!("service.{name}: to take a service away needs a restart")));
    if before.admin != after.admin {
        notes.push("admin.listen: needs a restart".to_owned());
    }
    if before.data_dir != after.data_dir {
        notes.push("data_dir: needs a restart".to_owned());
    }
    notes
}

fn listens(service: &ServiceConfig) -> Vec<String> {
    service.listen.iter().map(ListenUrl::to_string).collect()
}
