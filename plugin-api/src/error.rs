//! Errors as they travel: a code, a text, and what a plugin adds.

use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{json::RawJson, message::CommandKey};

/// What a plugin's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The first code that belongs to plugins; lower ones are the broker's (protocol §3).
pub const FIRST_PLUGIN_CODE: u32 = 200_000;

macro_rules! codes {
    ($($variant:ident = $number:literal, $name:literal, $text:literal;)+) => {
        /// The External API's own errors (protocol §3).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = $text] $variant,)+
        }

        impl ErrorCode {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The number on the wire.
            pub const fn number(self) -> u32 {
                match self { $(Self::$variant => $number,)+ }
            }

            /// The name that plugins, WebSocket close reasons and metrics use.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The text, without what an error adds to it.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

codes! {
    InternalError = 100_002, "internal_error", "Internal error";
    InternalErrorRef = 100_003, "internal_error_ref", "Internal error";
    Timeout = 100_005, "timeout", "Timeout";
    NotImplemented = 100_006, "not_implemented", "Not implemented";
    ServiceNotFound = 100_020, "service_not_found", "Service not found";
    Unauthorized = 100_030, "unauthorized", "Unauthorized";
    NotAuthenticated = 100_031, "not_authenticated", "Not authenticated";
    AlreadyAuthenticated = 100_032, "already_authenticated", "Already authenticated";
    UserNotFound = 100_033, "user_not_found", "User not found";
    DuplicatedSessionId = 100_034, "duplicated_session_id", "Duplicated session id";
    InvalidSessionId = 100_035, "invalid_session_id", "Invalid session id";
    InvalidOperation = 100_040, "invalid_operation", "Invalid operation";
    InvalidParameters = 100_041, "invalid_parameters", "Invalid parameters";
    UnknownCommand = 100_042, "unknown_command", "Unknown command";
    SyntaxError = 100_044, "syntax_error", "Syntax error";
    MissingField = 100_045, "missing_field", "Missing field";
    InvalidValue = 100_046, "invalid_value", "Invalid value";
    InvalidReply = 100_047, "invalid_reply", "Invalid reply";
    SessionTimeout = 100_060, "session_timeout", "Session timeout";
    SessionStop = 100_061, "session_stop", "Session stop";
    SessionNotFound = 100_062, "session_not_found", "Session not found";
    MessageTooLarge = 100_080, "message_too_large", "Message too large";
    RateLimited = 100_081, "rate_limited", "Rate limited";
    SlowConsumer = 100_082, "slow_consumer", "Slow consumer";
    ShuttingDown = 100_083, "shutting_down", "Shutting down";
    PluginUnavailable = 100_084, "plugin_unavailable", "Plugin unavailable";
    TooManyRequests = 100_085, "too_many_requests", "Too many requests in flight";
    LimitExceeded = 100_086, "limit_exceeded", "Limit exceeded";
}

/// An error answer: `{"code": …, "error": …}` on the wire, with whatever further fields a plugin adds.
///
/// ```
/// use jackfield_plugin_api::{Error, ErrorCode};
///
/// let error = Error::missing_field("user");
/// assert_eq!(error.code(), i64::from(ErrorCode::MissingField.number()));
/// assert_eq!(error.to_json().as_str(), r#"{"code":100045,"error":"Missing field: user"}"#);
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: i64,
    text: Cow<'static, str>,
    details: Option<Value>,
    verbatim: Option<RawJson>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// One of the External API's errors, with its plain text.
    pub fn new(code: ErrorCode) -> Self {
        Self::from_parts(i64::from(code.number()), Cow::Borrowed(code.text()))
    }

    /// One of the External API's errors, with `: what` behind its text.
    pub fn about(code: ErrorCode, what: impl fmt::Display) -> Self {
        Self::from_parts(i64::from(code.number()), Cow::Owned(format!("{}: {what}", code.text())))
    }

    /// A plugin's own error. Its code must be [`FIRST_PLUGIN_CODE`] or above, for the lower ones have a meaning
    /// to every client.
    pub fn custom(code: u32, text: impl Into<Cow<'static, str>>) -> Self {
        Self::from_parts(i64::from(code), text.into())
    }

    fn from_parts(code: i64, text: Cow<'static, str>) -> Self {
        Self(Box::new(Inner { code, text, details: None, verbatim: None, source: None }))
    }

    /// An error as somebody else answered it, every field kept as it was written. `None` where `data` is no
    /// object with an integer `code` and a string `error`.
    pub fn verbatim(data: RawJson) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Wire {
            code: i64,
            error: String,
        }
        let wire: Wire = data.parse().ok()?;
        let mut error = Self::from_parts(wire.code, Cow::Owned(wire.error));
        error.0.verbatim = Some(data);
        Some(error)
    }

    /// A data field that is not there: `missing_field`.
    pub fn missing_field(field: impl fmt::Display) -> Self {
        Self::about(ErrorCode::MissingField, field)
    }

    /// A data field out of range, of a wrong form, or none of its choices: `invalid_value`.
    pub fn invalid_value(field: impl fmt::Display) -> Self {
        Self::about(ErrorCode::InvalidValue, field)
    }

    /// A field of the wrong JSON type, or text that is no JSON: `syntax_error`.
    pub fn syntax(field_or_reason: impl fmt::Display) -> Self {
        Self::about(ErrorCode::SyntaxError, field_or_reason)
    }

    /// No handler for that command: `unknown_command`.
    pub fn unknown_command(key: &CommandKey) -> Self {
        let text = format!("{} '{key}'", ErrorCode::UnknownCommand.text());
        Self::from_parts(i64::from(ErrorCode::UnknownCommand.number()), Cow::Owned(text))
    }

    /// Something broke whose description is in the broker's log under `reference`: `internal_error_ref`.
    pub fn internal_ref(reference: impl fmt::Display) -> Self {
        Self::about(ErrorCode::InternalErrorRef, reference)
    }

    /// A message of `size` bytes where `limit` are allowed: `message_too_large`.
    pub fn message_too_large(size: usize, limit: usize) -> Self {
        Self::about(ErrorCode::MessageTooLarge, format_args!("{size} bytes, the limit is {limit}"))
    }

    /// The same error with `details` in its data. What cannot be written as JSON is left out.
    #[must_use]
    pub fn with_details(mut self, details: impl Serialize) -> Self {
        self.0.details = serde_json::to_value(details).ok();
        self
    }

    /// The same error with what caused it, which the log shows and the client does not.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// The number on the wire.
    pub fn code(&self) -> i64 {
        self.0.code
    }

    /// The text on the wire.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether this is the External API's error `code`.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.0.code == i64::from(code.number())
    }

    /// The answer's `data`.
    pub fn to_json(&self) -> RawJson {
        if let Some(verbatim) = &self.0.verbatim {
            return verbatim.clone();
        }
        let mut map = Map::new();
        map.insert("code".into(), self.0.code.into());
        map.insert("error".into(), self.0.text.as_ref().into());
        if let Some(details) = &self.0.details {
            map.insert("details".into(), details.clone());
        }
        RawJson::from_value(&map).unwrap_or_default()
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.text, self.0.code)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code)
            .field("text", &self.0.text)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_rise_and_names_differ() {
        for pair in ErrorCode::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number());
            assert_ne!(pair[0].name(), pair[1].name());
        }
    }

    #[test]
    fn a_verbatim_error_keeps_its_text() {
        let data = RawJson::from_text(r#"{"error":"no","code":7,"more":1e400}"#).unwrap();
        let error = Error::verbatim(data).unwrap();
        assert_eq!((error.code(), error.text()), (7, "no"));
        assert_eq!(error.to_json().as_str(), r#"{"error":"no","code":7,"more":1e400}"#);
    }

    #[test]
    fn what_is_no_error_is_refused() {
        for text in ["{}", r#"{"code":"1","error":"x"}"#, r#"{"code":1}"#, "[]", "1"] {
            assert!(Error::verbatim(RawJson::from_text(text).unwrap()).is_none(), "{text}");
        }
    }
}
