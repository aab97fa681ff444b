//! One service: its listeners, its plugins, its sessions.

mod accept;
mod change;
mod inspect;
mod lifetime;
mod tls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use jackfield_plugin_api::{
    Authenticator, Error, ErrorCode, Host, Permission, RawJson, Result, Topic, UserId,
};
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::{sync::Mutex as Turn, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use accept::Place;

use crate::{
    auth::{Administrator, Authorizers, Policy},
    codec::{CloseReason, Framing},
    config::{Config, ConfigError, ServiceConfig},
    connection::Endpoint,
    event::NamedFilter,
    host::{Connect, Describe, Facilities, PluginHost, Stores},
    lifecycle::{Sessions, Shared},
    plugin::{self, Loaded, Overlay, Wanted},
    registry::{Registry, Snapshot},
    router::Router,
    telemetry::{Outlet, logging},
    transport::{
        Accepted, Stream,
        tls::{Keeper, Material},
    },
};

pub use inspect::Inspection;

/// What all services of a process share.
pub(crate) struct Runtime {
    pub(crate) shared: Shared,
    pub(crate) stores: Arc<Stores>,
    /// Connections and listeners.
    pub(crate) tasks: TaskTracker,
    /// Handlers that had to wait.
    pub(crate) handlers: TaskTracker,
    /// The requests that sessions are to answer.
    pub(crate) relays: TaskTracker,
    /// Set when those that still wait are to be ended.
    pub(crate) stop_handlers: CancellationToken,
    /// Plugins' services.
    pub(crate) services: TaskTracker,
    /// Set when they are to end.
    pub(crate) stop_services: CancellationToken,
    /// Held by whoever changes the plugins or the configuration.
    pub(crate) changes: Turn<()>,
    /// Set when nothing is to be accepted any more.
    pub(crate) stop_accepting: CancellationToken,
    pub(crate) connections: AtomicUsize,
    /// Connections over the limit that are being told so.
    pub(crate) refusals: AtomicUsize,
    pub(crate) last_connection: AtomicU64,
}

impl Runtime {
    /// How many requests wait for their handlers, or for sessions that are to answer them.
    pub(crate) fn pending_requests(&self) -> usize {
        self.handlers.len() + self.relays.len()
    }

    /// All metrics in Prometheus text form, those that are looked up when somebody asks included.
    pub(crate) fn render_metrics(&self) -> String {
        let metrics = &self.shared.metrics;
        metrics.log_lines_dropped.set(logging::dropped_lines() as f64);
        metrics.requests_pending.set(self.pending_requests() as f64);
        metrics.render()
    }
}

/// One service.
pub(crate) struct Service {
    name: Arc<str>,
    runtime: Arc<Runtime>,
    endpoint: Arc<Endpoint>,
    facilities: Arc<Facilities>,
    plugins: Mutex<Vec<Arc<Loaded>>>,
    tls: Arc<Keeper>,
    /// The plugins that get the broker's own log.
    broker_log: Outlet,
    overlay: Mutex<Overlay>,
    /// The password that was made at start, where none is configured.
    generated_password: SecretString,
    password_printed: AtomicBool,
}

/// A configuration of a service that is ready to be put in force.
pub(crate) struct Prepared {
    policy: Policy,
    administrator: Arc<dyn Authenticator>,
    plugins: Vec<Arc<Loaded>>,
    tls: Option<Material>,
    snapshot: Snapshot,
}

impl Service {
    /// Loads a service's plugins; nothing of it runs yet.
    pub(crate) fn load(
        config: &Config,
        name: &str,
        number: u16,
        runtime: &Arc<Runtime>,
    ) -> Result<Arc<Self>, Vec<ConfigError>> {
        let policy = policy(service_config(config, name)?, name)?;
        let name: Arc<str> = name.into();
        let router = Arc::new(Router::new(Authorizers::new(policy), Arc::clone(&runtime.shared.metrics)));
        let registry = Arc::clone(&router.registry);
        let sessions = Arc::new(Sessions::new(Arc::clone(&name), number, runtime.shared.clone(), registry));
        let facilities = Arc::new(Facilities {
            sessions: Arc::clone(&sessions),
            router: Arc::clone(&router),
            log_sinks: ArcSwap::default(),
            plugins: ArcSwap::default(),
            stores: Arc::clone(&runtime.stores),
            connect: std::sync::OnceLock::new(),
            manage: std::sync::OnceLock::new(),
        });
        let service = Self {
            runtime: Arc::clone(runtime),
            endpoint: Arc::new(Endpoint {
                router,
                sessions,
                handlers: runtime.handlers.clone(),
                relays: runtime.relays.clone(),
                stop_handlers: runtime.stop_handlers.clone(),
            }),
            facilities,
            plugins: Mutex::default(),
            tls: Arc::default(),
            broker_log: Outlet::new(),
            overlay: Mutex::default(),
            generated_password: uuid::Uuid::new_v4().simple().to_string().into(),
            password_printed: AtomicBool::new(false),
            name,
        };
        let prepared = service.prepare(config)?;
        service.install(prepared);
        Ok(Arc::new(service))
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Prints the administrator's password when it comes into force without having been configured, and warns of
    /// what is odd.
    pub(crate) fn announce(&self, config: &Config) {
        use secrecy::ExposeSecret;
        let unset = config.services.get(&*self.name).is_some_and(|own| own.admin_password.is_none());
        if unset && !self.password_printed.swap(true, Ordering::Relaxed) {
            let password = self.generated_password.expose_secret();
            let of =
                if config.services.len() > 1 { format!(" (service {})", self.name) } else { String::new() };
            // On stderr, where scripts look for it, and nowhere else.
            #[expect(
                clippy::print_stderr,
                reason = "a secret for the operator's eyes does not belong in the log"
            )]
            {
                eprintln!("administrator password (generated): {password}{of}");
            }
        }
        for warning in self.warnings(config) {
            tracing::warn!(service = %self.name, "{warning}");
        }
    }

    /// What is odd about the service's configuration.
    pub(crate) fn warnings(&self, config: &Config) -> Vec<String> {
        let plugins = self.plugins.lock();
        let behind_open = plugins.iter().skip_while(|plugin| plugin.manifest.name != "auth-open").skip(1);
        let shadowed =
            behind_open.filter(|plugin| !plugin.registered.authenticators.is_empty()).map(|plugin| {
                format!("auth-open is listed before {}, and lets everyone past it", plugin.manifest.name)
            });
        let rules = config.services.get(&*self.name).into_iter().flat_map(|own| &own.rules);
        let patterns = rules.flat_map(|rule| rule.allow.iter().chain(&rule.deny));
        let is_idle = |text: &&String| text.parse::<Permission>().is_ok_and(|pattern| !pattern.can_match());
        let idle = patterns.filter(is_idle).map(|text| {
            format!(
                "service.{}.rule: '{text}' matches nothing: its path has too few levels or too many",
                self.name
            )
        });
        shadowed.chain(idle).chain(self.tls_warning()).collect()
    }

    /// Every registered command.
    pub(crate) fn registry(&self) -> &Registry {
        &self.endpoint.router.registry
    }

    /// Starts the plugins' services, and accepts virtual sessions.
    pub(crate) fn start(self: &Arc<Self>) {
        let connector =
            Connector { runtime: Arc::clone(&self.runtime), endpoint: Arc::clone(&self.endpoint) };
        // Both are set once, here.
        self.facilities.connect.set(Box::new(connector)).ok();
        self.facilities.manage.set(Box::new(change::Manager(Arc::downgrade(self)))).ok();
        self.watch_tls();
        for plugin in self.plugins.lock().iter() {
            lifetime::watch(&self.endpoint.sessions, plugin);
            lifetime::start_services(&self.runtime, &self.endpoint.sessions, plugin);
        }
    }

    /// Makes another configuration ready; nothing has changed by that.
    pub(crate) fn prepare(&self, config: &Config) -> Result<Prepared, Vec<ConfigError>> {
        let own = service_config(config, &self.name)?;
        let previous = self.plugins.lock().clone();
        let overlay = self.overlay.lock().clone();
        let host = |plugin: &str| -> Arc<dyn Host> {
            Arc::new(PluginHost::new(plugin, Arc::clone(&self.facilities)))
        };
        let wanted =
            Wanted { config, service: &self.name, overlay: &overlay, previous: &previous, host: &host };
        // Before plugins are asked for anything.
        policy(own, &self.name)?;
        let tls = tls::material(config, &self.name, own)?;
        self.prepared(config, plugin::load(&wanted)?, tls)
    }

    /// The same with these plugins; `None`: the TLS files stay as they are.
    fn prepared(
        &self,
        config: &Config,
        plugins: Vec<Arc<Loaded>>,
        tls: Option<Material>,
    ) -> Result<Prepared, Vec<ConfigError>> {
        let own = service_config(config, &self.name)?;
        let policy = policy(own, &self.name)?;
        let administrator = self.administrator(own)?;
        let mut entries = Vec::new();
        for plugin in &plugins {
            entries.extend(plugin.entries().map_err(|error| self.plugin_problem(plugin, &error))?);
        }
        Ok(Prepared { policy, administrator, plugins, tls, snapshot: Snapshot::build(entries) })
    }

    /// Ends the plugins' services, which have so long for it.
    pub(crate) fn stop_services(&self, time: Duration) {
        for plugin in self.plugins.lock().iter() {
            plugin.stop.request_within(time);
        }
    }

    /// Has every session go by the times that are in force now, but for what it has open already.
    pub(crate) fn apply_timeouts(&self) {
        self.endpoint.sessions.directory.all().iter().for_each(|session| session.link.outbound.wake());
    }

    /// Tells every session that the broker stops.
    pub(crate) fn tell_stopping(&self) {
        let sessions = &self.endpoint.sessions;
        for session in sessions.directory.all() {
            let id = session.info.session_id.as_str();
            sessions.notify(Topic::new("core", "session_event", "stopping", id), RawJson::empty());
        }
    }

    /// Has every connection closed once what is queued for it is written.
    pub(crate) fn close_connections(&self) {
        let sessions = &self.endpoint.sessions;
        for link in sessions.anonymous.close() {
            link.close(CloseReason::Shutdown);
        }
        for session in sessions.directory.all() {
            session.link.close(CloseReason::Shutdown);
        }
    }

    /// Lets go of the plugins, which hold on to the service themselves.
    pub(crate) fn unload(&self) {
        let (router, sessions) = (&self.endpoint.router, &self.endpoint.sessions);
        router.registry.replace(Snapshot::default());
        router.authorizers.replace(Vec::new());
        sessions.authenticators.replace(Vec::new());
        sessions.set_observers(Vec::new());
        sessions.events.set_filters(sessions.number, Vec::new());
        self.facilities.log_sinks.store(Arc::default());
        self.broker_log.set(&[]);
        self.facilities.plugins.store(Arc::default());
        self.plugins.lock().clear();
    }

    /// Puts plugins and policy in force, and gives the plugins that were in force before.
    fn install(&self, prepared: Prepared) -> Vec<Arc<Loaded>> {
        let Prepared { policy, administrator, plugins, tls, snapshot } = prepared;
        self.tls.replace(tls);
        let (router, sessions) = (&self.endpoint.router, &self.endpoint.sessions);
        router.registry.replace(snapshot);
        router.authorizers.set_policy(policy);
        let all = || plugins.iter().map(|plugin| &plugin.registered);
        let mut authenticators: Vec<Arc<dyn Authenticator>> = vec![administrator];
        authenticators.extend(all().flat_map(|registered| registered.authenticators.clone()));
        sessions.authenticators.replace(authenticators);
        router.authorizers.replace(all().flat_map(|registered| registered.authorizers.clone()).collect());
        sessions.set_observers(all().flat_map(|registered| registered.session_observers.clone()).collect());
        let filters = plugins.iter().flat_map(|plugin| {
            let named = |filter| NamedFilter::new(&plugin.manifest.name, Arc::clone(filter));
            plugin.registered.event_filters.iter().map(named)
        });
        sessions.events.set_filters(sessions.number, filters.collect());
        let sinks: Vec<_> = all().flat_map(|registered| registered.log_sinks.clone()).collect();
        self.facilities.log_sinks.store(Arc::new(sinks));
        let sinks: Vec<_> = all().flat_map(|registered| registered.broker_log_sinks.clone()).collect();
        self.broker_log.set(&sinks);
        let described: Vec<Arc<dyn Describe>> =
            plugins.iter().map(|plugin| Arc::clone(plugin) as _).collect();
        self.facilities.plugins.store(Arc::new(described));
        std::mem::replace(&mut *self.plugins.lock(), plugins)
    }

    fn plugin_problem(&self, plugin: &Loaded, error: &Error) -> Vec<ConfigError> {
        let key = format!("service.{}.plugin.{}", self.name, plugin.manifest.name);
        vec![ConfigError::new(None, key, error.text())]
    }

    fn administrator(&self, own: &ServiceConfig) -> Result<Arc<dyn Authenticator>, Vec<ConfigError>> {
        let key = format!("service.{}.admin_user", self.name);
        let user = UserId::new(&own.admin_user);
        let user = user
            .map_err(|_| vec![ConfigError::new(None, key, "expected a user name, not empty and not '*'")])?;
        let password = own.admin_password.clone().unwrap_or_else(|| self.generated_password.clone());
        Ok(Arc::new(Administrator::new(user, password)))
    }
}

fn service_config<'a>(config: &'a Config, name: &str) -> Result<&'a ServiceConfig, Vec<ConfigError>> {
    let missing =
        || vec![ConfigError::new(None, format!("service.{name}"), "expected the table of this service")];
    config.services.get(name).ok_or_else(missing)
}

fn policy(own: &ServiceConfig, name: &str) -> Result<Policy, Vec<ConfigError>> {
    let key = format!("service.{name}.rule");
    Policy::new(own).map_err(|error| vec![ConfigError::new(None, key, error.to_string())])
}

/// Serves virtual sessions.
struct Connector {
    runtime: Arc<Runtime>,
    endpoint: Arc<Endpoint>,
}

impl Connect for Connector {
    fn connect(&self, stream: Box<dyn Stream>, remote: Arc<str>) -> Result<()> {
        if self.endpoint.sessions.is_draining() {
            return Err(ErrorCode::ShuttingDown.into());
        }
        let place = Place::take(&self.runtime);
        let place = place.ok_or_else(|| Error::about(ErrorCode::LimitExceeded, "connections"))?;
        let accepted = Accepted { stream, framing: Framing::Line, certificate: None, writer: None };
        let served = place.serve(Arc::clone(&self.endpoint), accepted, remote, Instant::now());
        self.runtime.tasks.spawn(served);
        Ok(())
    }
}
