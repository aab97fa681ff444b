use std::{
    ffi::c_void,
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{
    Library, answer,
    health::Health,
    table::{Broker, HOST},
};
use crate::{
    error::{Error, ErrorCode, Result},
    ffi::{
        abi::{Completion, PluginTable, Text},
        slot::{End, HoldsSlot, Slot, Wait, at_once, completion},
        wire::{RegisteredText, read},
    },
    host::Host,
    plugin::{Exec, Manifest},
};

/// How long the questions of an instance that is to be destroyed have to end once they are cancelled.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// An instance of a plugin inside its library.
pub(super) struct Instance {
    pub(super) table: PluginTable,
    pub(super) raw: *mut c_void,
    pub(super) name: Arc<str>,
    pub(super) exec: Exec,
    health: Arc<Health>,
    broker: &'static Broker,
}

// SAFETY: the ABI says that an instance may be used from any thread, and from many at once.
unsafe impl Send for Instance {}
// SAFETY: likewise.
unsafe impl Sync for Instance {}

impl Instance {
    pub(super) fn create(
        library: &Library,
        manifest: &Manifest,
        health: &Arc<Health>,
        host: Arc<dyn Host>,
    ) -> Result<Arc<Self>> {
        let name: Arc<str> = manifest.name.as_str().into();
        let broken = |what: &str| Error::about(ErrorCode::PluginUnavailable, format_args!("{name}: {what}"));
        let create = library.table.create.ok_or_else(|| broken("no function 'create'"))?;
        let broker = Broker::open(host);
        let mut raw = std::ptr::null_mut();
        // SAFETY: the table of the host and the broker's view live as long as the process. It answers at once.
        let end = at_once(|completion| raw = unsafe { create(&raw const HOST, broker.as_raw(), completion) });
        if raw.is_null() {
            broker.close();
            return Err(broken(answer(end).as_ref().err().map_or("it made no instance", String::as_str)));
        }
        let (table, health, exec) = (*library.table, Arc::clone(health), manifest.exec);
        Ok(Arc::new(Self { table, raw, name, exec, health, broker }))
    }

    /// What it has to register.
    pub(super) fn registered(&self, config: &str) -> Result<RegisteredText> {
        let Some(register) = self.table.register_all else { return Err(self.unavailable()) };
        // SAFETY: called once, right after `create`, and answers at once.
        match at_once(|completion| unsafe { register(self.raw, Text::of(config), completion) }) {
            End::Error(error) => Err(error),
            end => read(&self.caught(end).into_result()?),
        }
    }

    /// The error for whoever needs something that the plugin cannot give.
    pub(super) fn unavailable(&self) -> Error {
        Error::about(ErrorCode::PluginUnavailable, &self.name)
    }

    /// Fails while the plugin is quarantined.
    pub(super) fn usable(&self) -> Result<()> {
        if self.health.is_quarantined() { Err(self.unavailable()) } else { Ok(()) }
    }

    /// Takes note where work ended with a panic.
    pub(super) fn caught(&self, end: End) -> End {
        if let End::Panic(message) = &end {
            self.health.panicked(message);
        }
        end
    }

    /// Starts work in the library and waits for its end; to drop this cancels it.
    pub(super) async fn work(self: &Arc<Self>, start: impl FnOnce(&Self, Completion) -> u64) -> End {
        let slot = Arc::new(Working { slot: Slot::default(), instance: Arc::clone(self) });
        let number = start(self, completion(&slot));
        let instance = Arc::clone(self);
        let end = Wait::new(slot, number, move |number| instance.cancel(number)).await;
        self.caught(end)
    }

    /// Cancels a piece of work.
    pub(super) fn cancel(&self, work: u64) {
        let Some(cancel) = self.table.cancel else { return };
        // SAFETY: the instance is not destroyed yet; a number that is not known is ignored.
        unsafe { cancel(self.raw, work) };
    }

    /// Asks the services to end, within this time where it is known.
    pub(super) fn stop(&self, left: Option<Duration>) {
        let Some(stop) = self.table.stop else { return };
        let milliseconds = left.map_or(0, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1));
        // SAFETY: the instance is not destroyed yet.
        unsafe { stop(self.raw, milliseconds) };
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let Some(destroy) = self.table.destroy else { return };
        let (raw, broker) = (Raw(self.raw), self.broker);
        let destroying = Destroying::begin();
        let (name, destroyed_name) = (Arc::clone(&self.name), Arc::clone(&self.name));
        // A thread of its own: whoever let go of the instance last has other things to do, and may be its own thread.
        let destroyed = thread::Builder::new().name(format!("destroy {name}")).spawn(move || {
            let raw = raw;
            if broker.settle(LAST_ANSWERS) {
                // SAFETY: nothing uses the instance any more, for whatever does holds it.
                unsafe { destroy(raw.0) };
            } else {
                tracing::error!(plugin = %destroyed_name, "a plugin is not destroyed: it still waits for answers");
            }
            broker.close();
            drop(destroying);
        });
        if let Err(error) = destroyed {
            tracing::error!(plugin = %name, %error, "a plugin is not destroyed: no thread");
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An instance on its way to the thread that destroys it.
struct Raw(*mut c_void);

// SAFETY: as for `Instance`.
unsafe impl Send for Raw {}

/// Work that keeps its instance from being destroyed until it has ended.
struct Working {
    slot: Slot,
    #[expect(dead_code, reason = "held, so that the instance is not destroyed")]
    instance: Arc<Instance>,
}

impl HoldsSlot for Working {
    fn slot(&self) -> &Slot {
        &self.slot
    }
}

/// How many instances are being destroyed.
static DESTROYING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

struct Destroying;

impl Destroying {
    fn begin() -> Self {
        *DESTROYING.0.lock() += 1;
        Self
    }
}

impl Drop for Destroying {
    fn drop(&mut self) {
        *DESTROYING.0.lock() -= 1;
        DESTROYING.1.notify_all();
    }
}

pub(super) fn wait_until_destroyed(limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let mut count = DESTROYING.0.lock();
    !DESTROYING.1.wait_while_until(&mut count, |count| *count > 0, deadline).timed_out()
}
