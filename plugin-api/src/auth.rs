//! Logging in, and what a caller may do.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use crate::{
    error::Error,
    json::RawObject,
    permission::{Action, Permissions},
    session::{Caller, EventMode, SessionId, UserId},
};

/// A password. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<str>);

impl Password {
    /// Takes a password.
    pub fn new(password: &str) -> Self {
        Self(password.into())
    }

    /// The password, to be compared and forgotten.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A login request, its fields told apart (protocol §4).
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The user, where the client named one.
    pub user: Option<UserId>,
    /// The password.
    pub password: Option<Password>,
    /// The session id that the client wishes for, as it wrote it; the broker checks it.
    pub session_id: Option<String>,
    /// `meta`, which stays with the session.
    pub meta: RawObject,
    /// How events are to reach the session.
    pub events: EventMode,
    /// Whether the session wants to know who sends it events and requests.
    pub identify: bool,
    /// All other fields, tokens and secrets among them.
    pub fields: RawObject,
}

/// The fields of a login that are never kept, `meta`'s included (protocol §4).
pub const SECRET_FIELDS: &[&str] =
    &["password", "pass", "token", "access_token", "refresh_token", "api_key", "secret", "authorization"];

/// An authenticator's word on a login.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made per login; a box would only be in its author's way"
)]
pub enum Verdict {
    /// The client is who it says. No other authenticator is asked.
    Accept(Accepted),
    /// It is not, or must not log in. No other authenticator is asked; the client gets this error and one more
    /// failure on its account.
    Reject(Error),
    /// Not mine to say: the next authenticator is asked. When all say so, the login is `unauthorized`.
    Continue,
}

/// A login that is accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The user.
    pub user: UserId,
    /// The session's id, where the authenticator chooses it; else the client's wish, else a new UUID.
    pub session_id: Option<SessionId>,
    /// Kept with the session, beside what the login brought, and shown by `user get`.
    pub metadata: RawObject,
    /// What the session may do; `None` leaves that to the rules and the default policy.
    pub permissions: Option<Permissions>,
    /// When the session ends by itself, as `session_timeout`.
    pub expires: Option<SystemTime>,
    /// Added to the answer, beside `session_id`.
    pub answer: RawObject,
    /// Whether this is the administrator, who may do everything.
    pub administrator: bool,
}

impl Accepted {
    /// Accepts `user`, with nothing special about it.
    pub fn user(user: UserId) -> Self {
        Self {
            user,
            session_id: None,
            metadata: RawObject::default(),
            permissions: None,
            expires: None,
            answer: RawObject::default(),
            administrator: false,
        }
    }
}

/// Says who may log in.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Judges one login. It may take its time: only that connection waits. Slow work on the processor belongs on a
    /// thread of its own.
    async fn authenticate(&self, login: &Login, from: &Caller) -> Verdict;

    /// Login fields that must not be kept, besides [`SECRET_FIELDS`].
    fn secret_fields(&self) -> &[&str] {
        &[]
    }
}

/// An authorizer's word on an action.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It may be done. No other authorizer is asked, nor the rules.
    Allow,
    /// It may not; the client gets this error.
    Deny(Error),
    /// Not mine to say: the next authorizer is asked, then the rules, then the default policy.
    Continue,
}

/// A decision, and how long it holds for the same caller and action.
#[derive(Clone, Debug)]
pub struct Ruling {
    /// The decision.
    pub decision: Decision,
    /// For how long it may be remembered; `None`: not at all.
    pub cache_for: Option<Duration>,
}

impl From<Decision> for Ruling {
    fn from(decision: Decision) -> Self {
        Self { decision, cache_for: None }
    }
}

/// Says what a session may do. Administrators are not asked about.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Judges one action of one session.
    async fn authorize(&self, caller: &Arc<Caller>, action: &Action) -> Ruling;
}
