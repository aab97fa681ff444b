//! Requests that wait for their answers.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    DisconnectReason, Error, Subscription, Timeouts,
    message::{Command, encode_request},
};

/// The tid of keep-alive pings, whose answers nobody waits for.
pub(crate) const KEEPALIVE_TID: u64 = 0;

/// A frame on its way to the connection's task.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Set for a request of ours: it is skipped when nobody waits for it any more.
    pub(crate) tid: Option<u64>,
    pub(crate) frame: String,
}

/// What the other side answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Result<Box<RawValue>, Error>,
    /// The whole message.
    pub(crate) frame: Bytes,
}

/// What a good answer changes in the subscriptions to renew.
#[derive(Debug)]
pub(crate) enum Effect {
    None,
    Remember(Subscription),
    Forget(Subscription),
}

/// The open requests, by tid.
#[derive(Debug)]
pub(crate) struct Pending {
    next_tid: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    waiting: HashMap<u64, Waiting>,
    closed: Option<DisconnectReason>,
}

#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Result<Answer, Error>>,
    progress: Progress,
    effect: Effect,
}

/// How far a request got.
#[derive(Debug, Clone, Copy)]
enum Progress {
    Queued,
    Sent,
    Acked(Instant),
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self { next_tid: AtomicU64::new(KEEPALIVE_TID + 1), open: Mutex::default() }
    }

    /// Opens a request and writes it down. Nothing is sent before [`Prepared::answer`].
    pub(crate) fn prepare(
        self: &Arc<Self>,
        command: Command<'_>,
        data: &(impl Serialize + ?Sized),
        effect: Effect,
    ) -> Result<Prepared, Error> {
        let ticket = self.open(effect)?;
        let frame = encode_request(command, data, ticket.tid)?;
        Ok(Prepared { ticket, frame })
    }

    fn open(self: &Arc<Self>, effect: Effect) -> Result<Ticket, Error> {
        let tid = self.next_tid.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        let mut open = self.open.lock();
        if let Some(reason) = &open.closed {
            return Err(Error::Closed(reason.clone()));
        }
        open.waiting.insert(tid, Waiting { answer: sender, progress: Progress::Queued, effect });
        Ok(Ticket { tid, answer, pending: Arc::clone(self) })
    }

    /// Notes that a request is being written; `false` when nobody waits for it any more.
    pub(crate) fn mark_sent(&self, tid: u64) -> bool {
        match self.open.lock().waiting.get_mut(&tid) {
            Some(waiting) => {
                waiting.progress = Progress::Sent;
                true
            }
            None => false,
        }
    }

    /// Gives a request more time; `false` when it is not open.
    pub(crate) fn acked(&self, tid: u64) -> bool {
        match self.open.lock().waiting.get_mut(&tid) {
            Some(waiting) => {
                waiting.progress = Progress::Acked(Instant::now());
                true
            }
            None => false,
        }
    }

    /// Hands an answer to its request; `None` when that is not open.
    pub(crate) fn resolve(&self, tid: u64, answer: Answer) -> Option<Effect> {
        let waiting = self.open.lock().waiting.remove(&tid)?;
        let effect = if answer.outcome.is_ok() { waiting.effect } else { Effect::None };
        // The requester may have gone this very moment.
        waiting.answer.send(Ok(answer)).ok();
        Some(effect)
    }

    /// Fails what was sent on a connection that is lost. What is still queued waits for the next one.
    pub(crate) fn disconnected(&self, reason: &DisconnectReason) {
        let lost = self
            .open
            .lock()
            .waiting
            .extract_if(|_, waiting| !matches!(waiting.progress, Progress::Queued))
            .collect::<Vec<_>>();
        for (_, waiting) in lost {
            waiting.answer.send(Err(Error::Disconnected(reason.clone()))).ok();
        }
    }

    /// Fails everything, now and from now on.
    pub(crate) fn close(&self, reason: &DisconnectReason) {
        self.disconnected(reason);
        let queued = {
            let mut open = self.open.lock();
            open.closed = Some(reason.clone());
            std::mem::take(&mut open.waiting)
        };
        for (_, waiting) in queued {
            waiting.answer.send(Err(Error::Closed(reason.clone()))).ok();
        }
    }

    fn closed_error(&self) -> Error {
        let reason = self.open.lock().closed.clone();
        Error::Closed(reason.unwrap_or(DisconnectReason::ClosedByClient))
    }

    fn progress(&self, tid: u64) -> Option<Progress> {
        self.open.lock().waiting.get(&tid).map(|waiting| waiting.progress)
    }
}

/// A request that is ready to be sent.
pub(crate) struct Prepared {
    ticket: Ticket,
    frame: String,
}

impl Prepared {
    /// Sends the request through `queue` and waits for its answer.
    pub(crate) async fn answer(
        self,
        queue: &mpsc::Sender<Outgoing>,
        timeouts: Timeouts,
    ) -> Result<Answer, Error> {
        let Self { ticket, frame } = self;
        let deadline = Instant::now() + timeouts.answer;
        let outgoing = Outgoing { tid: Some(ticket.tid), frame };
        match timeout_at(deadline, queue.send(outgoing)).await {
            Ok(Ok(())) => ticket.answer(timeouts, deadline).await,
            Ok(Err(_)) => Err(ticket.pending.closed_error()),
            Err(_) => Err(Error::NotSent),
        }
    }
}

/// One open request. Dropping it forgets the tid.
struct Ticket {
    tid: u64,
    answer: oneshot::Receiver<Result<Answer, Error>>,
    pending: Arc<Pending>,
}

impl Ticket {
    async fn answer(mut self, timeouts: Timeouts, mut deadline: Instant) -> Result<Answer, Error> {
        loop {
            match timeout_at(deadline, &mut self.answer).await {
                Ok(Ok(outcome)) => return outcome,
                Ok(Err(_)) => return Err(self.pending.closed_error()),
                Err(_) => deadline = self.later(timeouts, deadline)?,
            }
        }
    }

    /// The deadline has passed: the one that an ack set since, if it is later.
    fn later(&mut self, timeouts: Timeouts, deadline: Instant) -> Result<Instant, Error> {
        match self.pending.progress(self.tid) {
            Some(Progress::Queued) => Err(Error::NotSent),
            Some(Progress::Acked(at)) if at + timeouts.acked > deadline => Ok(at + timeouts.acked),
            Some(_) => Err(Error::Timeout),
            // Answered between the deadline and now: the answer is in the channel.
            None => Ok(deadline + timeouts.answer),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.pending.open.lock().waiting.remove(&self.tid);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: Command<'_> = Command::core("core", "ping");
    const TIMEOUTS: Timeouts = Timeouts { answer: Duration::from_secs(5), acked: Duration::from_secs(180) };

    fn ok_answer() -> Answer {
        Answer { outcome: Ok(crate::message::empty_object()), frame: Bytes::new() }
    }

    async fn ping(pending: Arc<Pending>, queue: mpsc::Sender<Outgoing>) -> Result<Answer, Error> {
        pending.prepare(PING, &(), Effect::None)?.answer(&queue, TIMEOUTS).await
    }

    fn setup() -> (Arc<Pending>, mpsc::Sender<Outgoing>, mpsc::Receiver<Outgoing>) {
        let (sender, receiver) = mpsc::channel(1);
        (Arc::new(Pending::new()), sender, receiver)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_was_never_sent_says_so() {
        let (pending, queue, _receiver) = setup();
        let started = Instant::now();
        assert!(matches!(ping(pending.clone(), queue.clone()).await, Err(Error::NotSent)));
        assert_eq!(started.elapsed(), Duration::from_secs(5));
        // And one for which the queue had no room.
        assert!(matches!(ping(pending.clone(), queue).await, Err(Error::NotSent)));
        assert!(pending.open.lock().waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn each_ack_extends_the_wait() {
        let (pending, queue, mut receiver) = setup();
        let request = tokio::spawn(ping(pending.clone(), queue));
        let tid = receiver.recv().await.unwrap().tid.unwrap();
        assert!(pending.mark_sent(tid));
        let started = Instant::now();
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(pending.acked(tid));
        tokio::time::sleep(Duration::from_secs(170)).await;
        assert!(pending.acked(tid));
        assert!(matches!(request.await.unwrap(), Err(Error::Timeout)));
        assert_eq!(started.elapsed(), Duration::from_secs(4 + 170 + 180));
        assert!(!pending.acked(tid));
        assert!(pending.resolve(tid, ok_answer()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_request_forgets_its_tid() {
        let (pending, queue, mut receiver) = setup();
        let request = tokio::spawn(ping(pending.clone(), queue));
        let tid = receiver.recv().await.unwrap().tid.unwrap();
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        assert!(!pending.mark_sent(tid));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_fails_what_was_sent_and_keeps_what_was_not() {
        let (pending, queue, mut receiver) = setup();
        let sent = tokio::spawn(ping(pending.clone(), queue.clone()));
        let tid = receiver.recv().await.unwrap().tid.unwrap();
        assert!(pending.mark_sent(tid));
        let queued = tokio::spawn(ping(pending.clone(), queue.clone()));
        let queued_tid = receiver.recv().await.unwrap().tid.unwrap();
        pending.disconnected(&DisconnectReason::Silent);
        assert!(matches!(sent.await.unwrap(), Err(Error::Disconnected(_))));
        assert!(pending.mark_sent(queued_tid));
        assert!(pending.resolve(queued_tid, ok_answer()).is_some());
        assert!(queued.await.unwrap().is_ok());
        pending.close(&DisconnectReason::ClosedByClient);
        assert!(matches!(ping(pending, queue).await, Err(Error::Closed(_))));
    }
}
