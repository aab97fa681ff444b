use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use jackfield_plugin_api::{Caller, PeerCertificate, Who};

use super::{Outbound, PushError, PutOff, Session, Waiter, Writer, pace};
use crate::codec::{CloseReason, Framing, RequestFrame, put_request};

/// The turn that requests of one connection take which must run one after the other. A connection that has no such
/// requests does without.
#[derive(Default)]
pub struct Turn(ArcSwapOption<tokio::sync::Mutex<()>>);

impl Turn {
    /// What the request that runs holds.
    pub fn lock(&self) -> Arc<tokio::sync::Mutex<()>> {
        self.0.load_full().unwrap_or_else(|| {
            let made = Arc::default();
            let before = self.0.compare_and_swap(&None::<Arc<_>>, Some(Arc::clone(&made)));
            Arc::clone(before.as_ref().unwrap_or(&made))
        })
    }
}

impl pace::Sleeper for Link {
    fn write_put_off(&self) {
        self.outbound.write_put_off();
    }

    fn wake_put_off(&self) {
        self.outbound.wake_put_off();
    }
}

/// A connection, as everyone but its own task sees it.
pub struct Link {
    /// Unique for as long as the broker runs.
    pub id: u64,
    /// How its messages are told apart.
    pub framing: Framing,
    /// What waits to be written to it.
    pub outbound: Outbound,
    /// How many of its requests have a handler that had to wait.
    pub inflight: AtomicUsize,
    /// How many bytes of data those requests brought.
    pub inflight_bytes: AtomicUsize,
    /// How many logins were rejected on it.
    pub rejections: AtomicU32,
    /// Whose turn it is.
    pub turn: Turn,
    /// Where it is from.
    pub remote: Arc<str>,
    /// The certificate that its client has shown.
    pub certificate: Option<Arc<PeerCertificate>>,
    service: Arc<str>,
    /// Emptied when the connection ends, for the session holds on to the connection too.
    session: ArcSwapOption<Session>,
    close: OnceLock<CloseReason>,
    ended: AtomicBool,
}

impl Link {
    /// A connection that has just been accepted.
    pub fn new(id: u64, framing: Framing, service: Arc<str>, remote: Arc<str>) -> Self {
        Self {
            id,
            framing,
            outbound: Outbound::new(None),
            inflight: AtomicUsize::new(0),
            inflight_bytes: AtomicUsize::new(0),
            rejections: AtomicU32::new(0),
            turn: Turn::default(),
            remote,
            certificate: None,
            service,
            session: ArcSwapOption::empty(),
            close: OnceLock::new(),
            ended: AtomicBool::new(false),
        }
    }

    /// The same connection, of a client that has shown this certificate.
    pub fn with_certificate(mut self, certificate: Option<Arc<PeerCertificate>>) -> Self {
        self.certificate = certificate;
        self
    }

    /// The same connection, whose socket may be written to from elsewhere.
    pub fn with_writer(mut self, writer: Option<Writer>) -> Self {
        self.outbound = Outbound::new(writer);
        self
    }

    /// Who requests on this connection come from.
    pub fn caller(&self) -> Arc<Caller> {
        match &*self.session.load() {
            Some(session) => Arc::clone(&session.caller),
            None => Arc::new(self.anonymous()),
        }
    }

    fn anonymous(&self) -> Caller {
        Caller {
            connection: self.id,
            service: Arc::clone(&self.service),
            remote: Arc::clone(&self.remote),
            certificate: self.certificate.clone(),
            who: Who::Anonymous,
        }
    }

    /// The session, after login.
    pub fn session(&self) -> Option<Arc<Session>> {
        self.session.load_full()
    }

    /// Whether the connection has logged in.
    pub fn is_session(&self) -> bool {
        self.session.load().is_some()
    }

    /// Makes the connection a session. `false` when it is one, or has ended.
    pub fn set_session(&self, session: Arc<Session>) -> bool {
        let before = self.session.compare_and_swap(&None::<Arc<Session>>, Some(session));
        // Either this sees that the connection has ended, or who ends it sees the session.
        fence(Ordering::SeqCst);
        before.is_none() && !self.has_ended()
    }

    /// Takes note that the connection has ended, and gives its session.
    pub fn end(&self) -> Option<Arc<Session>> {
        self.ended.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.session.swap(None)
    }

    /// Whether the connection has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Has the connection's task close it, unless somebody already did.
    pub fn close(&self, reason: CloseReason) {
        if self.close.set(reason).is_ok() {
            self.outbound.wake();
        }
    }

    /// Why the connection is to be closed, once it is.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.close.get().copied()
    }

    /// Queues an answer or an ack that `write` appends to a buffer, or writes it at once. A connection whose queue is full
    /// is closed as a slow consumer.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub fn push_answer(
        self: &Arc<Self>,
        limit: usize,
        write: impl FnOnce(&mut Vec<u8>, Framing),
    ) -> Result<(), PushError> {
        self.pushed(self.outbound.push_answer(limit, |out| write(out, self.framing)))
    }

    /// Queues an event, likewise; with a `tid` it has to be answered.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub fn push_event(
        self: &Arc<Self>,
        bytes: &Bytes,
        tid: Option<u64>,
        limit: usize,
    ) -> Result<(), PushError> {
        self.pushed(self.outbound.push_event(bytes, tid, limit))
    }

    /// Queues a request of the broker's, likewise.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub fn push_request(
        self: &Arc<Self>,
        request: &RequestFrame<'_>,
        waiter: Waiter,
        limit: usize,
    ) -> Result<(), PushError> {
        let write = |out: &mut Vec<u8>| put_request(out, self.framing, request);
        self.pushed(self.outbound.push_request(request.tid, waiter, limit, write))
    }

    fn pushed(self: &Arc<Self>, pushed: Result<PutOff, PushError>) -> Result<(), PushError> {
        match pushed {
            Ok(PutOff(true)) => pace::put_off(Arc::clone(self) as _),
            Err(PushError::Full) => self.close(CloseReason::SlowConsumer),
            _ => {}
        }
        pushed.map(drop)
    }

    /// How many requests wait for their handlers.
    pub fn inflight(&self) -> usize {
        self.inflight.load(Ordering::Acquire)
    }
}
