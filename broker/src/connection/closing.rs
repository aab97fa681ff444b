use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use jackfield_plugin_api::ErrorCode;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Connection, End, open::Expected};
use crate::{codec::CloseReason, session::Item, transport::Input};

/// For how long what still comes in is read and thrown away after the broker's goodbye. Without that, a client that
/// was still sending would be told of a reset, and lose what it was sent.
const LINGER: Duration = Duration::from_secs(2);

impl Connection {
    /// Ends the session at once, and the connection in the way its end asks for.
    pub(super) async fn finish(mut self, end: End) {
        let reason = match end {
            End::Close(reason) => reason,
            End::HalfClosed | End::Goodbye | End::Broken => CloseReason::Gone,
        };
        self.input = Input::new(self.home.link.framing);
        self.begin_ending();
        self.home.link.close(reason);
        self.end_relayed(reason);
        self.end_session(reason);
        match end {
            End::Broken => {}
            End::Goodbye => {
                // The answer to the client's goodbye is the last that may be sent.
                self.drop_queue(reason);
                self.flush(reason).await;
            }
            End::HalfClosed => self.settle().await,
            End::Close(reason) => self.say_goodbye(reason).await,
        }
    }

    /// From now on nobody else writes; of what somebody began to write the rest comes first.
    fn begin_ending(&mut self) {
        self.home.link.outbound.begin_writing();
        let (channel, open) = (&mut self.channel, &mut self.open);
        self.home.link.outbound.take_begun(|item| match item {
            Item::Bytes(bytes) => channel.tail().extend_from_slice(bytes),
            // Let go of with the others, when the session has ended.
            Item::Request(tid, waiter) => open.insert(tid, Expected::Answer(waiter), Instant::now()),
            _ => {}
        });
    }

    /// What sessions have not answered by the time the broker stops is answered in their place.
    fn end_relayed(&mut self, reason: CloseReason) {
        if reason == CloseReason::Shutdown {
            self.relayed.take().for_each(|request| request.end_relay(ErrorCode::ShuttingDown));
        }
    }

    fn end_session(&mut self, reason: CloseReason) {
        let metrics = &self.home.endpoint.sessions.metrics;
        match reason {
            CloseReason::SlowConsumer => metrics.slow_consumers.increment(1),
            CloseReason::Silent => metrics.silent_closed.increment(1),
            _ => {}
        }
        if let Some(session) = self.home.link.end() {
            self.home.endpoint.sessions.end(&session, reason);
        }
        // Who waits for an answer of this client's gets `session_stop`.
        self.open = super::OpenRequests::default();
    }

    /// Writes out the answers that the client is still owed (protocol §1).
    async fn settle(&mut self) {
        let deadline = Instant::now() + self.config.timeouts.answer;
        let settled = poll_fn(|cx| {
            self.home.link.outbound.register(cx.waker());
            self.refresh_config();
            self.home.link.outbound.begin_writing();
            loop {
                self.poll_gate(cx);
                let quiet = self.gate.is_none() && self.home.link.inflight() == 0;
                match self.poll_flushed(cx) {
                    Poll::Ready(true) if !quiet => {}
                    flushed => return flushed,
                }
                if self.poll_relayed(cx).is_pending() && self.home.link.outbound.end_writing(None) {
                    return Poll::Pending;
                }
            }
        });
        // What is not done by then is not answered.
        timeout_at(deadline, settled).await.ok();
        self.shut_down().await;
    }

    async fn say_goodbye(&mut self, reason: CloseReason) {
        if reason.keeps_queue() {
            self.flush(reason).await;
        }
        if self.channel.pending() > 0 || !reason.keeps_queue() {
            self.channel.discard_queue();
            self.drop_queue(reason);
        }
        self.home.link.outbound.close();
        self.channel.push_close(reason);
        self.flush(reason).await;
        self.shut_down().await;
        let drained = poll_fn(|cx| {
            loop {
                match self.channel.poll_discard(cx) {
                    Poll::Ready(Ok(received)) if received > 0 => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        timeout(LINGER, drained).await.ok();
    }

    fn drop_queue(&self, reason: CloseReason) {
        let dropped = self.home.link.outbound.discard();
        self.home.endpoint.sessions.metrics.events_dropped.add(super::drop_reason(reason), dropped);
    }

    /// Writes out what is queued, as long as the socket takes it.
    async fn flush(&mut self, reason: CloseReason) {
        let most = match reason {
            // It has shown that it does not read, or does not answer: the goodbye gets a chance, no more.
            CloseReason::SlowConsumer | CloseReason::Silent => LINGER,
            _ => self.config.timeouts.write,
        };
        timeout(most, poll_fn(|cx| self.poll_flushed(cx))).await.ok();
    }

    /// Ready when all is written, with `true`, or when the socket broke, with `false`.
    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self.poll_output(cx) {
            Err(_) => Poll::Ready(false),
            Ok(()) if self.channel.pending() == 0 && !self.unflushed => Poll::Ready(true),
            Ok(()) => Poll::Pending,
        }
    }

    async fn shut_down(&mut self) {
        // A socket that has gone already does not mind.
        timeout(LINGER, poll_fn(|cx| self.channel.poll_shutdown(cx))).await.ok();
    }
}
