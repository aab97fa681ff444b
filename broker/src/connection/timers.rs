use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep};

use super::{Connection, open::Expected};
use crate::codec::{CloseReason, RequestFrame, put_request};

/// The times that a connection keeps. One sleep serves them all: it fires at the earliest, or before it.
pub(super) struct Timers {
    /// When the connection must have logged in.
    login: Instant,
    /// When bytes last came in, or a ping went out.
    pub(super) quiet_since: Instant,
    /// Since when the socket takes nothing though something waits.
    pub(super) stalled: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timers {
    pub(super) fn new(login: Instant) -> Self {
        Self { login, quiet_since: Instant::now(), stalled: None, sleep: None }
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

    /// Waits for the time to ack a request that a session has not answered yet, and does so.
    pub(super) fn poll_relayed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = self.relayed.next_ack() else { return Poll::Pending };
        let sleep = self.timers.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
        sleep.as_mut().reset(next);
        ready!(sleep.as_mut().poll(cx));
        self.relayed.ack_due(Instant::now());
        Poll::Ready(())
    }

    /// From when on an answer is due after the connection next wakes by itself.
    pub(super) fn due_from(&self) -> Option<Instant> {
        self.timers.sleep.as_ref()?.deadline().checked_sub(self.config.timeouts.answer)
    }

    fn next_time(&self) -> Instant {
        let timeouts = &self.config.timeouts;
        let by_state = match self.home.logged_in() {
            None => self.timers.login,
            Some(login) => {
                let ping = self.timers.quiet_since + timeouts.ping;
                login.expires.map_or(ping, |expires| expires.min(ping))
            }
        };
        let stalled = self.timers.stalled.map(|since| since + timeouts.write);
        [self.open.next_deadline(), self.relayed.next_ack(), stalled]
            .into_iter()
            .flatten()
            .fold(by_state, Instant::min)
    }

    fn see_to_times(&mut self, now: Instant) -> Result<(), CloseReason> {
        let config = Arc::clone(&self.config);
        let timeouts = &config.timeouts;
        if self.timers.stalled.is_some_and(|since| since + timeouts.write <= now) {
            return Err(CloseReason::SlowConsumer);
        }
        self.relayed.ack_due(now);
        self.open.expire(now).map_err(|_| CloseReason::Silent)?;
        let Some(login) = self.home.logged_in() else {
            return if self.timers.login <= now { Err(CloseReason::Silent) } else { Ok(()) };
        };
        if login.expires.is_some_and(|expires| expires <= now) {
            return Err(CloseReason::Expired);
        }
        if self.timers.quiet_since + timeouts.ping <= now {
            self.ping(now, timeouts);
        }
        Ok(())
    }

    fn ping(&mut self, now: Instant, timeouts: &crate::config::Timeouts) {
        let tid = self.home.endpoint.sessions.events.next_tid();
        let data = format!(r#"{{"time":{}}}"#, seconds(timeouts.ping));
        let request =
            RequestFrame { class: "core", subclass: "core", cmd: "ping", data: &data, from: None, tid };
        put_request(self.channel.tail(), self.home.link.framing, &request);
        self.open.insert(tid, Expected::Pong, now + timeouts.answer);
        self.timers.quiet_since = now;
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
