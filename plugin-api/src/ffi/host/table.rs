//! The table of functions that libraries call, and what they call them with.

use std::{
    collections::HashMap,
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use tokio::{runtime::Handle, sync::mpsc, task::AbortHandle};

use super::{ask, call::State};
use crate::{
    error::{Error, ErrorCode, Result},
    ffi::{
        abi::{self, ABI_MAJOR, ABI_MINOR, Completion, Status, Text},
        slot::{Owed, panic_message},
        wire::CallerText,
    },
    host::{Counter, Gauge, Host},
    json::RawJson,
};

/// Where what libraries log stands in the broker's log.
pub(super) const PLUGIN_TARGET: &str = "jackfield::plugin";

/// The broker's functions.
pub(super) static HOST: abi::Host = abi::Host {
    size: size_of::<abi::Host>() as u32,
    abi_major: ABI_MAJOR,
    abi_minor: ABI_MINOR,
    reserved: 0,
    log_level,
    log,
    ask: ask_broker,
    cancel,
    ack,
    end_session,
    caller,
    counter_add,
    gauge_set,
};

/// The broker as one instance sees it. It is never freed: a library may hold on to it. What is costly in it goes with
/// [`close`](Self::close).
pub(super) struct Broker {
    host: RwLock<Option<Arc<dyn Host>>>,
    /// Where questions that take time are awaited; none where nothing runs yet.
    runtime: Mutex<Option<Handle>>,
    /// What is being asked, to be cancelled.
    asked: Mutex<HashMap<u64, Option<AbortHandle>>>,
    pub(super) counters: RwLock<Vec<Counter>>,
    pub(super) gauges: RwLock<Vec<Gauge>>,
    pub(super) sessions: Mutex<HashMap<u64, Arc<Ends>>>,
    last_number: AtomicU64,
}

/// All that were ever opened: what is kept on purpose is no leak.
static OPENED: Mutex<Vec<&'static Broker>> = Mutex::new(Vec::new());

/// The two ends of a virtual session.
pub(super) struct Ends {
    pub(super) to_broker: mpsc::Sender<RawJson>,
    pub(super) from_broker: tokio::sync::Mutex<mpsc::Receiver<RawJson>>,
}

impl Broker {
    pub(super) fn open(host: Arc<dyn Host>) -> &'static Self {
        let broker: &'static Self = Box::leak(Box::new(Self {
            host: RwLock::new(Some(host)),
            runtime: Mutex::new(Handle::try_current().ok()),
            asked: Mutex::default(),
            counters: RwLock::default(),
            gauges: RwLock::default(),
            sessions: Mutex::default(),
            last_number: AtomicU64::new(0),
        }));
        OPENED.lock().push(broker);
        broker
    }

    pub(super) fn as_raw(&'static self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// Its instance is destroyed: nothing is answered any more.
    pub(super) fn close(&self) {
        *self.host.write() = None;
        *self.runtime.lock() = None;
        let asked = std::mem::take(&mut *self.asked.lock());
        asked.into_values().flatten().for_each(|work| work.abort());
        *self.counters.write() = Vec::new();
        *self.gauges.write() = Vec::new();
        *self.sessions.lock() = HashMap::new();
    }

    /// The broker, as long as the instance lives.
    pub(super) fn host(&self) -> Result<Arc<dyn Host>> {
        self.host.read().clone().ok_or_else(|| ErrorCode::PluginUnavailable.into())
    }

    pub(super) fn next_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Awaits an answer, and gives the number under which the question can be cancelled.
    pub(super) fn spawn(
        &'static self,
        owed: Owed,
        answer: impl Future<Output = Result<RawJson>> + Send + 'static,
    ) -> u64 {
        let Some(runtime) = self.runtime.lock().clone() else {
            owed.error(&Error::from(ErrorCode::PluginUnavailable));
            return 0;
        };
        let number = self.next_number();
        self.asked.lock().insert(number, None);
        let work = runtime.spawn(async move {
            // Dropped where the task is aborted: the question counts as cancelled then.
            let owed = owed;
            let result = answer.await;
            self.asked.lock().remove(&number);
            owed.result(result);
        });
        // It may be done already.
        if let Some(handle) = self.asked.lock().get_mut(&number) {
            *handle = Some(work.abort_handle());
        }
        number
    }
}

/// The broker that a library means.
///
/// # Safety
/// `broker` is what [`Broker::as_raw`] gave.
unsafe fn broker(broker: *mut c_void) -> &'static Broker {
    // SAFETY: the caller's promise; it is never freed.
    unsafe { &*broker.cast_const().cast::<Broker>() }
}

/// No panic may go back into a library.
fn guarded<T>(fallback: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        tracing::error!(panic = panic_message(&*panic), "a question of a library panicked");
        fallback
    })
}

unsafe extern "C" fn log_level() -> u32 {
    macro_rules! first_enabled {
        ($($level:ident = $number:literal),+) => {
            $(if tracing::enabled!(target: PLUGIN_TARGET, tracing::Level::$level) { return $number; })+
        };
    }
    first_enabled!(TRACE = 5, DEBUG = 4, INFO = 3, WARN = 2, ERROR = 1);
    0
}

unsafe extern "C" fn log(plugin: Text, level: u32, target: Text, message: Text, fields: Text) {
    // SAFETY: the ABI says that texts are there for the time of the call.
    let [plugin, target, message, fields] =
        [plugin, target, message, fields].map(|text| unsafe { text.get() });
    let (plugin, message) = (plugin.unwrap_or("?"), message.unwrap_or_default());
    macro_rules! line {
        ($severity:ident) => {
            tracing::$severity!(target: PLUGIN_TARGET, plugin, module = target, fields, "{message}")
        };
    }
    guarded((), || match level {
        0 | 1 => line!(error),
        2 => line!(warn),
        3 => line!(info),
        4 => line!(debug),
        _ => line!(trace),
    });
}

unsafe extern "C" fn ask_broker(
    raw: *mut c_void,
    question: Text,
    arguments: Text,
    call: *const c_void,
    completion: Completion,
) -> u64 {
    let owed = Owed::new(completion);
    // SAFETY: the ABI says so of each of them.
    let (broker, question, arguments) = unsafe { (broker(raw), question.get(), arguments.get()) };
    // SAFETY: the ABI says that a request that is given has not been answered yet.
    let call = unsafe { State::of(call) }.map(Arc::clone);
    guarded(0, || match (question, RawJson::from_text(arguments.unwrap_or("{}").to_owned())) {
        (Some(question), Ok(arguments)) => ask::answer(broker, question, &arguments, call, owed),
        _ => {
            owed.error(&Error::syntax("arguments"));
            0
        }
    })
}

unsafe extern "C" fn cancel(raw: *mut c_void, asked: u64) {
    // SAFETY: the ABI says so.
    let broker = unsafe { broker(raw) };
    let work = broker.asked.lock().remove(&asked).flatten();
    if let Some(work) = work {
        work.abort();
    }
}

unsafe extern "C" fn ack(call: *const c_void) {
    // SAFETY: the ABI says that the request has not been answered yet.
    if let Some(call) = unsafe { State::of(call) } {
        guarded((), || call.ack());
    }
}

unsafe extern "C" fn end_session(call: *const c_void) {
    // SAFETY: the ABI says that the request has not been answered yet.
    if let Some(call) = unsafe { State::of(call) } {
        guarded((), || call.end_session());
    }
}

unsafe extern "C" fn caller(call: *const c_void, completion: Completion) {
    let owed = Owed::new(completion);
    // SAFETY: the ABI says that the request has not been answered yet.
    match unsafe { State::of(call) } {
        Some(call) => guarded((), || owed.result(RawJson::from_value(&CallerText::from(&**call.caller())))),
        None => owed.end(Status::Error, None),
    }
}

unsafe extern "C" fn counter_add(raw: *mut c_void, counter: u64, n: u64) {
    // SAFETY: the ABI says so.
    let broker = unsafe { broker(raw) };
    let Ok(place) = usize::try_from(counter) else { return };
    let counters = broker.counters.read();
    if let Some(counter) = counters.get(place) {
        guarded((), || counter.add(n));
    }
}

unsafe extern "C" fn gauge_set(raw: *mut c_void, gauge: u64, value: f64) {
    // SAFETY: the ABI says so.
    let broker = unsafe { broker(raw) };
    let Ok(place) = usize::try_from(gauge) else { return };
    let gauges = broker.gauges.read();
    if let Some(gauge) = gauges.get(place) {
        guarded((), || gauge.set(value));
    }
}
