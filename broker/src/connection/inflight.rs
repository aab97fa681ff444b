use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering, fence},
    },
    time::Duration,
};

use async_trait::async_trait;
use jackfield_plugin_api::{Call, Caller, Error, ErrorCode, Login, RawJson, RawObject, Result};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use super::Endpoint;
use crate::{
    codec::{CloseReason, Tid, put_ack, put_answer, put_error},
    router::{Answered, Running},
    session::Link,
    telemetry::Outcome,
};

/// A request that is not answered within this gets an ack (protocol §2).
pub(super) const FIRST_ACK: Duration = Duration::from_secs(1);

/// A handler that keeps time itself is ended when its caller was gone twice in a row, this long apart.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// What the requests of one connection have in common.
pub(super) struct Home {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) link: Arc<Link>,
    login: OnceLock<LoggedIn>,
}

/// What every request asks of the session that its connection has become, at hand. Not the session itself: requests may
/// outlive it.
pub(super) struct LoggedIn {
    caller: Arc<Caller>,
    /// When it ends by itself.
    pub(super) expires: Option<Instant>,
}

impl Home {
    pub(super) fn new(endpoint: Arc<Endpoint>, link: Arc<Link>) -> Self {
        Self { endpoint, link, login: OnceLock::new() }
    }

    /// `None` before the login.
    pub(super) fn logged_in(&self) -> Option<&LoggedIn> {
        self.login.get().or_else(|| {
            let session = self.link.session()?;
            let login = || LoggedIn { caller: Arc::clone(&session.caller), expires: session.expires };
            Some(self.login.get_or_init(login))
        })
    }

    fn caller(&self) -> Arc<Caller> {
        self.logged_in().map_or_else(|| self.link.caller(), |login| Arc::clone(&login.caller))
    }
}

/// A client's request, until it is answered.
pub(super) struct InFlight {
    home: Arc<Home>,
    caller: Arc<Caller>,
    tid: Tid,
    /// How many bytes of data it brought.
    size: usize,
    /// When the handler last acked by itself.
    acked: Mutex<Option<Instant>>,
    end_session: AtomicBool,
    relay: Mutex<Relayed>,
}

/// Whether a session answers it in the handler's place.
enum Relayed {
    No,
    /// It is handed on, and waits.
    Handed(Counted),
    /// It is answered.
    Answered,
}

impl InFlight {
    pub(super) fn new(home: &Arc<Home>, tid: Tid, size: usize) -> Self {
        Self {
            home: Arc::clone(home),
            caller: home.caller(),
            tid,
            size,
            acked: Mutex::new(None),
            end_session: AtomicBool::new(false),
            relay: Mutex::new(Relayed::No),
        }
    }

    pub(super) fn tid(&self) -> &Tid {
        &self.tid
    }

    /// Counts it among those that wait for their handlers, as long as what this gives is held.
    pub(super) fn wait_for_handler(&self) -> Waiting {
        let counted = Counted::new(&self.home, self.size, &self.home.endpoint.handlers);
        Waiting { home: Arc::clone(&self.home), counted }
    }

    /// Answers in the place of a session that has not yet done so.
    pub(super) fn end_relay(&self, error: ErrorCode) {
        self.answer_relayed(Err(error.into()));
    }

    /// It is answered, or nobody waits for that any more.
    pub(super) fn abandon(&self) {
        let before = std::mem::replace(&mut *self.relay.lock(), Relayed::Answered);
        before.leave(&self.home);
    }

    /// The same, before an answer; whether its handler has acked it by itself.
    pub(super) fn take_over(self: &mut Arc<Self>) -> bool {
        let Some(own) = Arc::get_mut(self) else {
            self.abandon();
            return self.has_acked();
        };
        // Most handlers keep nothing, and nobody else is to be shut out.
        std::mem::replace(own.relay.get_mut(), Relayed::Answered).leave(&own.home);
        own.acked.get_mut().is_some()
    }

    fn answer_relayed(&self, result: Result<RawJson>) {
        let mut relay = self.relay.lock();
        if !matches!(*relay, Relayed::Handed(_)) {
            return;
        }
        let before = std::mem::replace(&mut *relay, Relayed::Answered);
        drop(relay);
        self.queue_answer(Answered { result, unrecognized: None });
        before.leave(&self.home);
    }

    fn has_acked(&self) -> bool {
        self.acked.lock().is_some()
    }

    /// Acks a request that a session has neither answered nor acked so far.
    pub(super) fn ack_relayed(&self) {
        if !self.has_acked() {
            self.send_ack_in_time();
        }
    }

    /// An ack must not come behind its answer.
    fn send_ack_in_time(&self) {
        let relay = self.relay.lock();
        if !matches!(*relay, Relayed::Answered) {
            self.send_ack();
        }
    }

    /// Waits for a handler that could not answer at once, acks for it, ends it when it takes too long, and answers.
    pub(super) async fn run(self: Arc<Self>, _waiting: Waiting, running: Running) {
        let answered = self.supervise(running).await;
        self.abandon();
        self.queue_answer(answered);
    }

    async fn supervise(&self, Running { mode, mut work }: Running) -> Answered {
        let started = Instant::now();
        let limit = self.home.endpoint.sessions.settings.load().timeouts.handler;
        let mut first_ack = Some(started + FIRST_ACK);
        let mut abandoned = false;
        loop {
            let deadline = (!mode.keeps_own_time).then(|| self.acked.lock().unwrap_or(started) + limit);
            // Who keeps time itself is looked after from time to time: its caller may have gone.
            let look = Instant::now() + LOOK_AFTER;
            let next = first_ack.into_iter().chain(deadline).fold(look, Instant::min);
            let stopped = self.home.endpoint.stop_handlers.run_until_cancelled(timeout_at(next, &mut work));
            match stopped.await {
                Some(Ok(answered)) => return answered,
                Some(Err(_)) => {}
                None => return Error::new(ErrorCode::ShuttingDown).into(),
            }
            if mode.keeps_own_time && self.home.link.has_ended() && std::mem::replace(&mut abandoned, true) {
                return Error::new(ErrorCode::SessionStop).into();
            }
            if first_ack.take_if(|at| *at <= next).is_some() {
                if !self.has_acked() {
                    self.send_ack();
                }
            } else if !mode.keeps_own_time && self.acked.lock().unwrap_or(started) + limit <= next {
                return Answered { result: Err(ErrorCode::Timeout.into()), unrecognized: None };
            }
        }
    }

    fn send_ack(&self) {
        let limit = self.outbound_limit();
        // A connection that takes no more is closing.
        self.home.link.push_answer(limit, |out, framing| put_ack(out, framing, &self.tid)).ok();
    }

    /// Answers through the queue, behind all acks. There must be no more of them.
    pub(super) fn queue_answer(&self, answered: Answered) {
        let tid = &self.tid;
        let (ended, pushed) = match &answered.result {
            Ok(data) => (
                Outcome::Ok,
                self.home
                    .link
                    .push_answer(self.outbound_limit(), |out, framing| put_answer(out, framing, tid, data)),
            ),
            Err(error) => (
                Outcome::Error,
                self.home.link.push_answer(self.outbound_limit(), |out, framing| {
                    put_error(out, framing, Some(tid), error)
                }),
            ),
        };
        let ended = if pushed.is_ok() { ended } else { Outcome::Unanswerable };
        self.home.endpoint.sessions.metrics.requests.add(ended, 1);
        self.answered(answered);
    }

    /// Sees to what comes after an answer.
    pub(super) fn answered(&self, Answered { result, unrecognized }: Answered) {
        // protocol.md §5: the request was served.
        let unrecognized = unrecognized.filter(|_| result.is_ok());
        let ends_session = self.end_session.load(Ordering::Acquire);
        if unrecognized.is_none() && !ends_session {
            return;
        }
        let Some(session) = self.home.link.session() else { return };
        if let Some(unrecognized) = unrecognized {
            self.home.endpoint.sessions.notify_unrecognized(
                &session,
                &unrecognized.command,
                &unrecognized.fields,
            );
        }
        if ends_session {
            self.home.endpoint.sessions.close(&session, CloseReason::Stopped);
        }
    }

    fn outbound_limit(&self) -> usize {
        self.home.endpoint.sessions.settings.load().limits.outbound_bytes
    }
}

#[async_trait]
impl Call for InFlight {
    fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    fn ack(&self) {
        *self.acked.lock() = Some(Instant::now());
        self.send_ack_in_time();
    }

    fn end_session(&self) {
        self.end_session.store(true, Ordering::Release);
    }

    fn hand_on(&self) {
        let counted = Counted::new(&self.home, self.size, &self.home.endpoint.relays);
        let before = std::mem::replace(&mut *self.relay.lock(), Relayed::Handed(counted));
        before.leave(&self.home);
    }

    fn answer(&self, result: Result<RawJson>) {
        self.answer_relayed(result);
    }

    async fn login(&self, login: Login) -> Result<RawObject> {
        self.home.endpoint.sessions.login(&self.home.link, login).await
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if matches!(*self.relay.get_mut(), Relayed::Handed(_)) {
            // Nobody holds on to it any more: the session that was to answer has ended.
            let stopped = self.home.endpoint.stop_handlers.is_cancelled();
            self.end_relay(if stopped { ErrorCode::ShuttingDown } else { ErrorCode::SessionStop });
        }
    }
}

impl Relayed {
    fn leave(&self, home: &Home) {
        if let Self::Handed(counted) = self {
            counted.leave(home);
        }
    }
}

/// Counts a request among those that wait, as long as this is held.
pub(super) struct Waiting {
    home: Arc<Home>,
    counted: Counted,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.counted.leave(&self.home);
    }
}

/// A request that counts among those that wait, until it leaves them. Not when it is dropped, which would take a handle of
/// its own to the connection: whoever takes it out of a request has it leave.
struct Counted {
    size: usize,
    _tracked: TaskTrackerToken,
}

impl Counted {
    fn new(home: &Home, size: usize, tracker: &TaskTracker) -> Self {
        home.link.inflight.fetch_add(1, Ordering::AcqRel);
        home.link.inflight_bytes.fetch_add(size, Ordering::AcqRel);
        Self { size, _tracked: tracker.token() }
    }

    fn leave(&self, Home { link, .. }: &Home) {
        link.inflight_bytes.fetch_sub(self.size, Ordering::AcqRel);
        if link.inflight.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        // Either this sees that the connection is ending, or that sees that this was the last it waited for.
        fence(Ordering::SeqCst);
        if link.has_ended() {
            link.outbound.wake();
        }
    }
}
