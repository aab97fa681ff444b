//! The table of functions that libraries call, and what they call them with.

use std::{
    collections::HashMap,
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use parking_lot::{Condvar, Mutex, RwLock};
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
    asked: Mutex<Asked>,
    /// Notified when the last question has been answered.
    all_answered: Condvar,
    pub(super) counters: RwLock<Numbered<Counter>>,
    pub(super) gauges: RwLock<Numbered<Gauge>>,
    pub(super) sessions: Mutex<HashMap<u64, Arc<Ends>>>,
    last_number: AtomicU64,
}

/// What a library counts, each under the number that it knows it by.
pub(super) struct Numbered<T> {
    all: Vec<T>,
    /// By name and labels: who asks for one again, be it at every request, gets the same.
    numbers: HashMap<Series, usize>,
}

/// A metric's name and its labels.
pub(super) type Series = (String, Vec<(String, String)>);

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { all: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T> Numbered<T> {
    fn get(&self, number: u64) -> Option<&T> {
        self.all.get(usize::try_from(number).ok()?)
    }

    /// The number of a series, which is made where it is new.
    pub(super) fn number_of(&mut self, series: Series, make: impl FnOnce() -> T) -> usize {
        *self.numbers.entry(series).or_insert_with(|| {
            self.all.push(make());
            self.all.len() - 1
        })
    }
}

/// The questions that take time and have not been answered yet.
#[derive(Default)]
struct Asked {
    open: HashMap<u64, Option<AbortHandle>>,
    /// Nothing more is taken.
    closed: bool,
}

/// A question, until its completion has been called.
struct Open {
    broker: &'static Broker,
    number: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut asked = self.broker.asked.lock();
        asked.open.remove(&self.number);
        if asked.open.is_empty() {
            self.broker.all_answered.notify_all();
        }
    }
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
            all_answered: Condvar::new(),
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

    /// Takes no questions any more that take time, cancels those that were asked, and waits until all of their
    /// completions have been called, which may lead into what is about to be destroyed. Says whether they have.
    pub(super) fn settle(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let under_way: Vec<AbortHandle> = {
            let mut asked = self.asked.lock();
            asked.closed = true;
            asked.open.values().flatten().cloned().collect()
        };
        under_way.iter().for_each(AbortHandle::abort);
        let mut asked = self.asked.lock();
        !self.all_answered.wait_while_until(&mut asked, |asked| !asked.open.is_empty(), deadline).timed_out()
    }

    /// Its instance is destroyed: nothing is answered any more.
    pub(super) fn close(&self) {
        *self.host.write() = None;
        *self.runtime.lock() = None;
        *self.counters.write() = Numbered::default();
        *self.gauges.write() = Numbered::default();
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
        let Some(open) = self.open_question() else {
            owed.error(&Error::from(ErrorCode::PluginUnavailable));
            return 0;
        };
        let number = open.number;
        let asking = Asking { answer, owed, open };
        let work = runtime.spawn(asking.run()).abort_handle();
        let closed = {
            let mut asked = self.asked.lock();
            // It may be done already.
            if let Some(handle) = asked.open.get_mut(&number) {
                *handle = Some(work.clone());
            }
            asked.closed
        };
        if closed {
            work.abort();
        }
        number
    }

    fn open_question(&'static self) -> Option<Open> {
        let mut asked = self.asked.lock();
        if asked.closed {
            return None;
        }
        let number = self.next_number();
        asked.open.insert(number, None);
        Some(Open { broker: self, number })
    }

    fn abort(&self, question: u64) {
        let work = self.asked.lock().open.get(&question).cloned().flatten();
        if let Some(work) = work {
            work.abort();
        }
    }
}

/// A question that is awaited. Dropped where that is aborted: it counts as cancelled then. What is asked goes first,
/// for it may have the completion; the question is open until that has been called.
struct Asking<A> {
    answer: A,
    owed: Owed,
    open: Open,
}

impl<A: Future<Output = Result<RawJson>>> Asking<A> {
    async fn run(self) {
        // Let go of in the other order.
        let Self { open: _open, owed, answer } = self;
        let result = AssertUnwindSafe(answer).catch_unwind().await;
        owed.result(result.unwrap_or_else(|_| Err(ErrorCode::InternalError.into())));
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
    guarded(0, || {
        first_enabled!(TRACE = 5, DEBUG = 4, INFO = 3, WARN = 2, ERROR = 1);
        0
    })
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
    let (broker, question, arguments) = unsafe { (broker(raw), question.get(), arguments.read()) };
    // SAFETY: the ABI says that a request that is given has not been answered yet.
    let call = unsafe { State::of(call) }.map(Arc::clone);
    let arguments = arguments.ok().and_then(|text| RawJson::from_text(text.unwrap_or("{}").to_owned()).ok());
    guarded(0, || match (question, arguments) {
        (Some(question), Some(arguments)) => ask::answer(broker, question, &arguments, call, owed),
        _ => {
            owed.error(&Error::syntax("arguments"));
            0
        }
    })
}

unsafe extern "C" fn cancel(raw: *mut c_void, asked: u64) {
    // SAFETY: the ABI says so.
    let broker = unsafe { broker(raw) };
    guarded((), || broker.abort(asked));
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
    let counters = broker.counters.read();
    if let Some(counter) = counters.get(counter) {
        guarded((), || counter.add(n));
    }
}

unsafe extern "C" fn gauge_set(raw: *mut c_void, gauge: u64, value: f64) {
    // SAFETY: the ABI says so.
    let broker = unsafe { broker(raw) };
    let gauges = broker.gauges.read();
    if let Some(gauge) = gauges.get(gauge) {
        guarded((), || gauge.set(value));
    }
}
