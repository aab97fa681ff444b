//! A request from the broker, on its way to a handler of the plugin.

use std::{
    cell::RefCell,
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    task::{Context as TaskContext, Poll, Waker},
};

use async_trait::async_trait;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::runtime::{EnterGuard, Runtime};

use super::{asking::Broker, instance::Instance};
use crate::{
    auth::Login,
    context::{Call, Context},
    error::{Error, ErrorCode, Result},
    ffi::{
        abi::{self, Status},
        slot::{Owed, at_once},
        wire::{CallerText, ContinueText, LoginText, read},
    },
    json::{RawJson, RawObject},
    message::{Answer, CommandKey, Outcome, Request},
    session::{Caller, Identity, SessionId, UserId, Who},
};

/// A request, as its handler's context knows it. The broker's side of it ends with the answer; contexts may outlive
/// that.
pub(super) struct GuestCall {
    broker: Option<Arc<Broker>>,
    raw: Mutex<Option<Raw>>,
    caller: OnceLock<Arc<Caller>>,
}

/// The broker's side of a request that is not answered yet.
#[derive(Clone, Copy)]
struct Raw {
    call: *const c_void,
    caller: *const abi::Caller,
}

// SAFETY: the ABI says that a request may be used from any thread.
unsafe impl Send for Raw {}

thread_local! {
    /// The last call that nobody needed any more: most requests are answered before the next one comes.
    static SPARE: RefCell<Option<Arc<GuestCall>>> = const { RefCell::new(None) };
}

/// Whether this thread's last call left nothing behind, and the next one takes its place.
#[cfg(test)]
pub(in crate::ffi) fn has_spare() -> bool {
    SPARE.with_borrow(Option::is_some)
}

impl GuestCall {
    fn take(broker: &Arc<Broker>, request: &abi::Request) -> Arc<Self> {
        let raw = Mutex::new(Some(Raw { call: request.call, caller: request.caller }));
        let fresh = Self { broker: Some(Arc::clone(broker)), raw, caller: OnceLock::new() };
        let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.take()).ok().flatten();
        let Some(mut spare) = spare else { return Arc::new(fresh) };
        match Arc::get_mut(&mut spare) {
            Some(place) => *place = fresh,
            None => return Arc::new(fresh),
        }
        spare
    }

    /// Nobody uses the broker's side any more after this. A context that lives on still knows the caller.
    fn finish(self: Arc<Self>) {
        if Arc::strong_count(&self) > 1 {
            self.caller();
        }
        *self.raw.lock() = None;
        let mut own = self;
        let Some(call) = Arc::get_mut(&mut own) else { return };
        let left = (call.broker.take(), call.caller.take());
        // Not while the cell is borrowed: whatever is dropped may come back here.
        drop(left);
        // A thread that is ending keeps nothing.
        SPARE.try_with(|spare| spare.replace(Some(own))).ok();
    }

    /// Does something with the broker's side, as long as there is one.
    fn with<T>(&self, work: impl FnOnce(&Broker, Raw) -> T) -> Option<T> {
        let raw = self.raw.lock();
        let broker = self.broker.as_ref()?;
        raw.map(|raw| work(broker, raw))
    }

    fn find_caller(&self) -> Result<Caller> {
        let found = self.with(|broker, raw| {
            // SAFETY: the request is not answered yet, so its caller is there.
            let caller = unsafe { &*raw.caller };
            if caller.flags & abi::MORE == 0 {
                // SAFETY: as above, its texts too.
                return unsafe { plain_caller(caller) };
            }
            // SAFETY: as above; it answers at once.
            let told = at_once(|completion| unsafe { (broker.host.caller)(raw.call, completion) });
            read::<CallerText>(&told.into_result()?)?.try_into()
        });
        found.unwrap_or_else(|| Err(ErrorCode::InvalidOperation.into()))
    }
}

/// # Safety
/// All that `caller` points to is there.
unsafe fn plain_caller(caller: &abi::Caller) -> Result<Caller> {
    // SAFETY: the caller's promise.
    let (service, remote, user, session_id) =
        unsafe { (caller.service.get(), caller.remote.get(), caller.user.get(), caller.session_id.get()) };
    let who = match caller.who {
        1 => Who::Session(Identity {
            user: UserId::new(user.unwrap_or_default())?,
            session_id: SessionId::new(session_id.unwrap_or_default())?,
            administrator: caller.flags & abi::ADMINISTRATOR != 0,
            permissions: None,
        }),
        2 => Who::Plugin,
        _ => Who::Anonymous,
    };
    let (service, remote) = (service.unwrap_or_default().into(), remote.unwrap_or_default().into());
    // Where there is a certificate, there is more to tell than this.
    Ok(Caller { connection: caller.connection, service, remote, certificate: None, who })
}

#[async_trait]
impl Call for GuestCall {
    fn caller(&self) -> &Arc<Caller> {
        self.caller.get_or_init(|| {
            let nobody = || Caller {
                connection: 0,
                service: "".into(),
                remote: "".into(),
                certificate: None,
                who: Who::Anonymous,
            };
            Arc::new(self.find_caller().unwrap_or_else(|_| nobody()))
        })
    }

    fn ack(&self) {
        // SAFETY: the request is not answered yet.
        self.with(|broker, raw| unsafe { (broker.host.ack)(raw.call) });
    }

    fn end_session(&self) {
        // SAFETY: the request is not answered yet.
        self.with(|broker, raw| unsafe { (broker.host.end_session)(raw.call) });
    }

    async fn login(&self, login: Login) -> Result<RawObject> {
        let arguments = LoginText::write(&login)?;
        let asked = self.with(|broker, raw| broker.ask_in(raw.call, "login", &arguments));
        let (Some(asked), Some(_)) = (asked, &self.broker) else {
            return Err(ErrorCode::InvalidOperation.into());
        };
        RawObject::parse(&asked.await.into_result()?).map_err(Error::syntax)
    }
}

/// Serves a request: the handler is polled once in place, and goes on by itself where it has to wait.
///
/// # Safety
/// `request` and all it points to is there until what is owed is paid.
pub(super) unsafe fn serve(instance: &Instance, index: u32, request: *const abi::Request, owed: Owed) -> u64 {
    // SAFETY: the caller's promise.
    let laid_out = unsafe { &*request };
    let Some(command) = instance.command(index) else {
        owed.error(&ErrorCode::UnknownCommand.into());
        return 0;
    };
    // SAFETY: as above.
    let [class, subclass, cmd, data] =
        [laid_out.class, laid_out.subclass, laid_out.cmd, laid_out.data].map(|text| unsafe { text.get() });
    let names =
        CommandRef { class: class.unwrap_or(""), subclass: subclass.unwrap_or(""), cmd: cmd.unwrap_or("") };
    let key = names.shared(&command.key);
    let request = Request { command: Arc::clone(&key), data: RawJson::copy_of_valid(data.unwrap_or("{}")) };
    let call = GuestCall::take(&instance.host, laid_out);
    let context = Context::new(Arc::clone(&call) as _, Arc::clone(&instance.shown_host));
    let handler = Arc::clone(&command.handler);
    let serving = Serving { call: Some(call), owed: Some(owed), asked: key };
    let runtime = match instance.runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            drop(context);
            serving.end(Err(error));
            return 0;
        }
    };
    // A handler that is no async function may want the runtime before it gives its future.
    let inside = runtime.enter();
    let entered = catch_unwind(AssertUnwindSafe(|| handler.call(context.clone(), request)));
    match entered {
        Ok(work) => run(instance, runtime, inside, work, context, serving),
        Err(panic) => {
            drop(context);
            serving.panicked(&*panic);
            0
        }
    }
}

struct CommandRef<'a> {
    class: &'a str,
    subclass: &'a str,
    cmd: &'a str,
}

impl CommandRef<'_> {
    /// The command's own key, unless the caller wrote other names.
    fn shared(&self, own: &Arc<CommandKey>) -> Arc<CommandKey> {
        if *own.cmd == *self.cmd && *own.subclass == *self.subclass && *own.class == *self.class {
            return Arc::clone(own);
        }
        Arc::new(CommandKey::new(self.class, self.subclass, self.cmd))
    }
}

fn run(
    instance: &Instance,
    runtime: &Runtime,
    inside: EnterGuard<'_>,
    mut work: BoxFuture<'static, Outcome>,
    context: Context,
    serving: Serving,
) -> u64 {
    if instance.blocks() {
        let end = catch_unwind(AssertUnwindSafe(|| runtime.block_on(without_relay(work, context))));
        serving.ended(end);
        return 0;
    }
    let polled =
        catch_unwind(AssertUnwindSafe(|| work.poll_unpin(&mut TaskContext::from_waker(Waker::noop()))));
    match polled {
        Ok(Poll::Pending) => {
            drop(inside);
            let work = without_relay(work, context);
            instance.spawn(async move { serving.ended(AssertUnwindSafe(work).catch_unwind().await) })
        }
        Ok(Poll::Ready(Ok(Answer::Relay(relay)))) => {
            drop(inside);
            let waited = async move { relay.wait(&context).await };
            instance.spawn(async move { serving.ended(AssertUnwindSafe(waited).catch_unwind().await) })
        }
        Ok(Poll::Ready(outcome)) => {
            // What a handler leaves behind may panic, too.
            let left = catch_unwind(AssertUnwindSafe(|| drop(work)));
            // Before it is looked whether the handler has kept one.
            drop(context);
            serving.ended(left.map(|()| outcome));
            0
        }
        Err(panic) => {
            // It panicked already: that is what the broker hears of.
            catch_unwind(AssertUnwindSafe(|| drop(work))).ok();
            drop(context);
            serving.panicked(&*panic);
            0
        }
    }
}

/// Waits itself where the broker would hand on an answer: that does not cross the boundary.
async fn without_relay(work: BoxFuture<'static, Outcome>, context: Context) -> Outcome {
    match work.await {
        Ok(Answer::Relay(relay)) => relay.wait(&context).await,
        other => other,
    }
}

/// A request that is being served. However that ends, it is answered, and the broker's side is let go before that.
struct Serving {
    call: Option<Arc<GuestCall>>,
    owed: Option<Owed>,
    asked: Arc<CommandKey>,
}

impl Serving {
    fn ended(self, end: std::thread::Result<Outcome>) {
        match end {
            Ok(outcome) => self.end(outcome),
            Err(panic) => self.panicked(&*panic),
        }
    }

    fn settle(&mut self) -> Option<Owed> {
        if let Some(call) = self.call.take() {
            call.finish();
        }
        self.owed.take()
    }

    fn end(mut self, outcome: Outcome) {
        let Some(owed) = self.settle() else { return };
        match outcome {
            Ok(Answer::Reply(data)) => owed.ok(&data),
            Ok(Answer::Continue(request)) => self.hand_on(&request, owed),
            Ok(Answer::Relay(_)) => owed.error(&ErrorCode::NotImplemented.into()),
            Err(error) => owed.error(&error),
        }
    }

    fn hand_on(&self, request: &Request, owed: Owed) {
        let renamed = *request.command != *self.asked;
        let name = |name: &str| renamed.then(|| name.into());
        let changed = ContinueText {
            class: name(&request.command.class),
            subclass: name(&request.command.subclass),
            cmd: name(&request.command.cmd),
            data: Some(request.data.clone()),
        };
        match RawJson::from_value(&changed) {
            Ok(changed) => owed.end(Status::Continue, Some(changed.as_str())),
            Err(error) => owed.error(&error),
        }
    }

    fn panicked(mut self, panic: &(dyn std::any::Any + Send)) {
        if let Some(owed) = self.settle() {
            owed.panicked(panic);
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Cancelled.
        drop(self.settle());
    }
}
