use std::{
    collections::HashMap,
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::{
    runtime::{Builder, Runtime},
    task::AbortHandle,
};

use super::asking::Broker;
use crate::{
    command::Handler,
    error::{Error, ErrorCode, Result},
    ffi::{
        slot::Owed,
        wire::{AuthenticatorText, CommandText, FilterText, RegisteredText},
    },
    host::Host,
    json::RawJson,
    message::CommandKey,
    plugin::{Exec, Manifest, Plugin, Registered, Registrar},
    service::Shutdown,
};

/// How many threads a plugin's own runtime has.
const THREADS: usize = 2;

/// How long the tasks of a plugin that is destroyed have to reach their next await.
const LAST_STEPS: Duration = Duration::from_secs(2);

/// A plugin in use: what the broker knows as `struct jackfield_instance`.
pub(super) struct Instance {
    pub(super) manifest: Manifest,
    pub(super) host: Arc<Broker>,
    /// `host`, as handlers get it.
    pub(super) shown_host: Arc<dyn Host>,
    pub(super) stop: Shutdown,
    registered: OnceLock<Registered>,
    commands: OnceLock<Vec<Exported>>,
    works: Arc<Works>,
    runtime: OnceLock<Runtime>,
    plugin: Arc<dyn Plugin>,
}

/// A command, as requests for it need it.
pub(super) struct Exported {
    pub(super) key: Arc<CommandKey>,
    pub(super) handler: Arc<dyn Handler>,
}

/// Work that has to be waited for, to be cancelled.
#[derive(Default)]
struct Works {
    running: Mutex<HashMap<u64, AbortHandle>>,
    last: AtomicU64,
}

impl Instance {
    pub(super) fn new(plugin: Arc<dyn Plugin>, host: Arc<Broker>) -> Self {
        Self {
            manifest: plugin.manifest(),
            shown_host: Arc::clone(&host) as _,
            host,
            stop: Shutdown::new(),
            registered: OnceLock::new(),
            commands: OnceLock::new(),
            works: Arc::default(),
            runtime: OnceLock::new(),
            plugin,
        }
    }

    /// Has the plugin register.
    pub(super) fn register(&self, config: &RawJson) -> Result<RawJson> {
        let config = config.parse().map_err(Error::syntax)?;
        let mut registrar = Registrar::new(config, Arc::clone(&self.shown_host));
        // What a plugin starts while it registers belongs to its own runtime.
        let _inside = self.runtime()?.enter();
        self.plugin.register(&mut registrar)?;
        let registered = registrar.finish();
        let told = tell(&registered);
        let commands = registered.commands.iter().map(|command| Exported {
            key: Arc::new(command.key.clone()),
            handler: Arc::clone(&command.handler),
        });
        self.commands.set(commands.collect()).map_err(|_| twice())?;
        self.registered.set(registered).map_err(|_| twice())?;
        RawJson::from_value(&told)
    }

    /// What the plugin registered.
    pub(super) fn registered(&self) -> Result<&Registered> {
        self.registered.get().ok_or_else(|| ErrorCode::InvalidOperation.into())
    }

    pub(super) fn command(&self, index: u32) -> Option<&Exported> {
        self.commands.get()?.get(index as usize)
    }

    /// The plugin's own runtime, started when it is first needed.
    pub(super) fn runtime(&self) -> Result<&Runtime> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let name = self.manifest.name.clone();
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name(name).enable_all().build();
        let runtime = runtime.map_err(|error| Error::new(ErrorCode::InternalError).with_source(error))?;
        Ok(self.runtime.get_or_init(|| runtime))
    }

    pub(super) fn blocks(&self) -> bool {
        self.manifest.exec == Exec::Offload
    }

    /// Does work on the plugin's own runtime, and gives the number under which it can be cancelled. However it ends,
    /// what it owes is paid: `work` has it.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> u64 {
        let Ok(runtime) = self.runtime() else { return 0 };
        let number = self.works.last.fetch_add(1, Ordering::Relaxed) + 1;
        let works = Arc::clone(&self.works);
        // Held over the start, so that the work cannot end before it is listed.
        let mut running = self.works.running.lock();
        let task = runtime.spawn(async move {
            work.await;
            works.running.lock().remove(&number);
        });
        running.insert(number, task.abort_handle());
        number
    }

    /// As [`spawn`](Self::spawn), for work with a result.
    pub(super) fn answer_later(
        &self,
        owed: Owed,
        work: impl Future<Output = Result<RawJson>> + Send + 'static,
    ) -> u64 {
        self.spawn(async move {
            let owed = owed;
            match AssertUnwindSafe(work).catch_unwind().await {
                Ok(result) => owed.result(result),
                Err(panic) => owed.panicked(&*panic),
            }
        })
    }

    pub(super) fn cancel(&self, work: u64) {
        let task = self.works.running.lock().remove(&work);
        if let Some(task) = task {
            task.abort();
        }
    }

    /// Ends all that the plugin still does. It may wait for a moment.
    pub(super) fn end(mut self) {
        self.stop.request();
        let runtime = self.runtime.take();
        {
            // What is dropped may want the runtime that it was made in.
            let _inside = runtime.as_ref().map(Runtime::enter);
            drop(self);
        }
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(LAST_STEPS);
        }
    }
}

fn twice() -> Error {
    ErrorCode::InvalidOperation.into()
}

/// What is registered, for the broker.
fn tell(registered: &Registered) -> RegisteredText {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let commands = registered.commands.iter().map(|command| CommandText {
        key: (&command.key).into(),
        aliases: command.aliases.clone(),
        about: command.about.clone(),
        data_schema: command.data_schema.clone(),
        reply_schema: command.reply_schema.clone(),
        mode: command.mode.into(),
    });
    let authenticators = registered.authenticators.iter().map(|authenticator| AuthenticatorText {
        secret_fields: authenticator.secret_fields().iter().map(ToString::to_string).collect(),
    });
    let filters = registered
        .event_filters
        .iter()
        .map(|filter| FilterText { filters_deliveries: filter.filters_deliveries() });
    RegisteredText {
        commands: commands.collect(),
        authenticators: authenticators.collect(),
        event_filters: filters.collect(),
        authorizers: count(registered.authorizers.len()),
        session_observers: count(registered.session_observers.len()),
        log_sinks: count(registered.log_sinks.len()),
        broker_log_sinks: count(registered.broker_log_sinks.len()),
        services: count(registered.services.len()),
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("name", &self.manifest.name).finish_non_exhaustive()
    }
}
