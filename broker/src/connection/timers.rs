use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use jackfield_plugin_api::{CommandKey, RawJson};
use tokio::time::{Instant, Sleep};

use super::{Connection, open::Expected};
use crate::{codec::CloseReason, codec::put_request};

/// The times that a connection keeps. One sleep serves them all: it fires at the earliest, or before it.
pub(super) struct Timers {
    /// When the connection must have logged in.
    login: Instant,
    /// When bytes last came in.
    pub(super) last_received: Instant,
    /// Since when the socket takes nothing though something waits.
    pub(super) stalled: Option<Instant>,
    last_ping: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timers {
    pub(super) fn new(login: Instant) -> Self {
        Self { login, last_received: Instant::now(), stalled: None, last_ping: None, sleep: None }
    }
}

impl Connection {
    /// Waits for the next time to be over, and sees to what is due then.
    pub(super) fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        let next = self.next_time();
        let sleep = self.timers.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
        if next < sleep.deadline() {
            sleep.as_mut().reset(next);
        }
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let due = self.see_to_times(Instant::now());
        let next = self.next_time();
        if let Some(sleep) = &mut self.timers.sleep {
            sleep.as_mut().reset(next);
        }
        Poll::Ready(due)
    }

    fn next_time(&self) -> Instant {
        let timeouts = &self.config().timeouts;
        let by_state = match self.link.session() {
            None => self.timers.login,
            Some(session) => {
                let ping = self.quiet_since() + timeouts.ping;
                session.expires.map_or(ping, |expires| expires.min(ping))
            }
        };
        let stalled = self.timers.stalled.map(|since| since + timeouts.write);
        [self.open.next_deadline(), stalled].into_iter().flatten().fold(by_state, Instant::min)
    }

    fn quiet_since(&self) -> Instant {
        let received = self.timers.last_received;
        self.timers.last_ping.map_or(received, |ping| ping.max(received))
    }

    fn see_to_times(&mut self, now: Instant) -> Result<(), CloseReason> {
        let timeouts = self.config().timeouts.clone();
        if self.timers.stalled.is_some_and(|since| since + timeouts.write <= now) {
            return Err(CloseReason::SlowConsumer);
        }
        self.open.expire(now).map_err(|_| CloseReason::Silent)?;
        let Some(session) = self.link.session() else {
            return if self.timers.login <= now { Err(CloseReason::Silent) } else { Ok(()) };
        };
        if session.expires.is_some_and(|expires| expires <= now) {
            return Err(CloseReason::Expired);
        }
        if self.quiet_since() + timeouts.ping <= now {
            self.ping(now, &timeouts);
        }
        Ok(())
    }

    fn ping(&mut self, now: Instant, timeouts: &crate::config::Timeouts) {
        let tid = self.endpoint.sessions.events.next_tid();
        // A number is always JSON.
        let interval = seconds(timeouts.ping);
        let data = RawJson::from_text(format!(r#"{{"time":{interval}}}"#)).unwrap_or_default();
        let command = CommandKey::new("core", "core", "ping");
        put_request(self.channel.answers(), self.link.framing, &command, &data, None, tid);
        self.open.insert(tid, Expected::Pong, now + timeouts.answer);
        self.timers.last_ping = Some(now);
    }
}

/// Whole seconds as a whole number, others with their fraction.
fn seconds(duration: std::time::Duration) -> String {
    if duration.subsec_nanos() == 0 {
        duration.as_secs().to_string()
    } else {
        duration.as_secs_f64().to_string()
    }
}
