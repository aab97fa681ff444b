//! Libraries that are no Rust plugins: tables of functions as C would write them, some of which misbehave.

use std::{
    cell::RefCell,
    ffi::c_void,
    mem::offset_of,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicPtr, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use parking_lot::Mutex;

use super::{eventually, library};
use crate::{
    ErrorCode,
    ffi::{
        abi::{ABI_MAJOR, ABI_MINOR, Completion, Host, MAGIC, PluginTable, Request, Text, UNWINDS},
        host::{read_table, wait_until_destroyed},
        slot::at_once,
    },
    testing::Harness,
};

/// What a library of the test says of itself.
const MANIFEST: &str = r#"{"name":"raw","version":"1"}"#;

/// A table with what every plugin has.
const fn table(
    create: unsafe extern "C" fn(*const Host, *mut c_void, Completion) -> *mut c_void,
    register_all: unsafe extern "C" fn(*mut c_void, Text, Completion),
    destroy: unsafe extern "C" fn(*mut c_void),
) -> PluginTable {
    PluginTable {
        magic: MAGIC,
        size: size_of::<PluginTable>() as u32,
        abi_major: ABI_MAJOR,
        abi_minor: ABI_MINOR,
        panic_strategy: UNWINDS,
        toolchain: Text::of("none"),
        manifest: Some(manifest),
        create: Some(create),
        register_all: Some(register_all),
        call: None,
        authenticate: None,
        authorize: None,
        filter_event: None,
        session_changed: None,
        log: None,
        broker_log: None,
        run: None,
        stop: None,
        cancel: None,
        destroy: Some(destroy),
    }
}

fn say(completion: Completion, status: u32, result: Text) {
    // SAFETY: the broker's completion, used once by each of these functions.
    unsafe { (completion.done)(completion.ctx, status, result) };
}

unsafe extern "C" fn manifest(completion: Completion) {
    say(completion, 0, Text::of(MANIFEST));
}

/// An instance that is nothing.
unsafe extern "C" fn create(_: *const Host, _: *mut c_void, completion: Completion) -> *mut c_void {
    say(completion, 0, Text::ABSENT);
    ptr::dangling_mut::<u8>().cast()
}

unsafe extern "C" fn destroy(_: *mut c_void) {}

fn harness(table: &PluginTable) -> crate::Result<Harness> {
    Harness::new(library(table).unwrap().plugin().unwrap())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What an instance that asks without end was told.
#[derive(Default)]
struct Asking {
    ended: Mutex<Vec<(&'static str, u32)>>,
}

static ASKING: Asking = Asking { ended: Mutex::new(Vec::new()) };
static HOST: AtomicPtr<Host> = AtomicPtr::new(ptr::null_mut());
static VIEW: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Asks the broker; what comes of it goes down in the list.
fn ask(question: &str, arguments: &str) -> u64 {
    unsafe extern "C" fn done(ctx: *mut c_void, status: u32, _: Text) {
        let said = if ctx.is_null() { "answered" } else { "refused" };
        ASKING.ended.lock().push((said, status));
    }
    let destroyed = ASKING.ended.lock().iter().any(|(what, _)| *what == "destroyed");
    let ctx = if destroyed { ptr::dangling_mut::<u8>().cast() } else { ptr::null_mut() };
    let completion = Completion { ctx, done, progress: None };
    // SAFETY: both are from `create`, and live as long as the process.
    unsafe {
        let host = &*HOST.load(Ordering::SeqCst);
        (host.ask)(
            VIEW.load(Ordering::SeqCst),
            Text::of(question),
            Text::of(arguments),
            ptr::null(),
            completion,
        )
    }
}

#[test]
fn what_an_instance_asked_is_ended_before_it_is_destroyed() {
    unsafe extern "C" fn create(host: *const Host, view: *mut c_void, done: Completion) -> *mut c_void {
        HOST.store(host.cast_mut(), Ordering::SeqCst);
        VIEW.store(view, Ordering::SeqCst);
        say(done, 0, Text::ABSENT);
        ptr::dangling_mut::<u8>().cast()
    }
    unsafe extern "C" fn register_all(_: *mut c_void, _: Text, done: Completion) {
        say(done, 0, Text::of(r#"{"session_observers":1}"#));
    }
    unsafe extern "C" fn session_changed(_: *mut c_void, _: u32, _: Text) {}
    unsafe extern "C" fn destroy(_: *mut c_void) {
        ASKING.ended.lock().push(("destroyed", 0));
        assert_eq!(ask("receive", r#"{"number":1}"#), 0, "it is refused at once");
    }
    static TABLE: PluginTable =
        PluginTable { session_changed: Some(session_changed), ..table(create, register_all, destroy) };
    let runtime = runtime();
    runtime.block_on(async {
        let harness = harness(&TABLE).unwrap();
        ask("open_session", r#"{"remote":"raw"}"#);
        // Nobody ever sends anything there.
        for _ in 0..3 {
            assert_ne!(ask("receive", r#"{"number":1}"#), 0);
        }
        let ends = harness.virtual_sessions();
        drop(harness);
        eventually(|| ASKING.ended.lock().len() == 6).await;
        drop(ends);
    });
    assert!(wait_until_destroyed(Duration::from_secs(30)));
    let ended = ASKING.ended.lock();
    let cancelled = ("answered", 5);
    let expected = [("answered", 0), cancelled, cancelled, cancelled, ("destroyed", 0), ("refused", 1)];
    assert_eq!(*ended, expected);
}

#[test]
fn bytes_that_are_no_text_are_no_success() {
    unsafe extern "C" fn register_all(_: *mut c_void, _: Text, done: Completion) {
        say(done, 0, Text::of(r#"{"commands":[{"class":"raw","cmd":"garbage"}]}"#));
    }
    unsafe extern "C" fn call(_: *mut c_void, _: u32, _: *const Request, done: Completion) -> u64 {
        // SAFETY: the ABI's text has the layout of a pointer and a length.
        let garbage = unsafe { std::mem::transmute::<(*const u8, usize), Text>((b"\xff\xfe".as_ptr(), 2)) };
        say(done, 0, garbage);
        0
    }
    static TABLE: PluginTable = PluginTable { call: Some(call), ..table(create, register_all, destroy) };
    runtime().block_on(async {
        let error = harness(&TABLE).unwrap().call("raw", "core", "garbage", "{}").await.unwrap_err();
        assert!(error.is(ErrorCode::InternalError), "{error}");
    });
}

#[test]
fn a_count_that_makes_no_sense_is_refused() {
    unsafe extern "C" fn register_all(_: *mut c_void, _: Text, done: Completion) {
        say(done, 0, Text::of(r#"{"log_sinks":4000000000}"#));
    }
    unsafe extern "C" fn log(_: *mut c_void, _: u32, _: Text, done: Completion) {
        say(done, 0, Text::ABSENT);
    }
    static TABLE: PluginTable = PluginTable { log: Some(log), ..table(create, register_all, destroy) };
    let error = harness(&TABLE).map(drop).unwrap_err();
    assert_eq!(error.text(), "Invalid value: log_sinks: 4000000000, at most 1024 are possible");
}

#[test]
fn of_a_shorter_table_only_what_it_has_is_read() {
    unsafe extern "C" fn register_all(_: *mut c_void, _: Text, _: Completion) {}
    let whole = table(create, register_all, destroy);
    let older = offset_of!(PluginTable, cancel);
    // As a library of an earlier version has it: nothing of the table is behind its end.
    let short: Vec<u64> = {
        // SAFETY: it is so long, and a multiple of eight bytes.
        let all = unsafe { std::slice::from_raw_parts((&raw const whole).cast::<u64>(), older / 8) };
        all.to_vec()
    };
    for size in [older, older + 1] {
        let table: *const PluginTable = short.as_ptr().cast();
        // SAFETY: it is so long; the odd byte is not looked at.
        let read = unsafe { read_table(table, size) };
        assert!(read.create.is_some() && read.cancel.is_none() && read.destroy.is_none());
        assert_eq!((read.magic, read.size), (whole.magic, whole.size));
    }
    // SAFETY: what is longer than is known is not read.
    assert!(unsafe { read_table(&raw const whole, size_of::<PluginTable>() + 64) }.destroy.is_some());
}

#[test]
fn a_thread_that_ends_may_still_have_requests() {
    struct AtExit(RefCell<Option<Box<dyn FnOnce()>>>);
    impl Drop for AtExit {
        fn drop(&mut self) {
            if let Some(last) = self.0.take() {
                last();
            }
        }
    }
    thread_local! {
        static FIRST: AtExit = const { AtExit(RefCell::new(None)) };
        static SECOND: AtExit = const { AtExit(RefCell::new(None)) };
    }
    unsafe extern "C" fn register_all(_: *mut c_void, _: Text, done: Completion) {
        say(done, 0, Text::of(r#"{"commands":[{"class":"raw","cmd":"now"}]}"#));
    }
    unsafe extern "C" fn call(_: *mut c_void, _: u32, _: *const Request, done: Completion) -> u64 {
        say(done, 0, Text::ABSENT);
        0
    }
    static TABLE: PluginTable = PluginTable { call: Some(call), ..table(create, register_all, destroy) };
    let harness = Arc::new(harness(&TABLE).unwrap());
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let call = move || {
        let answer = harness.call("raw", "core", "now", "{}").now_or_never();
        assert_eq!(answer.unwrap().unwrap().as_str(), "{}");
        count.fetch_add(1, Ordering::SeqCst);
    };
    // Whichever of the thread's values goes first, one of these is called when the spare requests are gone.
    std::thread::spawn(move || {
        FIRST.with(|at_exit| at_exit.0.replace(Some(Box::new(call.clone()))));
        call();
        SECOND.with(|at_exit| at_exit.0.replace(Some(Box::new(call))));
    })
    .join()
    .unwrap();
    assert_eq!(served.load(Ordering::SeqCst), 3);
}

#[test]
fn a_counter_that_is_asked_for_again_is_the_same() {
    static VIEW: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
    static HOST: AtomicPtr<Host> = AtomicPtr::new(ptr::null_mut());
    unsafe extern "C" fn create(host: *const Host, view: *mut c_void, done: Completion) -> *mut c_void {
        HOST.store(host.cast_mut(), Ordering::SeqCst);
        VIEW.store(view, Ordering::SeqCst);
        say(done, 0, Text::ABSENT);
        ptr::dangling_mut::<u8>().cast()
    }
    unsafe extern "C" fn register_all(_: *mut c_void, _: Text, done: Completion) {
        say(done, 0, Text::of(r#"{"session_observers":1}"#));
    }
    unsafe extern "C" fn session_changed(_: *mut c_void, _: u32, _: Text) {}
    static TABLE: PluginTable =
        PluginTable { session_changed: Some(session_changed), ..table(create, register_all, destroy) };
    let _harness = harness(&TABLE).unwrap();
    let number = |arguments: &str| {
        let end = at_once(|completion| {
            // SAFETY: both are from `create`, and live as long as the process.
            unsafe {
                let host = &*HOST.load(Ordering::SeqCst);
                let view = VIEW.load(Ordering::SeqCst);
                (host.ask)(view, Text::of("counter"), Text::of(arguments), ptr::null(), completion);
            }
        });
        end.into_result().unwrap().as_str().to_owned()
    };
    let [plain, labelled] = [r#"{"name":"n","help":"h"}"#, r#"{"name":"n","help":"h","labels":[["a","1"]]}"#];
    assert_eq!(
        [plain, labelled, plain, labelled].map(number),
        [0, 1, 0, 1].map(|n| format!("{{\"number\":{n}}}"))
    );
}
