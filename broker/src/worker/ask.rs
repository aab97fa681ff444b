use std::{any::Any, sync::Arc};

use arc_swap::ArcSwap;
use jackfield_plugin_api::{Call, CommandKey, Context, Error, ErrorCode, RawJson, Result, SessionRequest};
use tokio::sync::oneshot;

use crate::{
    codec::RequestFrame,
    config::Config,
    event::Events,
    session::{Session, Waiter},
    telemetry::Metrics,
};

/// Sends requests of the broker's to sessions.
pub struct Asker {
    /// Gives the requests their ids.
    pub events: Arc<Events>,
    /// The configuration in force.
    pub settings: Arc<ArcSwap<Config>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// What a session is asked.
pub struct Question<'a> {
    /// The command, in the session's own terms.
    pub command: &'a CommandKey,
    /// The arguments.
    pub data: &'a RawJson,
    /// The stamp that tells who asks: a JSON object.
    pub from: Option<&'a str>,
    /// Whose caller is to see the session's acks.
    pub acks: Option<Context>,
    /// Let go of once the session has answered, or never will.
    pub held: Option<Arc<dyn Any + Send + Sync>>,
}

/// A request that was sent to a session.
pub struct Sent(oneshot::Receiver<Result<RawJson>>);

impl Sent {
    /// Waits for the answer, within the time that the session's connection keeps; `None` when the session ends
    /// before.
    pub async fn answer(self) -> Option<Result<RawJson>> {
        self.0.await.ok()
    }
}

impl Asker {
    /// Queues a request for a session, under an id of the broker's own.
    ///
    /// # Errors
    /// `session_stop` where the session takes no more.
    pub fn send(&self, session: &Session, question: Question<'_>) -> Result<Sent> {
        let Question { command, data, from, acks, held } = question;
        let (reply, answer) = oneshot::channel();
        self.push(session, command, data, from, Waiter::Task { reply, acks, held })?;
        Ok(Sent(answer))
    }

    /// Queues a request for a session whose answer goes straight to the caller of another.
    ///
    /// # Errors
    /// `session_stop` where the session takes no more.
    pub fn relay(
        &self,
        session: &Session,
        request: &SessionRequest,
        from: Option<&str>,
        caller: Arc<dyn Call>,
    ) -> Result<()> {
        self.push(session, &request.command, &request.data, from, Waiter::Relay(caller))
    }

    fn push(
        &self,
        session: &Session,
        command: &CommandKey,
        data: &RawJson,
        from: Option<&str>,
        waiter: Waiter,
    ) -> Result<()> {
        let CommandKey { class, subclass, cmd } = command;
        let request =
            RequestFrame { class, subclass, cmd, data: data.as_str(), from, tid: self.events.next_tid() };
        let limit = self.settings.load().limits.outbound_bytes;
        let pushed = session.link.push_request(&request, waiter, limit);
        pushed.map_err(|_| Error::new(ErrorCode::SessionStop))?;
        self.metrics.session_requests.increment(1);
        Ok(())
    }
}
