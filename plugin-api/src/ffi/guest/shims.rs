//! The functions of the C ABI. No panic leaves them.

use std::{
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::Arc,
    time::Duration,
};

use tracing::Level;

use super::{Export, asking::Broker, call, instance::Instance, log as lines};
use crate::{
    error::{Error, ErrorCode, Result},
    event::{Event, Filtered, ServiceScope, Topic},
    ffi::{
        abi::{self, Completion, Status, Text},
        slot::{Owed, panic_message},
        wire::{
            ActionText, CallerText, EventText, LineText, LoginText, ManifestText, RecordText, RulingText,
            SessionText, VerdictText, read,
        },
    },
    json::RawJson,
    log::BrokerRecord,
    session::Caller,
};

/// Answers at once; a panic is an answer, too.
fn answer(completion: Completion, work: impl FnOnce() -> Result<RawJson>) {
    let owed = Owed::new(completion);
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => owed.result(result),
        Err(panic) => owed.panicked(&*panic),
    }
}

/// Starts work that answers later; a panic on the way is the answer.
fn start(completion: Completion, work: impl FnOnce(Owed) -> u64) -> u64 {
    let mut owed = Some(Owed::new(completion));
    let started = catch_unwind(AssertUnwindSafe(|| owed.take().map(work)));
    match started {
        Ok(number) => number.unwrap_or_default(),
        // Whoever had it has let go of it, which paid it.
        Err(_) => 0,
    }
}

/// Does what has no answer.
fn quietly(what: &str, work: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        lines::write(Level::ERROR, "panic", &format!("a panic in {what}: {}", panic_message(&*panic)), None);
        std::mem::forget(panic);
    }
}

/// # Safety
/// `instance` is from `create`, and `destroy` was not called with it.
unsafe fn instance<'a>(instance: *mut c_void) -> &'a Instance {
    // SAFETY: the caller's promise.
    unsafe { &*instance.cast_const().cast::<Instance>() }
}

/// JSON of the broker.
///
/// # Safety
/// `text` is there for the time of the call.
unsafe fn json(text: Text) -> RawJson {
    // SAFETY: the caller's promise.
    RawJson::copy_of_valid(unsafe { text.get() }.unwrap_or("{}"))
}

pub(super) unsafe extern "C" fn manifest<E: Export>(completion: Completion) {
    answer(completion, || {
        let manifest = E::plugin().manifest();
        let (name, version, about) = (manifest.name, manifest.version, manifest.about);
        let (depends, config_schema, exec) = (manifest.depends, manifest.config_schema, manifest.exec);
        RawJson::from_value(&ManifestText { name, version, about, depends, config_schema, exec })
    });
}

pub(super) unsafe extern "C" fn create<E: Export>(
    host: *const abi::Host,
    broker: *mut c_void,
    completion: Completion,
) -> *mut c_void {
    let mut made = ptr::null_mut();
    answer(completion, || {
        // SAFETY: the ABI says that the host's table lives as long as the process.
        let host: &'static abi::Host = unsafe { &*host };
        let plugin = E::plugin();
        lines::forward(host, &plugin.manifest().name);
        // SAFETY: both are from the broker.
        let broker = unsafe { Broker::new(host, broker)? };
        made = Box::into_raw(Box::new(Instance::new(plugin, Arc::new(broker)))).cast();
        Ok(RawJson::empty())
    });
    made
}

pub(super) unsafe extern "C" fn register_all(raw: *mut c_void, config: Text, completion: Completion) {
    // SAFETY: the ABI says so of both.
    let (instance, config) = unsafe { (instance(raw), json(config)) };
    answer(completion, || instance.register(&config));
}

pub(super) unsafe extern "C" fn call(
    raw: *mut c_void,
    index: u32,
    request: *const abi::Request,
    completion: Completion,
) -> u64 {
    // SAFETY: the ABI says so.
    let instance = unsafe { instance(raw) };
    // SAFETY: the ABI says that the request is there until it is answered.
    start(completion, |owed| unsafe { call::serve(instance, index, request, owed) })
}

pub(super) unsafe extern "C" fn authenticate(
    raw: *mut c_void,
    index: u32,
    login: Text,
    caller: Text,
    completion: Completion,
) -> u64 {
    // SAFETY: the ABI says so of all of them.
    let (instance, login, caller) = unsafe { (instance(raw), json(login), json(caller)) };
    start(completion, |owed| {
        let parts = || -> Result<_> {
            let authenticator = instance.registered()?.authenticators.get(index as usize).map(Arc::clone);
            let caller: Caller = read::<CallerText>(&caller)?.try_into()?;
            Ok((authenticator.ok_or(ErrorCode::InvalidOperation)?, LoginText::parse(&login)?, caller))
        };
        match parts() {
            Ok((authenticator, login, caller)) => instance.answer_later(owed, async move {
                RawJson::from_value(&VerdictText::from(&authenticator.authenticate(&login, &caller).await))
            }),
            Err(error) => refuse(owed, &error),
        }
    })
}

fn refuse(owed: Owed, error: &Error) -> u64 {
    owed.error(error);
    0
}

pub(super) unsafe extern "C" fn authorize(
    raw: *mut c_void,
    index: u32,
    caller: Text,
    action: Text,
    completion: Completion,
) -> u64 {
    // SAFETY: the ABI says so of all of them.
    let (instance, caller, action) = unsafe { (instance(raw), json(caller), json(action)) };
    start(completion, |owed| {
        let parts = || -> Result<_> {
            let authorizer = instance.registered()?.authorizers.get(index as usize).map(Arc::clone);
            let caller: Caller = read::<CallerText>(&caller)?.try_into()?;
            let action: crate::permission::Action = read::<ActionText>(&action)?.into();
            Ok((authorizer.ok_or(ErrorCode::InvalidOperation)?, Arc::new(caller), action))
        };
        match parts() {
            Ok((authorizer, caller, action)) => instance.answer_later(owed, async move {
                RawJson::from_value(&RulingText::from(&authorizer.authorize(&caller, &action).await))
            }),
            Err(error) => refuse(owed, &error),
        }
    })
}

/// # Safety
/// All that `event` points to is there.
unsafe fn event_of(event: &abi::Event) -> Event {
    // SAFETY: the caller's promise.
    let some = |text: Text| unsafe { text.get() }.map(Into::into);
    let topic = Topic {
        class: some(event.class).unwrap_or_default(),
        subclass: some(event.subclass),
        kind: some(event.kind),
        obj_id: some(event.obj_id),
    };
    // SAFETY: the caller's promise.
    let (service, body) = unsafe { (ServiceScope::from_wire(event.service.get()), json(event.body)) };
    Event { topic, service, body }
}

pub(super) unsafe extern "C" fn filter_event(
    raw: *mut c_void,
    index: u32,
    when: u32,
    event: *const abi::Event,
    about: Text,
    completion: Completion,
) {
    // SAFETY: the ABI says so of all of them.
    let (instance, event, about) = unsafe { (instance(raw), event_of(&*event), json(about)) };
    let owed = Owed::new(completion);
    let filter = || -> Result<Filtered> {
        let filter =
            instance.registered()?.event_filters.get(index as usize).ok_or(ErrorCode::InvalidOperation)?;
        let _inside = instance.runtime()?.enter();
        Ok(match when {
            0 => filter.fired(&event),
            1 => filter.delivering(&event, &read::<SessionText>(&about)?.into()),
            _ => {
                filter.received(&event, &read::<CallerText>(&about)?.try_into()?);
                Filtered::Pass
            }
        })
    };
    match catch_unwind(AssertUnwindSafe(filter)) {
        Ok(Ok(Filtered::Pass)) => owed.end(Status::Continue, None),
        Ok(Ok(Filtered::Drop)) => owed.end(Status::Drop, None),
        Ok(Ok(Filtered::Replace(event))) => match RawJson::from_value(&EventText::from(&event)) {
            Ok(text) => owed.end(Status::Continue, Some(text.as_str())),
            Err(error) => owed.error(&error),
        },
        Ok(Err(error)) => owed.error(&error),
        Err(panic) => owed.panicked(&*panic),
    }
}

pub(super) unsafe extern "C" fn session_changed(raw: *mut c_void, index: u32, change: Text) {
    // SAFETY: the ABI says so of both.
    let (instance, change) = unsafe { (instance(raw), json(change)) };
    quietly("a session observer", || {
        let observer = instance.registered().ok().and_then(|all| all.session_observers.get(index as usize));
        let (Some(observer), Ok(change), Ok(runtime)) =
            (observer, read::<SessionText>(&change), instance.runtime())
        else {
            return;
        };
        let _inside = runtime.enter();
        observer.session_changed(&change.into());
    });
}

pub(super) unsafe extern "C" fn log(raw: *mut c_void, index: u32, record: Text, completion: Completion) {
    // SAFETY: the ABI says so of both.
    let (instance, record) = unsafe { (instance(raw), json(record)) };
    answer(completion, || {
        let sink = instance.registered()?.log_sinks.get(index as usize).ok_or(ErrorCode::InvalidOperation)?;
        let _inside = instance.runtime()?.enter();
        sink.log(&read::<RecordText>(&record)?.try_into()?).map(|()| RawJson::empty())
    });
}

pub(super) unsafe extern "C" fn run(raw: *mut c_void, index: u32, completion: Completion) -> u64 {
    // SAFETY: the ABI says so.
    let instance = unsafe { instance(raw) };
    start(completion, |owed| {
        let service =
            instance.registered().ok().and_then(|all| all.services.get(index as usize)).map(Arc::clone);
        let Some(service) = service else { return refuse(owed, &ErrorCode::InvalidOperation.into()) };
        let (host, stop) = (Arc::clone(&instance.shown_host), instance.stop.clone());
        instance.answer_later(owed, async move { service.run(host, stop).await.map(|()| RawJson::empty()) })
    })
}

pub(super) unsafe extern "C" fn broker_log(raw: *mut c_void, index: u32, line: Text) {
    // SAFETY: the ABI says so of both.
    let (instance, line) = unsafe { (instance(raw), json(line)) };
    quietly("a sink of the broker's log", || {
        let sink = instance.registered().ok().and_then(|all| all.broker_log_sinks.get(index as usize));
        let line = read::<LineText>(&line).and_then(BrokerRecord::try_from);
        let (Some(sink), Ok(line), Ok(runtime)) = (sink, line, instance.runtime()) else { return };
        let _inside = runtime.enter();
        sink.record(&line);
    });
}

pub(super) unsafe extern "C" fn stop(raw: *mut c_void, milliseconds: u64) {
    // SAFETY: the ABI says so.
    let instance = unsafe { instance(raw) };
    quietly("stop", || match milliseconds {
        0 => instance.stop.request(),
        left => instance.stop.request_within(Duration::from_millis(left)),
    });
}

pub(super) unsafe extern "C" fn cancel(raw: *mut c_void, work: u64) {
    // SAFETY: the ABI says so.
    let instance = unsafe { instance(raw) };
    quietly("cancel", || instance.cancel(work));
}

pub(super) unsafe extern "C" fn destroy(raw: *mut c_void) {
    // SAFETY: it is from `create`, and the ABI says that this is the last call with it.
    let instance = unsafe { Box::from_raw(raw.cast::<Instance>()) };
    quietly("destroy", || instance.end());
}
