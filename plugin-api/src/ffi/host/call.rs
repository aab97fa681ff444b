//! One request on its way through a library.

use std::{cell::RefCell, ffi::c_void, future::Future, pin::Pin, ptr, sync::Arc, task::Poll};

use super::{adapters::LibraryHandler, instance::Instance};
use crate::{
    context::{Call, Context},
    error::{Error, ErrorCode},
    ffi::{
        abi::{self, Text},
        slot::{End, HoldsSlot, Slot, completion},
        wire::{ContinueText, read},
    },
    message::{Answer, CommandKey, Outcome, Request},
    session::{Caller, Who},
};

/// A request, laid out for the library, and the place for its answer. The library's `struct jackfield_call`.
pub(super) struct State {
    slot: Slot,
    request: abi::Request,
    caller: abi::Caller,
    held: Option<Held>,
}

/// What the pointers in a [`State`] point to.
struct Held {
    call: Arc<dyn Call>,
    request: Request,
    handler: Arc<LibraryHandler>,
}

// SAFETY: the pointers are to what is held, which any thread may use.
unsafe impl Send for State {}
// SAFETY: likewise; only the slot changes while it is shared.
unsafe impl Sync for State {}

impl HoldsSlot for State {
    fn slot(&self) -> &Slot {
        &self.slot
    }
}

thread_local! {
    /// The last state that nobody needed any more: most requests are answered before the next one comes, so a thread
    /// needs one.
    static SPARE: RefCell<Option<Arc<State>>> = const { RefCell::new(None) };
}

impl State {
    const fn new() -> Self {
        const NO: Text = Text::ABSENT;
        let caller = abi::Caller {
            connection: 0,
            who: 0,
            flags: 0,
            service: NO,
            remote: NO,
            user: NO,
            session_id: NO,
        };
        let request = abi::Request {
            call: ptr::null(),
            caller: ptr::null(),
            class: NO,
            subclass: NO,
            cmd: NO,
            data: NO,
        };
        Self { slot: Slot::new(), request, caller, held: None }
    }

    fn take(held: Held) -> Arc<Self> {
        let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.take()).ok().flatten();
        let mut state = spare.unwrap_or_else(|| Arc::new(Self::new()));
        let address = Arc::as_ptr(&state);
        if let Some(state) = Arc::get_mut(&mut state) {
            state.fill(held, address);
        }
        state
    }

    fn fill(&mut self, held: Held, address: *const Self) {
        self.caller = describe(held.call.caller());
        let CommandKey { class, subclass, cmd } = &*held.request.command;
        self.request = abi::Request {
            call: address.cast(),
            // SAFETY: it is the address of this.
            caller: unsafe { &raw const (*address).caller },
            class: Text::of(class),
            subclass: Text::of(subclass),
            cmd: Text::of(cmd),
            data: Text::of(held.request.data.as_str()),
        };
        self.held = Some(held);
    }

    /// Keeps a state for the next request, unless somebody still has it.
    fn give_back(mut self: Arc<Self>) {
        let Some(state) = Arc::get_mut(&mut self) else { return };
        let held = state.held.take();
        // Not while the cell is borrowed: whatever is dropped may come back here.
        drop(held);
        // A thread that is ending keeps nothing.
        SPARE.try_with(|spare| spare.replace(Some(self))).ok();
    }

    /// The request that the library means by `call`.
    ///
    /// # Safety
    /// `call` is null, or a request whose completion was not called yet.
    pub(super) unsafe fn of<'a>(call: *const c_void) -> Option<&'a Arc<dyn Call>> {
        // SAFETY: the caller's promise.
        let state = unsafe { call.cast::<Self>().as_ref() }?;
        state.held.as_ref().map(|held| &held.call)
    }
}

fn describe(caller: &Caller) -> abi::Caller {
    let identity = caller.identity();
    let administrator = identity.is_some_and(|identity| identity.administrator);
    let more =
        caller.certificate.is_some() || identity.is_some_and(|identity| identity.permissions.is_some());
    abi::Caller {
        connection: caller.connection,
        who: match caller.who {
            Who::Anonymous => 0,
            Who::Session(_) => 1,
            Who::Plugin => 2,
        },
        flags: if administrator { abi::ADMINISTRATOR } else { 0 } | if more { abi::MORE } else { 0 },
        service: Text::of(&caller.service),
        remote: Text::of(&caller.remote),
        user: Text::of_some(identity.map(|identity| identity.user.as_str())),
        session_id: Text::of_some(identity.map(|identity| identity.session_id.as_str())),
    }
}

/// A request in a library, until it is answered.
pub(super) struct InLibrary {
    state: Option<Arc<State>>,
    work: u64,
}

impl InLibrary {
    /// Calls the library. It may answer before this returns.
    pub(super) fn enter(handler: Arc<LibraryHandler>, cx: &Context, request: Request) -> Result<Self, Error> {
        let instance = Arc::clone(&handler.instance);
        instance.usable()?;
        let call = instance.table.call.ok_or_else(|| instance.unavailable())?;
        let index = handler.index;
        let state = State::take(Held { call: Arc::clone(cx.call()), request, handler });
        // SAFETY: the instance is not destroyed, for the state holds it; the request lives until the completion is
        // called, for the completion holds the state.
        let work = unsafe { call(instance.raw, index, &raw const state.request, completion(&state)) };
        Ok(Self { state: Some(state), work })
    }

    fn ended(&mut self, end: End) -> Outcome {
        let Some(state) = self.state.take() else { return Err(ErrorCode::InternalError.into()) };
        let outcome = state.outcome(end);
        state.give_back();
        match outcome {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(Box::new(panic)),
        }
    }
}

impl State {
    /// The outcome, or the message of a panic.
    fn outcome(&self, end: End) -> Result<Outcome, String> {
        let Some(Held { request, handler, .. }) = &self.held else {
            return Ok(Err(ErrorCode::InternalError.into()));
        };
        Ok(match handler.instance.caught(end) {
            End::Ok(data) => Ok(Answer::Reply(data)),
            End::Error(error) => Err(error),
            End::Continue(None) => Ok(Answer::Continue(request.clone())),
            End::Continue(Some(changed)) => {
                read(&changed).map(|changed| Answer::Continue(merge(request, changed)))
            }
            End::Drop => Err(ErrorCode::InvalidReply.into()),
            End::Cancelled => Err(handler.instance.unavailable()),
            End::Panic(message) => return Err(message),
        })
    }
}

/// What of a request a handler changed.
fn merge(request: &Request, changed: ContinueText) -> Request {
    let ContinueText { class, subclass, cmd, data } = changed;
    let data = data.unwrap_or_else(|| request.data.clone());
    if class.is_none() && subclass.is_none() && cmd.is_none() {
        return Request { command: Arc::clone(&request.command), data };
    }
    let before = CommandKey::clone(&request.command);
    let key = CommandKey {
        class: class.unwrap_or(before.class),
        subclass: subclass.unwrap_or(before.subclass),
        cmd: cmd.unwrap_or(before.cmd),
    };
    Request { command: Arc::new(key), data }
}

impl Future for InLibrary {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Outcome> {
        let Some(state) = &self.state else { return Poll::Ready(Err(ErrorCode::InternalError.into())) };
        let end = std::task::ready!(state.slot.poll(cx));
        Poll::Ready(self.ended(end))
    }
}

impl Drop for InLibrary {
    fn drop(&mut self) {
        let Some(state) = self.state.take() else { return };
        if state.slot.take().is_none()
            && self.work != 0
            && let Some(held) = &state.held
        {
            Instance::cancel(&held.handler.instance, self.work);
        }
    }
}
