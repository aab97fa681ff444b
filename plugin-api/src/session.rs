//! Users, sessions, and who is calling.

use std::{borrow::Cow, fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    certificate::PeerCertificate,
    error::{Error, ErrorCode, Result},
    json::RawObject,
    permission::Permissions,
};

/// The id of a session: 1 to 128 printable ASCII characters, no space (protocol §4). Not `*`, which in a topic would
/// stand for every session.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Checks and takes an id.
    ///
    /// # Errors
    /// `invalid_session_id`.
    pub fn new(id: &str) -> Result<Self> {
        // Not `all`: without a way out the compiler looks at many at a time.
        let is_graphic = || id.bytes().fold(true, |all, byte| all & byte.is_ascii_graphic());
        let fits = (1..=128).contains(&id.len()) && id != "*" && is_graphic();
        if !fits {
            return Err(ErrorCode::InvalidSessionId.into());
        }
        Ok(Self(id.into()))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = Cow::<'_, str>::deserialize(deserializer)?;
        Self::new(&id).map_err(|error| serde::de::Error::custom(error.text()))
    }
}

impl std::borrow::Borrow<str> for SessionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The name of a user: any string but an empty one, and `*`, which in a topic would stand for every user.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// `invalid_value` for an empty one and for `*`.
    pub fn new(name: &str) -> Result<Self> {
        if name.is_empty() || name == "*" {
            return Err(Error::invalid_value("user"));
        }
        Ok(Self(name.into()))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<'_, str>::deserialize(deserializer)?;
        Self::new(&name).map_err(|error| serde::de::Error::custom(error.text()))
    }
}

impl std::borrow::Borrow<str> for UserId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Who a logged-in connection is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session_id: SessionId,
    /// Whether this is the service's administrator, who may do everything.
    pub administrator: bool,
    /// What the authenticator allowed, where it said so.
    pub permissions: Option<Permissions>,
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The number of the connection, unique for as long as the broker runs; 0 for a plugin.
    pub connection: u64,
    /// The service whose listener or plugin it came through.
    pub service: Arc<str>,
    /// The transport and address, `ws:127.0.0.1:63393`, or the name of a plugin.
    pub remote: Arc<str>,
    /// The certificate of a TLS client, where it has shown one; a virtual session and a plugin have none.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Who.
    pub who: Who,
}

/// The kinds of callers.
#[derive(Clone, Debug)]
pub enum Who {
    /// A connection that has not logged in.
    Anonymous,
    /// A session.
    Session(Identity),
    /// A plugin, by its own [`Host::call`](crate::Host::call).
    Plugin,
}

impl Caller {
    /// The identity, where the caller is a session.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.who {
            Who::Session(identity) => Some(identity),
            Who::Anonymous | Who::Plugin => None,
        }
    }

    /// Whether no permission is asked of this caller: administrators and plugins.
    pub fn is_trusted(&self) -> bool {
        match &self.who {
            Who::Session(identity) => identity.administrator,
            Who::Plugin => true,
            Who::Anonymous => false,
        }
    }
}

/// Names a session to the broker.
///
/// An id may be taken again by somebody else once its session has ended. One that comes from a [`Caller`] therefore
/// means that caller's session and no later one.
#[derive(Clone, Copy, Debug)]
pub struct SessionRef<'a> {
    /// Its id.
    pub id: &'a SessionId,
    /// Its connection, where it must be that one.
    pub connection: Option<u64>,
}

impl<'a> SessionRef<'a> {
    /// The caller's own session.
    ///
    /// # Errors
    /// `not_authenticated` where the caller is no session.
    pub fn of(caller: &'a Caller) -> Result<Self> {
        let identity = caller.identity().ok_or(ErrorCode::NotAuthenticated)?;
        Ok(Self { id: &identity.session_id, connection: Some(caller.connection) })
    }
}

impl<'a> From<&'a SessionId> for SessionRef<'a> {
    fn from(id: &'a SessionId) -> Self {
        Self { id, connection: None }
    }
}

/// How events reach a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum EventMode {
    /// With a `tid`, to be answered.
    #[default]
    Ack,
    /// Without one, and not answered.
    Push,
}

/// A live session, as plugins see it.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Its id.
    pub session_id: SessionId,
    /// Its user.
    pub user: UserId,
    /// Its service.
    pub service: Arc<str>,
    /// The transport and address, `ws:127.0.0.1:63393`.
    pub remote: Arc<str>,
    /// `meta`, the other fields of its login that were kept, and what the authenticator added.
    pub metadata: Arc<RawObject>,
}

/// A start or an end of a session.
#[derive(Clone, Debug)]
pub struct SessionChange {
    /// Counts the changes of a service from 1 without a gap; observers see them in this order.
    pub number: u64,
    /// Which of the two.
    pub kind: SessionChangeKind,
    /// Whose.
    pub session: SessionInfo,
}

/// What happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChangeKind {
    /// It logged in.
    Started,
    /// It ended; the reason is an error's name, or `closed` when the client went away.
    Ended {
        /// Why.
        reason: Cow<'static, str>,
    },
}

/// Is told when sessions start and end, in order.
///
/// Called in place, one change at a time, by whoever starts or ends a session, so it must return at once: hand longer
/// work to a task.
pub trait SessionObserver: Send + Sync + 'static {
    /// Takes note of one change.
    fn session_changed(&self, change: &SessionChange);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids() {
        for good in ["a", "A-b_1.2:3", &"x".repeat(128)] {
            assert!(SessionId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "*", " ", "a b", "é", "a\u{7f}", &"x".repeat(129)] {
            assert!(SessionId::new(bad).is_err(), "{bad}");
        }
    }
}
