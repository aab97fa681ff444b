//! One live connection: reads, answers, writes.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{Control, Inbox, Shared, closing, setup::set_up};
use crate::{
    AnswerError, ConnectionState, DisconnectReason, Error, RefusedSubscription,
    error::code,
    event::Event,
    handler::Handlers,
    message::{Command, Incoming, IncomingRequest, encode_error, encode_ok, encode_request, parse},
    pending::{Answer, Effect, KEEPALIVE_TID, Outgoing},
    transport::Transport,
};

/// How long the other side has for its part of the closing.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How many messages are read, or written, before the other direction has its turn.
const BATCH: usize = 256;
/// How much may wait for a socket that takes nothing. It bounds answers to a flood of events: the broker
/// itself gives a session up at 4 MiB of unread events, and their answers are shorter.
const UNFLUSHED_BYTES: usize = 8 << 20;

pub(super) struct Link {
    shared: Arc<Shared>,
    transport: Box<dyn Transport>,
    handlers: Handlers,
    /// Where handlers' answers and the set-up's requests come in: this connection's own.
    local: mpsc::Receiver<Outgoing>,
    local_sender: mpsc::Sender<Outgoing>,
    /// How many bytes were fed and not yet flushed.
    unflushed: usize,
    heard: Instant,
    /// The text of an error that the broker sent for no request: why it then closes a TCP connection.
    complaint: Option<AnswerError>,
}

/// What made the loop turn.
enum Turn {
    SetUp(Result<Vec<RefusedSubscription>, DisconnectReason>),
    Received(Result<Bytes, DisconnectReason>),
    Flushed,
    Write(Outgoing),
    Room,
    Silence,
    Closing,
}

impl Link {
    pub(super) fn new(shared: &Arc<Shared>, transport: Box<dyn Transport>, handlers: &Handlers) -> Self {
        let (local_sender, local) = mpsc::channel(BATCH);
        Self {
            shared: Arc::clone(shared),
            transport,
            handlers: handlers.clone(),
            local,
            local_sender,
            unflushed: 0,
            heard: Instant::now(),
            complaint: None,
        }
    }

    /// Lives until the connection ends, and says why it did. `ready` is called after login and renewal; the
    /// application's requests are taken from then on.
    pub(super) async fn live(
        &mut self,
        requests: &mut mpsc::Receiver<Outgoing>,
        control: &mut watch::Receiver<Control>,
        inbox: &mut Inbox,
        ready: impl FnOnce(),
    ) -> DisconnectReason {
        let mut ready = Some(ready);
        let setup = set_up(Arc::clone(&self.shared), self.local_sender.clone());
        let silence = sleep_until(self.heard + self.shared.options.keepalive);
        tokio::pin!(setup, silence);
        loop {
            let writable = self.unflushed == 0;
            let reading = !inbox.is_full() && self.unflushed < UNFLUSHED_BYTES;
            let io = |cx: &mut Context<'_>| poll_io(&mut *self.transport, &mut self.unflushed, reading, cx);
            let turn = tokio::select! {
                done = &mut setup, if ready.is_some() => Turn::SetUp(done),
                turn = std::future::poll_fn(io) => turn,
                Some(frame) = self.local.recv(), if writable => Turn::Write(frame),
                Some(frame) = requests.recv(), if writable && ready.is_none() => Turn::Write(frame),
                () = inbox.room(), if inbox.holds_back() => Turn::Room,
                () = &mut silence => Turn::Silence,
                () = closing(control) => Turn::Closing,
            };
            let done = match turn {
                Turn::SetUp(Ok(refused)) => {
                    self.publish_connected(refused);
                    if let Some(ready) = ready.take() {
                        ready();
                    }
                    Ok(())
                }
                Turn::SetUp(Err(reason)) => Err(reason),
                Turn::Received(received) => received.and_then(|frame| self.read_batch(frame, inbox)),
                Turn::Flushed => Ok(()),
                Turn::Write(first) => self.write_batch(first, ready.is_none().then_some(&mut *requests)),
                Turn::Room => self.release(inbox),
                Turn::Silence => self.check_silence(reading).map(|next| silence.as_mut().reset(next)),
                Turn::Closing => self.write_last().and(Err(DisconnectReason::ClosedByClient)),
            };
            if let Err(reason) = done.and_then(|()| self.flush_now()) {
                return self.last_words(reason, inbox);
            }
        }
    }

    /// Closes the connection properly, as far as the other side takes part, and says why it ended.
    pub(super) async fn end(mut self, reason: DisconnectReason) -> DisconnectReason {
        // Nobody would hear the good-bye on a connection that is dead.
        if !matches!(reason, DisconnectReason::Silent | DisconnectReason::Io(_)) {
            let closing = std::future::poll_fn(|cx| self.transport.poll_close(cx));
            if timeout(CLOSE_TIMEOUT, closing).await.is_err() {
                tracing::debug!("the broker did not take part in closing the connection");
            }
        }
        while let Ok(outgoing) = self.local.try_recv() {
            self.shared.counters.replies_dropped.add(u64::from(outgoing.tid.is_none()));
        }
        match (reason, self.complaint) {
            (DisconnectReason::ClosedByPeer { code: None, reason }, Some(error)) if reason.is_empty() => {
                DisconnectReason::ClosedByPeer { code: None, reason: error.text }
            }
            (reason, _) => reason,
        }
    }

    fn publish_connected(&self, refused: Vec<RefusedSubscription>) {
        self.shared.counters.connections.add(1);
        let session_id = self.shared.session.lock().as_ref().map(|session| session.id.clone());
        self.shared.states.publish(ConnectionState::Connected { session_id, refused });
    }

    /// Handles a message and all that can be read without waiting.
    fn read_batch(&mut self, first: Bytes, inbox: &mut Inbox) -> Result<(), DisconnectReason> {
        self.heard = Instant::now();
        let mut frame = first;
        for _ in 0..BATCH {
            self.receive(&frame, inbox)?;
            if inbox.is_full() || self.unflushed >= UNFLUSHED_BYTES {
                return Ok(());
            }
            match self.transport.poll_next(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(next) => frame = next?,
                Poll::Pending => return Ok(()),
            }
        }
        self.receive(&frame, inbox)
    }

    fn receive(&mut self, frame: &Bytes, inbox: &mut Inbox) -> Result<(), DisconnectReason> {
        match parse(frame).map_err(DisconnectReason::Protocol)? {
            Incoming::Answer { tid, outcome } => {
                self.answered(tid, Answer { outcome, frame: frame.clone() });
            }
            Incoming::Ack { tid } => {
                if !self.shared.pending.acked(tid) {
                    self.ignore("ack");
                }
            }
            Incoming::Request(request) => return self.requested(&request, inbox),
            Incoming::Unknown => self.ignore("unknown"),
        }
        Ok(())
    }

    fn answered(&mut self, tid: Option<u64>, answer: Answer) {
        let Some(tid) = tid else {
            if let Err(Error::Answer(error)) = answer.outcome {
                tracing::warn!(%error, "the broker complains about a message");
                self.complaint = Some(error);
            }
            return self.ignore("answer");
        };
        if tid == KEEPALIVE_TID {
            return;
        }
        match self.shared.pending.resolve(tid, answer) {
            Some(Effect::None) => {}
            Some(Effect::Remember(subscription)) => self.shared.remember(subscription),
            Some(Effect::Forget(subscription)) => self.shared.forget(&subscription),
            None => self.ignore("answer"),
        }
    }

    fn ignore(&self, what: &'static str) {
        tracing::debug!(what, "ignored a message");
        self.shared.counters.messages_ignored.add(1);
    }

    fn requested(
        &mut self,
        request: &IncomingRequest<'_>,
        inbox: &mut Inbox,
    ) -> Result<(), DisconnectReason> {
        let core = request.class == "core" && request.subclass == "core";
        if core && request.cmd == "event" {
            return self.event(request, inbox);
        }
        let Some(tid) = request.tid else {
            self.ignore("request without tid");
            return Ok(());
        };
        if core && request.cmd == "ping" {
            return self.feed(encode_ok(None, tid));
        }
        self.shared.counters.requests_received.add(1);
        match self.handlers.start(request, tid, &self.local_sender) {
            Some(answer) => self.feed(answer),
            None => Ok(()),
        }
    }

    fn event(&mut self, request: &IncomingRequest<'_>, inbox: &mut Inbox) -> Result<(), DisconnectReason> {
        self.shared.counters.events_received.add(1);
        let event = match Event::parse(request) {
            Ok(event) => event,
            Err(error) => {
                self.ignore("event");
                let error = AnswerError::new(code::SYNTAX_ERROR, format!("Syntax error: {error}"));
                return request.tid.map_or(Ok(()), |tid| self.feed(encode_error(&error, tid)));
            }
        };
        let queued = inbox.take(event, request.tid);
        match request.tid {
            Some(tid) if queued => self.feed(encode_ok(None, tid)),
            _ => Ok(()),
        }
    }

    /// Events that were held back get into the queue and are answered.
    fn release(&mut self, inbox: &mut Inbox) -> Result<(), DisconnectReason> {
        let mut answers = Vec::new();
        inbox.release(|tid| answers.push(encode_ok(None, tid)));
        answers.into_iter().try_for_each(|answer| self.feed(answer))
    }

    /// Writes one message and all that wait behind it.
    fn write_batch(
        &mut self,
        first: Outgoing,
        mut requests: Option<&mut mpsc::Receiver<Outgoing>>,
    ) -> Result<(), DisconnectReason> {
        self.write(first)?;
        for _ in 1..BATCH {
            let next = self.local.try_recv().or_else(|error| match &mut requests {
                Some(requests) => requests.try_recv(),
                None => Err(error),
            });
            match next {
                Ok(outgoing) => self.write(outgoing)?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn write(&mut self, outgoing: Outgoing) -> Result<(), DisconnectReason> {
        match outgoing.tid {
            Some(tid) if !self.shared.pending.mark_sent(tid) => Ok(()),
            _ => self.feed(outgoing.frame),
        }
    }

    /// Writes the answers that are ready.
    fn write_last(&mut self) -> Result<(), DisconnectReason> {
        while let Ok(outgoing) = self.local.try_recv() {
            self.write(outgoing)?;
        }
        Ok(())
    }

    fn feed(&mut self, frame: String) -> Result<(), DisconnectReason> {
        self.unflushed += frame.len();
        self.transport.feed(frame)
    }

    /// Flushes as far as the socket takes it now; the rest is [`poll_io`]'s.
    fn flush_now(&mut self) -> Result<(), DisconnectReason> {
        if self.unflushed == 0 {
            return Ok(());
        }
        match self.transport.poll_flush(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(flushed) => {
                self.unflushed = 0;
                flushed
            }
            Poll::Pending => Ok(()),
        }
    }

    /// The silence timer has run out: when it shall run out next, a ping having been sent where it is due.
    fn check_silence(&mut self, reading: bool) -> Result<Instant, DisconnectReason> {
        let now = Instant::now();
        if !reading {
            // It is this side that does not listen.
            self.heard = now;
        }
        let ping_at = self.heard + self.shared.options.keepalive;
        let dead_at = ping_at + self.shared.options.timeouts.answer;
        if now < ping_at {
            return Ok(ping_at);
        }
        if now >= dead_at {
            return Err(DisconnectReason::Silent);
        }
        let ping = encode_request(Command::core("core", "ping"), &(), KEEPALIVE_TID);
        if let Ok(ping) = ping {
            self.feed(ping)?;
        }
        Ok(dead_at)
    }

    /// When writing failed, what the broker sent before it closed says why, and may hold events and answers.
    fn last_words(&mut self, reason: DisconnectReason, inbox: &mut Inbox) -> DisconnectReason {
        if !matches!(reason, DisconnectReason::Io(_)) {
            return reason;
        }
        while !inbox.is_full() {
            match self.transport.poll_next(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(frame)) if self.receive(&frame, inbox).is_ok() => {}
                Poll::Ready(Err(closed @ DisconnectReason::ClosedByPeer { .. })) => return closed,
                _ => break,
            }
        }
        reason
    }
}

/// Flushes what is left to flush, and reads.
fn poll_io(
    transport: &mut dyn Transport,
    unflushed: &mut usize,
    reading: bool,
    cx: &mut Context<'_>,
) -> Poll<Turn> {
    if *unflushed > 0
        && let Poll::Ready(flushed) = transport.poll_flush(cx)
    {
        *unflushed = 0;
        return Poll::Ready(flushed.map_or_else(|reason| Turn::Received(Err(reason)), |()| Turn::Flushed));
    }
    if reading { transport.poll_next(cx).map(Turn::Received) } else { Poll::Pending }
}
