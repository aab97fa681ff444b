use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jackfield_plugin_api::{Call, Caller, Error, ErrorCode, Login, RawObject, Result};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::Endpoint;
use crate::{
    codec::{CloseReason, Tid, put_ack, put_answer, put_error},
    router::{Answered, Running},
    session::Link,
    telemetry::Outcome,
};

/// A request that is not answered within this gets an ack (protocol §2).
const FIRST_ACK: Duration = Duration::from_secs(1);

/// A handler that keeps time itself is ended when its caller was gone twice in a row, this long apart.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// A client's request, until it is answered.
pub(super) struct InFlight {
    endpoint: Arc<Endpoint>,
    link: Arc<Link>,
    caller: Arc<Caller>,
    tid: Tid,
    /// How many bytes of data it brought.
    size: usize,
    /// When the handler last acked by itself.
    acked: Mutex<Option<Instant>>,
    end_session: AtomicBool,
}

impl InFlight {
    pub(super) fn new(endpoint: &Arc<Endpoint>, link: &Arc<Link>, tid: Tid, size: usize) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            link: Arc::clone(link),
            caller: link.caller(),
            tid,
            size,
            acked: Mutex::new(None),
            end_session: AtomicBool::new(false),
        }
    }

    pub(super) fn tid(&self) -> &Tid {
        &self.tid
    }

    /// Waits for a handler that could not answer at once, acks for it, ends it when it takes too long, and answers.
    pub(super) async fn run(self: Arc<Self>, running: Running) {
        let _waiting = Waiting::new(&self.endpoint, &self.link, self.size);
        let answered = self.supervise(running).await;
        self.queue_answer(answered);
    }

    async fn supervise(&self, Running { mode, mut work }: Running) -> Answered {
        let started = Instant::now();
        let limit = self.endpoint.sessions.settings.load().timeouts.handler;
        let mut first_ack = Some(started + FIRST_ACK);
        let mut abandoned = false;
        loop {
            let deadline = (!mode.keeps_own_time).then(|| self.acked.lock().unwrap_or(started) + limit);
            // Who keeps time itself is looked after from time to time: its caller may have gone.
            let look = Instant::now() + LOOK_AFTER;
            let next = first_ack.into_iter().chain(deadline).fold(look, Instant::min);
            let stopped = self.endpoint.stop_handlers.run_until_cancelled(timeout_at(next, &mut work));
            match stopped.await {
                Some(Ok(answered)) => return answered,
                Some(Err(_)) => {}
                None => return Error::new(ErrorCode::ShuttingDown).into(),
            }
            if mode.keeps_own_time && self.link.has_ended() && std::mem::replace(&mut abandoned, true) {
                return Error::new(ErrorCode::SessionStop).into();
            }
            if first_ack.take_if(|at| *at <= next).is_some() {
                if self.acked.lock().is_none() {
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
        self.link.push_answer(limit, |out, framing| put_ack(out, framing, &self.tid)).ok();
    }

    fn queue_answer(&self, answered: Answered) {
        let tid = &self.tid;
        let (ended, pushed) = match &answered.result {
            Ok(data) => (
                Outcome::Ok,
                self.link
                    .push_answer(self.outbound_limit(), |out, framing| put_answer(out, framing, tid, data)),
            ),
            Err(error) => (
                Outcome::Error,
                self.link.push_answer(self.outbound_limit(), |out, framing| {
                    put_error(out, framing, Some(tid), error)
                }),
            ),
        };
        let ended = if pushed.is_ok() { ended } else { Outcome::Unanswerable };
        self.endpoint.sessions.metrics.requests.add(ended, 1);
        self.answered(answered);
    }

    /// Sees to what comes after an answer.
    pub(super) fn answered(&self, Answered { result, unrecognized }: Answered) {
        let Some(session) = self.link.session() else { return };
        // protocol.md §5: the request was served.
        if let Some(unrecognized) = unrecognized.filter(|_| result.is_ok()) {
            self.endpoint.sessions.notify_unrecognized(&session, &unrecognized.command, &unrecognized.fields);
        }
        if self.end_session.load(Ordering::Acquire) {
            self.endpoint.sessions.close(&session, CloseReason::Stopped);
        }
    }

    fn outbound_limit(&self) -> usize {
        self.endpoint.sessions.settings.load().limits.outbound_bytes
    }
}

#[async_trait]
impl Call for InFlight {
    fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    fn ack(&self) {
        *self.acked.lock() = Some(Instant::now());
        self.send_ack();
    }

    fn end_session(&self) {
        self.end_session.store(true, Ordering::Release);
    }

    async fn login(&self, login: Login) -> Result<RawObject> {
        self.endpoint.sessions.login(&self.link, login).await
    }
}

/// Counts a request among those that wait, as long as it does.
struct Waiting {
    endpoint: Arc<Endpoint>,
    link: Arc<Link>,
    size: usize,
}

impl Waiting {
    fn new(endpoint: &Arc<Endpoint>, link: &Arc<Link>, size: usize) -> Self {
        endpoint.sessions.metrics.requests_pending.increment(1.0);
        Self { endpoint: Arc::clone(endpoint), link: Arc::clone(link), size }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.endpoint.sessions.metrics.requests_pending.decrement(1.0);
        self.link.inflight.fetch_sub(1, Ordering::AcqRel);
        self.link.inflight_bytes.fetch_sub(self.size, Ordering::AcqRel);
        // A connection that ends waits for the last of them.
        self.link.outbound.wake();
    }
}
