//! What a session registers to serve commands.

use std::time::Duration;

use serde_json::Value;

use crate::message::CommandKey;

/// A command that a session serves, or with `*` several (protocol §6).
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// The command; `*` as cmd, or as subclass and cmd, takes whatever has no exact entry.
    pub key: CommandKey,
    /// What it does.
    pub description: String,
    /// What its data must look like, as a JSON Schema; `None`: anything.
    pub data_schema: Option<Value>,
    /// What becomes of a request whose worker goes away before it has answered.
    pub if_lost: IfLost,
    /// How many of its requests the session takes at once.
    pub inflight: usize,
}

/// What becomes of a request whose worker goes away before it has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfLost {
    /// Its caller gets `plugin_unavailable`: the worker may have done it, or half of it.
    #[default]
    Fail,
    /// Another worker gets it: doing it twice does no harm.
    Retry,
}

impl Registration {
    /// The longest JSON text of a data schema, in bytes. It is kept, and read for every request.
    pub const LARGEST_SCHEMA: usize = 16 << 10;

    /// How many requests a session takes at once where its registration does not say.
    pub const INFLIGHT: usize = 1024;

    /// Takes `key`, whatever its data, and promises nothing.
    pub fn new(key: CommandKey) -> Self {
        Self {
            key,
            description: String::new(),
            data_schema: None,
            if_lost: IfLost::Fail,
            inflight: Self::INFLIGHT,
        }
    }
}

/// A session's offer to judge logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthenticatorRegistration {
    /// How long a login waits for the session's verdict.
    pub deadline: Duration,
}
