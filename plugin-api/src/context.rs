//! What a handler knows of the request it serves.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    auth::Login,
    error::{ErrorCode, Result},
    event::Event,
    host::Host,
    json::{RawJson, RawObject},
    permission::Action,
    session::{Caller, Identity},
};

/// One request under way, from its handler's side. Cloning costs two reference counts.
#[derive(Clone)]
pub struct Context {
    call: Arc<dyn Call>,
    host: Arc<dyn Host>,
}

impl Context {
    /// Puts a context together: the broker's business, and the test harness's.
    pub fn new(call: Arc<dyn Call>, host: Arc<dyn Host>) -> Self {
        Self { call, host }
    }

    /// The request, from the broker's side.
    #[cfg(feature = "host")]
    pub(crate) fn call(&self) -> &Arc<dyn Call> {
        &self.call
    }

    /// Who asks.
    pub fn caller(&self) -> &Arc<Caller> {
        self.call.caller()
    }

    /// The session that asks.
    ///
    /// # Errors
    /// `not_authenticated` where the caller is none: a plugin, or a connection before its login.
    pub fn identity(&self) -> Result<&Identity> {
        self.caller().identity().ok_or_else(|| ErrorCode::NotAuthenticated.into())
    }

    /// What the plugin may ask of the broker.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// Tells the caller that the answer takes longer, and starts the handler's own time limit anew. The broker
    /// sends the first ack by itself, after one second.
    pub fn ack(&self) {
        self.call.ack();
    }

    /// Asks whether the caller may do something besides using this command.
    ///
    /// # Errors
    /// The refusal.
    pub async fn authorize(&self, action: Action) -> Result<()> {
        self.host.authorize(self.caller(), &action).await
    }

    /// Fires an event in the caller's name. Its permission is not asked: see [`authorize`](Self::authorize).
    ///
    /// # Errors
    /// Those of [`Host::publish`].
    pub fn publish(&self, event: Event) -> Result<usize> {
        self.host.publish(event, Some(self.caller()))
    }

    /// Logs the calling connection in and gives the fields of the answer.
    ///
    /// # Errors
    /// The refusal, after the delay that the failures on this connection have earned.
    pub async fn login(&self, login: Login) -> Result<RawObject> {
        self.call.login(login).await
    }

    /// Ends the caller's own session once the answer to this request is queued.
    ///
    /// # Errors
    /// `not_authenticated` where the caller is no session.
    pub fn end_session(&self) -> Result<()> {
        self.identity()?;
        self.call.end_session();
        Ok(())
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("caller", self.caller()).finish_non_exhaustive()
    }
}

/// One request under way, from the broker's side.
#[async_trait]
pub trait Call: Send + Sync + 'static {
    /// Who asks.
    fn caller(&self) -> &Arc<Caller>;

    /// Sends an ack.
    fn ack(&self) {}

    /// Ends the caller's session once the request is answered.
    fn end_session(&self) {}

    /// The request is handed on to a session, as its handler has said with [`Answer::Relay`](crate::Answer::Relay).
    fn hand_on(&self) {}

    /// Answers a request that was handed on.
    fn answer(&self, _result: Result<RawJson>) {}

    /// Logs the calling connection in.
    ///
    /// # Errors
    /// The refusal; `invalid_operation` where there is no connection.
    async fn login(&self, _login: Login) -> Result<RawObject> {
        Err(ErrorCode::InvalidOperation.into())
    }
}
