//! The JSON forms of what crosses the border, as `include/jackfield_plugin.h` writes them.

mod auth;
mod caller;
mod event;
mod log;
mod registration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    command::CallMode,
    error::{Error, Result},
    json::RawJson,
    message::CommandKey,
    session::SessionId,
};
pub(super) use auth::{ActionText, AuthorizeText, LoginText, RulingText, VerdictText};
pub(super) use caller::{CallerText, PermissionsText, RefText, SessionText};
pub(super) use event::{EventText, FromText, SubscribeText, TopicText, scope_text};
pub(super) use log::{LineText, RecordText};
use log::{seconds, time};
pub(super) use registration::{JudgeText, RegistrationText};

/// Reads JSON of the other side.
pub(super) fn read<T: serde::de::DeserializeOwned>(json: &RawJson) -> Result<T> {
    json.parse().map_err(Error::syntax)
}

fn is_false(value: &bool) -> bool {
    !value
}

/// MANIFEST.
#[derive(Deserialize, Serialize)]
pub(super) struct ManifestText {
    pub(super) name: String,
    pub(super) version: String,
    #[serde(default)]
    pub(super) about: String,
    #[serde(default)]
    pub(super) depends: Vec<String>,
    #[serde(default)]
    pub(super) config_schema: Option<Value>,
    #[serde(default)]
    pub(super) exec: crate::plugin::Exec,
}

/// What `register_all` gives.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct RegisteredText {
    pub(super) commands: Vec<CommandText>,
    pub(super) authenticators: Vec<AuthenticatorText>,
    pub(super) event_filters: Vec<FilterText>,
    pub(super) authorizers: u32,
    pub(super) session_observers: u32,
    pub(super) log_sinks: u32,
    pub(super) broker_log_sinks: u32,
    pub(super) services: u32,
}

#[derive(Deserialize, Serialize)]
pub(super) struct CommandText {
    #[serde(flatten)]
    pub(super) key: KeyText,
    #[serde(default)]
    pub(super) aliases: Vec<Box<str>>,
    #[serde(default)]
    pub(super) about: String,
    #[serde(default = "anything")]
    pub(super) data_schema: Value,
    #[serde(default = "anything")]
    pub(super) reply_schema: Value,
    #[serde(flatten)]
    pub(super) mode: ModeText,
}

fn anything() -> Value {
    Value::Object(serde_json::Map::new())
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct ModeText {
    #[serde(skip_serializing_if = "is_false")]
    ordered: bool,
    #[serde(skip_serializing_if = "is_false")]
    keeps_own_time: bool,
    #[serde(skip_serializing_if = "is_false")]
    unrestricted: bool,
}

impl From<CallMode> for ModeText {
    fn from(mode: CallMode) -> Self {
        let CallMode { ordered, keeps_own_time, unrestricted } = mode;
        Self { ordered, keeps_own_time, unrestricted }
    }
}

impl From<ModeText> for CallMode {
    fn from(mode: ModeText) -> Self {
        let ModeText { ordered, keeps_own_time, unrestricted } = mode;
        Self { ordered, keeps_own_time, unrestricted }
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct AuthenticatorText {
    pub(super) secret_fields: Vec<String>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct FilterText {
    pub(super) filters_deliveries: bool,
}

/// A command's names; the subclass is `core` where none is given.
#[derive(Deserialize, Serialize)]
pub(super) struct KeyText {
    class: Box<str>,
    #[serde(default = "core")]
    subclass: Box<str>,
    cmd: Box<str>,
}

fn core() -> Box<str> {
    "core".into()
}

impl From<&CommandKey> for KeyText {
    fn from(key: &CommandKey) -> Self {
        let CommandKey { class, subclass, cmd } = key.clone();
        Self { class, subclass, cmd }
    }
}

impl From<KeyText> for CommandKey {
    fn from(key: KeyText) -> Self {
        let KeyText { class, subclass, cmd } = key;
        Self { class, subclass, cmd }
    }
}

/// A request as one handler hands it to the next: what is absent stays.
#[derive(Deserialize, Serialize)]
pub(super) struct ContinueText {
    pub(super) class: Option<Box<str>>,
    pub(super) subclass: Option<Box<str>>,
    pub(super) cmd: Option<Box<str>>,
    pub(super) data: Option<RawJson>,
}

/// A request for a command.
#[derive(Deserialize, Serialize)]
pub(super) struct RequestText {
    #[serde(flatten)]
    pub(super) key: KeyText,
    #[serde(default)]
    pub(super) data: RawJson,
}

/// A request to a session.
#[derive(Deserialize, Serialize)]
pub(super) struct SessionRequestText {
    pub(super) session_id: SessionId,
    #[serde(flatten)]
    pub(super) key: KeyText,
    #[serde(default)]
    pub(super) data: RawJson,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<CallerText>,
}

/// A key of a store, with what the question needs besides.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct StoreText {
    pub(super) key: String,
    pub(super) value: Option<String>,
    pub(super) expected: Option<String>,
    pub(super) new: Option<String>,
    pub(super) prefix: String,
    pub(super) limit: usize,
}

/// Bytes as text.
pub(super) fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

/// Bytes from text.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>> {
    data_encoding::BASE64.decode(text.as_bytes()).map_err(|_| Error::invalid_value("base64"))
}
