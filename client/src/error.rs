//! What can go wrong, and what the broker says went wrong.

use std::{fmt, path::PathBuf};

use serde_json::value::RawValue;

use crate::state::DisconnectReason;

/// Why a call on the client failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The broker, or whoever served the request behind it, answered with an error.
    #[error("{0}")]
    Answer(AnswerError),
    /// The broker refused the login.
    #[error("the login was refused: {0}")]
    LoginRefused(AnswerError),
    /// The request was sent; neither an answer nor an ack came in time.
    #[error("no answer in time")]
    Timeout,
    /// There was no connection, or no room in the send queue, for as long as the request may wait. The
    /// request was never sent, so it may safely be made again.
    #[error("no connection in time: the request was not sent")]
    NotSent,
    /// The connection was lost after the request was sent. Whether it took effect is not known.
    #[error("the connection was lost while the request was under way: {0}")]
    Disconnected(DisconnectReason),
    /// The client is closed for good, or gave up reconnecting.
    #[error("the client is closed: {0}")]
    Closed(DisconnectReason),
    /// The connection could not be made.
    #[error("cannot connect to {url}: {reason}")]
    Connect {
        /// Where to.
        url: String,
        /// Why not.
        reason: DisconnectReason,
    },
    /// The other side sent something that the protocol does not allow.
    #[error("protocol violation: {0}")]
    Protocol(String),
    /// The data of a request could not be written as JSON.
    #[error("cannot encode the request's data: {0}")]
    Encode(#[source] serde_json::Error),
    /// The answer's data does not fit the type that was asked for.
    #[error("the answer's data does not fit: {0}")]
    Decode(#[source] serde_json::Error),
    /// The URL is not one that names a broker.
    #[error("invalid URL: {0}")]
    InvalidUrl(String),
    /// The URL's scheme is not one that this client speaks.
    #[error("unsupported scheme \"{0}\": ws://, wss://, tcp:// and tls:// are supported")]
    UnsupportedScheme(String),
    /// A file for TLS cannot be read or used.
    #[error("{}: {reason}", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl Error {
    /// The answer's error code, when an answer is what failed the call.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Answer(error) | Self::LoginRefused(error) => Some(error.code),
            _ => None,
        }
    }
}

/// An error answer: code, text, and whatever else its sender added.
///
/// Codes below 200000 are the broker's (`code` has names for those that this crate itself uses); codes from
/// 200000 up belong to plugins.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AnswerError {
    /// The error's number.
    pub code: i64,
    /// The error's text, for people.
    pub text: String,
    /// The whole `data` of the error answer, code, text and any further fields included. `None` for an
    /// error made on this side, unless it got details.
    pub details: Option<Box<RawValue>>,
}

impl AnswerError {
    /// An error to answer a request with. Codes from 200000 up are free for applications.
    pub fn new(code: i64, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), details: None }
    }

    /// Adds a `details` field to what the requester gets.
    pub fn with_details(mut self, details: impl Into<serde_json::Value>) -> Self {
        let data = serde_json::json!({"code": self.code, "error": self.text, "details": details.into()});
        self.details = serde_json::value::to_raw_value(&data).ok();
        self
    }

    /// Whether the same login or subscription may well succeed a little later.
    pub(crate) fn is_transient(&self) -> bool {
        code::TRANSIENT.contains(&self.code)
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.text, self.code)
    }
}

impl std::error::Error for AnswerError {}

/// Numbers of the broker's errors that this crate answers with or tells apart.
pub mod code {
    /// Something broke inside the answerer.
    pub const INTERNAL_ERROR: i64 = 100_002;
    /// The answerer did not answer in time.
    pub const TIMEOUT: i64 = 100_005;
    /// The receiver does not serve this request.
    pub const NOT_IMPLEMENTED: i64 = 100_006;
    /// Who asks may not.
    pub const UNAUTHORIZED: i64 = 100_030;
    /// The session id is that of a live session.
    pub const DUPLICATED_SESSION_ID: i64 = 100_034;
    /// The data has a field of the wrong type, or the message is not one.
    pub const SYNTAX_ERROR: i64 = 100_044;
    /// More requests at once than the receiver takes.
    pub const TOO_MANY_REQUESTS: i64 = 100_085;

    const INTERNAL_ERROR_REF: i64 = 100_003;
    const RATE_LIMITED: i64 = 100_081;
    const SHUTTING_DOWN: i64 = 100_083;
    const PLUGIN_UNAVAILABLE: i64 = 100_084;
    const LIMIT_EXCEEDED: i64 = 100_086;

    pub(crate) const TRANSIENT: [i64; 9] = [
        INTERNAL_ERROR,
        INTERNAL_ERROR_REF,
        TIMEOUT,
        // The broker may not have noticed yet that the session's old connection is dead.
        DUPLICATED_SESSION_ID,
        RATE_LIMITED,
        SHUTTING_DOWN,
        PLUGIN_UNAVAILABLE,
        TOO_MANY_REQUESTS,
        LIMIT_EXCEEDED,
    ];
}
