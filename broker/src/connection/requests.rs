use std::{
    num::NonZeroU32,
    sync::{Arc, atomic::Ordering},
    task::Context,
};

use futures_util::FutureExt;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jackfield_plugin_api::{Error, ErrorCode};

use super::{Connection, End, inflight::InFlight};
use crate::{
    codec::{self, CloseReason, Envelope, Malformed, Message, Reply, put_answer, put_error},
    router::{Answered, Routed, Wanted},
    telemetry::{BadInput, Outcome},
    transport::{HandshakeError, Violation},
};

impl Connection {
    /// Handles one message of the client's.
    pub(super) fn message(&mut self, text: &str, cx: &mut Context<'_>) -> Result<(), End> {
        match codec::parse(text) {
            Ok(Message::Request(_)) if self.is_behind() => self.held = Some(text.into()),
            Ok(Message::Request(envelope)) => self.request(envelope, cx),
            Ok(Message::Reply(Reply { tid, result })) => {
                let more = self.config.timeouts.answer;
                if !self.open.answered(tid.number(), result, more) {
                    self.count_bad(BadInput::UnknownTid);
                }
            }
            Ok(Message::Ack(tid)) => {
                let more = self.config.timeouts.acked;
                if !self.open.ack(tid.number(), more) {
                    self.count_bad(BadInput::UnknownTid);
                }
            }
            Err(_) if self.is_behind() => self.held = Some(text.into()),
            Err(malformed) => return self.malformed(&malformed),
        }
        Ok(())
    }

    fn malformed(&mut self, malformed: &Malformed) -> Result<(), End> {
        self.count_bad(if malformed.fatal { BadInput::Message } else { BadInput::Envelope });
        put_error(self.channel.tail(), self.home.link.framing, malformed.tid.as_ref(), &malformed.error);
        if malformed.fatal { Err(End::Close(CloseReason::Syntax)) } else { Ok(()) }
    }

    /// Answers what the client must not send.
    pub(super) fn violated(&mut self, violation: Violation, limit: usize) -> End {
        if violation == Violation::Tls {
            HandshakeError::UnexpectedTls
                .report(&self.home.link.remote, &self.home.endpoint.sessions.metrics);
            return End::Close(CloseReason::Protocol);
        }
        self.count_bad(BadInput::Message);
        let (error, reason) = match violation {
            Violation::TooLarge(size) => (Error::message_too_large(size, limit), CloseReason::TooLarge),
            Violation::NotUtf8 => (Error::syntax("not UTF-8"), CloseReason::Syntax),
            Violation::Protocol | Violation::Tls => return End::Close(CloseReason::Protocol),
        };
        put_error(self.channel.tail(), self.home.link.framing, None, &error);
        End::Close(reason)
    }

    fn request(&mut self, envelope: Envelope<'_>, cx: &mut Context<'_>) {
        if let Err(error) = self.admit(&envelope) {
            self.home.endpoint.sessions.metrics.requests.add(Outcome::Error, 1);
            return put_error(self.channel.tail(), self.home.link.framing, Some(&envelope.tid), &error);
        }
        let is_login = envelope.is_core("user", "login");
        let Envelope { class, subclass, cmd, .. } = &envelope;
        tracing::trace!(connection = self.home.link.id, %class, %subclass, %cmd, "request");
        let size = envelope.data.text().as_str().len();
        let inflight = Arc::new(InFlight::new(&self.home, envelope.tid, size));
        let wanted = Wanted { class: &envelope.class, subclass: &envelope.subclass, cmd: &envelope.cmd };
        match self.home.endpoint.router.route(wanted, &envelope.data, &inflight, &self.home.link.turn, cx) {
            Routed::Done(answered) => self.answer(inflight, answered),
            Routed::Relayed => self.relayed.add(&inflight),
            Routed::Running(running) => {
                let work = Arc::clone(&inflight).run(inflight.wait_for_handler(), running);
                if is_login {
                    self.gate = Some(work.boxed());
                } else {
                    // It counts among the handlers as long as it waits.
                    tokio::spawn(work);
                }
            }
        }
    }

    /// What is asked before anything about the command is.
    fn admit(&mut self, envelope: &Envelope<'_>) -> Result<(), Error> {
        let is_ping = envelope.is_core("core", "ping");
        if self.home.endpoint.sessions.is_draining() {
            return Err(ErrorCode::ShuttingDown.into());
        }
        if is_ping {
            return Ok(());
        }
        let is_session = self.home.logged_in().is_some();
        if !is_session && !envelope.is_core("user", "login") {
            return Err(ErrorCode::NotAuthenticated.into());
        }
        let limits = &self.config.limits;
        if is_session && !self.rate.admits(limits.requests_per_second) {
            return Err(ErrorCode::RateLimited.into());
        }
        // What waits is weighed too: a thousand small requests are not a thousand of a mebibyte.
        let weight = self.home.link.inflight_bytes.load(Ordering::Acquire);
        if self.home.link.inflight() >= limits.inflight
            || weight > limits.outbound_bytes.max(limits.message_bytes)
        {
            return Err(ErrorCode::TooManyRequests.into());
        }
        Ok(())
    }

    /// Answers a request that was served in place.
    fn answer(&mut self, mut inflight: Arc<InFlight>, answered: Answered) {
        // From here on nobody acks it any more.
        if inflight.take_over() {
            // The ack is in the queue, and comes first.
            return inflight.queue_answer(answered);
        }
        let metrics = &self.home.endpoint.sessions.metrics;
        let (out, framing) = (self.channel.tail(), self.home.link.framing);
        match &answered.result {
            Ok(data) => {
                metrics.requests.add(Outcome::Ok, 1);
                put_answer(out, framing, inflight.tid(), data);
            }
            Err(error) => {
                metrics.requests.add(Outcome::Error, 1);
                put_error(out, framing, Some(inflight.tid()), error);
            }
        }
        inflight.answered(answered);
    }

    fn count_bad(&self, kind: BadInput) {
        self.home.endpoint.sessions.metrics.bad_input.add(kind, 1);
    }
}

/// `limits.requests_per_second`, with a burst of one second's worth.
#[derive(Default)]
pub(super) struct RateLimit(Option<Box<Limited>>);

struct Limited {
    per_second: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl RateLimit {
    /// Whether one more request may be made now; 0 allows any number.
    fn admits(&mut self, per_second: u32) -> bool {
        let Some(per_second) = NonZeroU32::new(per_second) else {
            self.0 = None;
            return true;
        };
        let limited = match self.0.take() {
            Some(limited) if limited.per_second == per_second => limited,
            _ => Box::new(Limited::new(per_second)),
        };
        self.0.insert(limited).limiter.check().is_ok()
    }
}

impl Limited {
    fn new(per_second: NonZeroU32) -> Self {
        Self { per_second, limiter: RateLimiter::direct(Quota::per_second(per_second)) }
    }
}
