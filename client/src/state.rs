//! Whether there is a connection, and how an application hears of changes.

use std::{fmt, sync::Arc};

use futures_util::Stream;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};

use crate::{AnswerError, Subscription};

/// How many changes a [`States`] that is not read keeps.
const KEPT: usize = 64;

/// The state of a client's connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The first connection is being made.
    Connecting,
    /// Connected, logged in where a login was asked for, and subscriptions renewed.
    Connected {
        /// The session's id, where there was a login. A reconnect may bring another one.
        session_id: Option<SessionId>,
        /// Subscriptions of the former connection that the broker would not renew. They are forgotten.
        refused: Vec<RefusedSubscription>,
    },
    /// The connection was lost, or an attempt to make one failed.
    Disconnected {
        /// Why.
        reason: DisconnectReason,
    },
    /// The next attempt is made when the delay is over.
    Reconnecting {
        /// The attempt's number, counted from 1.
        attempt: u32,
        /// How long it is waited for.
        delay: std::time::Duration,
    },
    /// There will be no further attempt. The client is of no more use.
    GaveUp {
        /// What ended the last connection or attempt.
        reason: DisconnectReason,
    },
    /// The application closed the client.
    Closed,
}

impl ConnectionState {
    /// Whether no other state can follow.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::GaveUp { .. } | Self::Closed)
    }
}

/// A subscription that was not renewed after a reconnect.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RefusedSubscription {
    /// Which.
    pub subscription: Subscription,
    /// What the broker answered.
    pub error: AnswerError,
}

/// Why there is no connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The broker closed it.
    ClosedByPeer {
        /// The WebSocket close code; `None` over TCP, or when there was none.
        code: Option<u16>,
        /// The reason the broker gave: an error's name, or the text of its last error line; may be empty.
        reason: String,
    },
    /// The socket failed, or could not be opened.
    Io(String),
    /// TLS could not be agreed upon, or broke: a certificate that is not good, on either side, above all.
    Tls(String),
    /// It was not made within [`connect_timeout`](crate::ConnectOptions::connect_timeout).
    ConnectTimeout,
    /// The broker refused the login.
    LoginRefused(AnswerError),
    /// The login, or the renewal of a subscription, was not answered properly.
    SetupFailed(String),
    /// Nothing came from the broker, not even the answer to a ping.
    Silent,
    /// The broker sent what the protocol does not allow.
    Protocol(String),
    /// The application closed the client.
    ClosedByClient,
}

impl DisconnectReason {
    /// Whether another attempt makes sense: not after a login that was refused for good, nor after the
    /// broker ended the session on purpose (close code 4000).
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::LoginRefused(error) => !error.is_transient(),
            Self::ClosedByPeer { code, .. } => *code == Some(SESSION_STOP),
            Self::ClosedByClient => true,
            _ => false,
        }
    }
}

/// protocol.md §3: close code of `session_stop`.
const SESSION_STOP: u16 = 4000;

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClosedByPeer { code, reason } => {
                f.write_str("closed by the broker")?;
                if let Some(code) = code {
                    write!(f, ", code {code}")?;
                }
                if reason.is_empty() { Ok(()) } else { write!(f, " ({reason})") }
            }
            Self::Io(error) | Self::Tls(error) => f.write_str(error),
            Self::ConnectTimeout => f.write_str("no connection in time"),
            Self::LoginRefused(error) => write!(f, "login refused: {error}"),
            Self::SetupFailed(error) => write!(f, "login or subscription failed: {error}"),
            Self::Silent => f.write_str("the broker went silent"),
            Self::Protocol(error) => write!(f, "protocol violation: {error}"),
            Self::ClosedByClient => f.write_str("closed by this side"),
        }
    }
}

/// A session's id, as the broker gave or confirmed it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SessionId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl AsRef<str> for SessionId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The changes of a client's [`ConnectionState`], from the moment it was asked for.
///
/// It keeps the latest 64 changes; an application that is further behind misses the oldest. It ends after
/// the final state.
#[derive(Debug)]
pub struct States {
    changes: Option<broadcast::Receiver<ConnectionState>>,
}

impl States {
    /// Waits for the next change; `None` when there can be no more. Cancel safe.
    pub async fn next(&mut self) -> Option<ConnectionState> {
        let changes = self.changes.as_mut()?;
        let state = loop {
            match changes.recv().await {
                Ok(state) => break Some(state),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => break None,
            }
        };
        if state.as_ref().is_none_or(ConnectionState::is_final) {
            self.changes = None;
        }
        state
    }

    /// The same as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = ConnectionState> + Send {
        futures_util::stream::unfold(self, |mut states| async move {
            let state = states.next().await?;
            Some((state, states))
        })
    }
}

/// Publishes changes of state: the latest to whoever asks, each to every [`States`].
#[derive(Debug)]
pub(crate) struct StateHub {
    latest: watch::Sender<ConnectionState>,
    changes: broadcast::Sender<ConnectionState>,
}

impl StateHub {
    pub(crate) fn new() -> Self {
        Self {
            latest: watch::Sender::new(ConnectionState::Connecting),
            changes: broadcast::Sender::new(KEPT),
        }
    }

    pub(crate) fn latest(&self) -> ConnectionState {
        self.latest.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> States {
        let finished = self.latest.borrow().is_final();
        States { changes: (!finished).then(|| self.changes.subscribe()) }
    }

    pub(crate) fn publish(&self, state: ConnectionState) {
        self.latest.send_replace(state.clone());
        // Nobody listening is no failure.
        self.changes.send(state).ok();
    }

    pub(crate) async fn finished(&self) {
        // Cannot fail: `self` holds the sender.
        self.latest.subscribe().wait_for(ConnectionState::is_final).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_session_and_a_wrong_password_are_permanent() {
        let stopped = DisconnectReason::ClosedByPeer { code: Some(4000), reason: "session_stop".into() };
        assert!(stopped.is_permanent());
        let wrong = AnswerError::new(crate::error::code::UNAUTHORIZED, "Unauthorized");
        assert!(DisconnectReason::LoginRefused(wrong).is_permanent());
        let live = AnswerError::new(crate::error::code::DUPLICATED_SESSION_ID, "Duplicated session id");
        assert!(!DisconnectReason::LoginRefused(live).is_permanent());
        assert!(!DisconnectReason::ClosedByPeer { code: Some(1001), reason: String::new() }.is_permanent());
    }

    #[tokio::test]
    async fn states_end_after_the_final_one() {
        let hub = StateHub::new();
        let mut states = hub.subscribe();
        hub.publish(ConnectionState::Connected { session_id: None, refused: Vec::new() });
        hub.publish(ConnectionState::Closed);
        assert!(matches!(states.next().await, Some(ConnectionState::Connected { .. })));
        assert!(matches!(states.next().await, Some(ConnectionState::Closed)));
        assert!(states.next().await.is_none());
        assert!(hub.subscribe().next().await.is_none());
        hub.finished().await;
    }
}
