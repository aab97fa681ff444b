//! Requests and answers, without their envelope.

use std::{fmt, sync::Arc};

use crate::{context::Context, error::Error, host::SessionRequest, json::RawJson, session::SessionId};

/// The three names under which the registry keeps a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandKey {
    /// The subsystem or plugin.
    pub class: Box<str>,
    /// The subdivision of the class; `core` where a request names none.
    pub subclass: Box<str>,
    /// The command.
    pub cmd: Box<str>,
}

impl CommandKey {
    /// Puts a key together.
    pub fn new(class: &str, subclass: &str, cmd: &str) -> Self {
        Self { class: class.into(), subclass: subclass.into(), cmd: cmd.into() }
    }
}

impl fmt::Display for CommandKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.class, self.subclass, self.cmd)
    }
}

/// A request, as a handler gets it.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked for. Behind a wildcard entry, the names that the caller wrote.
    pub command: Arc<CommandKey>,
    /// The arguments: checked against the command's schema, defaults filled in.
    pub data: RawJson,
}

impl Request {
    /// A request for `class/subclass/cmd`.
    pub fn new(class: &str, subclass: &str, cmd: &str, data: RawJson) -> Self {
        Self { command: Arc::new(CommandKey::new(class, subclass, cmd)), data }
    }
}

/// What a handler may say besides an error.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The caller gets `ok` with this as `data`.
    Reply(RawJson),
    /// Not mine: the next lower handler of the same command is asked, with this request, changed or not.
    Continue(Request),
    /// A session's to answer: its answer, and its acks, go to the caller as they are. Cheaper than waiting for it
    /// with [`Host::request`](crate::Host::request), for nobody has to.
    Relay(Relay),
}

/// A request that a session answers in the handler's place.
#[derive(Clone, Debug)]
pub struct Relay {
    /// The session.
    pub session: SessionId,
    /// What it is asked.
    pub request: SessionRequest,
}

impl Relay {
    /// Waits for the session's answer, where the broker cannot hand it on by itself.
    ///
    /// # Errors
    /// Those of [`Host::request`](crate::Host::request).
    pub async fn wait(mut self, cx: &Context) -> Outcome {
        self.request.relay_acks = Some(cx.clone());
        cx.host().request(&self.session, self.request).await.map(Answer::Reply)
    }
}

/// The end of a handler's work on one request.
pub type Outcome = Result<Answer, Error>;
