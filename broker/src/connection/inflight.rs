use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jackfield_plugin_api::{Call, Caller, ErrorCode, Login, RawObject, Result};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::Endpoint;
use crate::{
    codec::{CloseReason, Tid, put_ack, put_answer, put_error},
    router::{Answered, Running, Unrecognized},
    session::Link,
    telemetry::Outcome,
};

/// A request that is not answered within this gets an ack (protocol §2).
const FIRST_ACK: Duration = Duration::from_secs(1);

/// A client's request, until it is answered.
pub(super) struct InFlight {
    endpoint: Arc<Endpoint>,
    link: Arc<Link>,
    caller: Arc<Caller>,
    tid: Tid,
    /// When the handler last acked by itself.
    acked: Mutex<Option<Instant>>,
    end_session: AtomicBool,
}

impl InFlight {
    pub(super) fn new(endpoint: &Arc<Endpoint>, link: &Arc<Link>, tid: Tid) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            link: Arc::clone(link),
            caller: Arc::clone(link.caller()),
            tid,
            acked: Mutex::new(None),
            end_session: AtomicBool::new(false),
        }
    }

    pub(super) fn tid(&self) -> &Tid {
        &self.tid
    }

    /// Waits for a handler that could not answer at once, acks for it, ends it when it takes too long, and answers.
    pub(super) async fn run(self: Arc<Self>, running: Running) {
        let _waiting = Waiting::new(&self.endpoint, &self.link);
        let answered = self.supervise(running).await;
        self.queue_answer(answered);
    }

    async fn supervise(&self, Running { mode, mut work }: Running) -> Answered {
        let started = Instant::now();
        let limit = self.endpoint.sessions.settings.load().timeouts.handler;
        let mut first_ack = Some(started + FIRST_ACK);
        loop {
            let deadline = (!mode.keeps_own_time).then(|| self.acked.lock().unwrap_or(started) + limit);
            let Some(next) = first_ack.into_iter().chain(deadline).min() else { return work.await };
            if let Ok(answered) = timeout_at(next, &mut work).await {
                return answered;
            }
            if first_ack.take_if(|at| *at <= next).is_some() {
                if self.acked.lock().is_none() {
                    self.send_ack();
                }
            } else if self.acked.lock().unwrap_or(started) + limit <= next {
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
        self.answered(answered.unrecognized);
    }

    /// Sees to what comes after an answer.
    pub(super) fn answered(&self, unrecognized: Option<Unrecognized>) {
        let Some(session) = self.link.session() else { return };
        if let Some(unrecognized) = unrecognized {
            self.endpoint.sessions.notify_unrecognized(session, &unrecognized.command, &unrecognized.fields);
        }
        if self.end_session.load(Ordering::Acquire) {
            // It may have ended already.
            self.endpoint.sessions.stop(&session.identity.session_id, CloseReason::Stopped).ok();
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
}

impl Waiting {
    fn new(endpoint: &Arc<Endpoint>, link: &Arc<Link>) -> Self {
        endpoint.sessions.metrics.requests_pending.increment(1.0);
        Self { endpoint: Arc::clone(endpoint), link: Arc::clone(link) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.endpoint.sessions.metrics.requests_pending.decrement(1.0);
        self.link.inflight.fetch_sub(1, Ordering::AcqRel);
        // A connection that ends waits for the last of them.
        self.link.outbound.wake();
    }
}
