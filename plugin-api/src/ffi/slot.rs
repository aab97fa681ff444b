//! Where an answer from the other side is waited for.

use std::{
    ffi::c_void,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use super::abi::{Completion, NoText, Status, Text};
use crate::{
    error::{Error, ErrorCode, Result},
    json::RawJson,
};

/// How a piece of work of the other side ended.
#[derive(Debug)]
pub(super) enum End {
    /// With a result.
    Ok(RawJson),
    /// With an error.
    Error(Error),
    /// Somebody else is to be asked, with this where it is there.
    Continue(Option<RawJson>),
    /// It goes no further.
    Drop,
    /// It broke.
    Panic(String),
    /// It was cancelled.
    Cancelled,
}

impl End {
    /// Reads what `done` was called with.
    ///
    /// # Safety
    /// `text` must be there.
    unsafe fn read(status: u32, text: Text) -> Self {
        // SAFETY: the caller's promise.
        let (text, is_text) = match unsafe { text.read() } {
            Ok(text) => (text, true),
            Err(NoText) => (None, false),
        };
        match Status::from_number(status) {
            // Not as if it had said nothing, which would be a success.
            Some(Status::Ok | Status::Continue) if !is_text => Self::Error(ErrorCode::InternalError.into()),
            Some(Status::Ok) => {
                text.map_or_else(|| Ok(RawJson::empty()), json).map_or_else(Self::Error, Self::Ok)
            }
            Some(Status::Continue) => match text.map(json).transpose() {
                Ok(changed) => Self::Continue(changed),
                Err(error) => Self::Error(error),
            },
            Some(Status::Error) => {
                Self::Error(text.and_then(error).unwrap_or_else(|| ErrorCode::InternalError.into()))
            }
            Some(Status::Drop) => Self::Drop,
            Some(Status::Panic) => Self::Panic(text.unwrap_or("?").to_owned()),
            Some(Status::Cancelled) => Self::Cancelled,
            None => Self::Panic(format!("it answered with status {status}, which has no meaning")),
        }
    }

    /// The result, where the work can only succeed or fail. A panic goes on as a panic of the caller.
    pub(super) fn into_result(self) -> Result<RawJson> {
        match self {
            Self::Ok(data) => Ok(data),
            Self::Error(error) => Err(error),
            Self::Continue(_) | Self::Drop => Err(ErrorCode::InvalidReply.into()),
            Self::Cancelled => Err(ErrorCode::PluginUnavailable.into()),
            Self::Panic(message) => std::panic::resume_unwind(Box::new(message)),
        }
    }
}

fn json(text: &str) -> Result<RawJson> {
    if text == "{}" {
        return Ok(RawJson::empty());
    }
    RawJson::from_text(text.to_owned())
        .map_err(|error| Error::new(ErrorCode::InternalError).with_source(error))
}

fn error(text: &str) -> Option<Error> {
    RawJson::from_text(text.to_owned()).ok().and_then(Error::verbatim)
}

/// Waits for one answer.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    end: Option<End>,
    waker: Option<Waker>,
}

impl Slot {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Waiting { end: None, waker: None }))
    }

    /// The answer, where it is there.
    pub(super) fn take(&self) -> Option<End> {
        self.0.lock().end.take()
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<End> {
        let mut waiting = self.0.lock();
        if let Some(end) = waiting.end.take() {
            return Poll::Ready(end);
        }
        match &mut waiting.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn put(&self, end: End) {
        let waker = {
            let mut waiting = self.0.lock();
            waiting.end = Some(end);
            waiting.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Something that holds a slot and is kept alive until the slot is filled.
pub(super) trait HoldsSlot: Send + Sync + 'static {
    /// The slot.
    fn slot(&self) -> &Slot;

    /// The other side is still at work.
    fn progress(&self) {}
}

impl HoldsSlot for Slot {
    fn slot(&self) -> &Slot {
        self
    }
}

/// The completion that fills the slot in `holder`.
pub(super) fn completion<H: HoldsSlot>(holder: &Arc<H>) -> Completion {
    Completion {
        ctx: Arc::into_raw(Arc::clone(holder)).cast_mut().cast(),
        done: done::<H>,
        progress: Some(progress::<H>),
    }
}

unsafe extern "C" fn done<H: HoldsSlot>(ctx: *mut c_void, status: u32, result: Text) {
    // SAFETY: `ctx` is from `completion`, and the ABI says that this is called once.
    let holder = unsafe { Arc::from_raw(ctx.cast_const().cast::<H>()) };
    // SAFETY: the ABI says that the text is there for the time of the call.
    let end = unsafe { End::read(status, result) };
    holder.slot().put(end);
}

unsafe extern "C" fn progress<H: HoldsSlot>(ctx: *mut c_void) {
    // SAFETY: `ctx` is from `completion`, and the ABI says that `done` was not called yet.
    unsafe { &*ctx.cast_const().cast::<H>() }.progress();
}

/// Does work on the other side that is answered before it returns.
pub(super) fn at_once(work: impl FnOnce(Completion)) -> End {
    let slot = Arc::new(Slot::default());
    work(completion(&slot));
    slot.take().unwrap_or_else(|| End::Panic("it did not answer at once".to_owned()))
}

/// Waits for the end of work on the other side; to drop it cancels the work.
pub(super) struct Wait<H: HoldsSlot, C: FnMut(u64)> {
    holder: Arc<H>,
    work: u64,
    cancel: C,
    ended: bool,
}

impl<H: HoldsSlot, C: FnMut(u64)> Wait<H, C> {
    /// Waits for `work`, which fills the slot in `holder`.
    pub(super) fn new(holder: Arc<H>, work: u64, cancel: C) -> Self {
        Self { holder, work, cancel, ended: false }
    }
}

impl<H: HoldsSlot, C: FnMut(u64) + Unpin> Future for Wait<H, C> {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let end = std::task::ready!(self.holder.slot().poll(cx));
        self.ended = true;
        Poll::Ready(end)
    }
}

impl<H: HoldsSlot, C: FnMut(u64)> Drop for Wait<H, C> {
    fn drop(&mut self) {
        if !self.ended && self.work != 0 {
            (self.cancel)(self.work);
        }
    }
}

/// A completion that is owed to the other side: dropped without an answer, the work counts as cancelled.
#[derive(Debug)]
pub(super) struct Owed(Option<Completion>);

impl Owed {
    pub(super) fn new(completion: Completion) -> Self {
        Self(Some(completion))
    }

    /// The other side is to know that the work goes on.
    pub(super) fn progress(&self) {
        let Some((completion, progress)) = self.0.and_then(|owed| Some((owed, owed.progress?))) else {
            return;
        };
        // SAFETY: `done` was not called yet: whoever calls it takes the completion away.
        unsafe { progress(completion.ctx) };
    }

    /// Owes nothing.
    #[cfg(feature = "host")]
    pub(super) const fn nobody() -> Self {
        Self(None)
    }

    pub(super) fn panicked(self, panic: &(dyn std::any::Any + Send)) {
        self.end(Status::Panic, Some(panic_message(panic)));
    }

    pub(super) fn ok(self, result: &RawJson) {
        self.end(Status::Ok, Some(result.as_str()));
    }

    pub(super) fn error(self, error: &Error) {
        self.end(Status::Error, Some(error.to_json().as_str()));
    }

    pub(super) fn result(self, result: Result<RawJson>) {
        match result {
            Ok(data) => self.ok(&data),
            Err(error) => self.error(&error),
        }
    }

    pub(super) fn end(mut self, status: Status, result: Option<&str>) {
        self.call(status, result);
    }

    fn call(&mut self, status: Status, result: Option<&str>) {
        let Some(completion) = self.0.take() else { return };
        // SAFETY: called once, for the completion is taken.
        unsafe { (completion.done)(completion.ctx, status as u32, Text::of_some(result)) };
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.call(Status::Cancelled, None);
    }
}

/// The text of a caught panic.
pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?")
}
