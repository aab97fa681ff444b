//! What sessions register.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RefText;
use crate::{
    message::CommandKey,
    registration::{IfLost, Registration},
};

/// What a session registers.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct RegistrationText {
    pub(in crate::ffi) session: RefText,
    class: Box<str>,
    #[serde(default = "any")]
    subclass: Box<str>,
    #[serde(default = "any")]
    cmd: Box<str>,
    #[serde(default)]
    description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_schema: Option<Value>,
    #[serde(default)]
    retry: bool,
    #[serde(default = "inflight")]
    inflight: usize,
}

fn any() -> Box<str> {
    "*".into()
}

const fn inflight() -> usize {
    Registration::INFLIGHT
}

impl RegistrationText {
    pub(in crate::ffi) fn new(session: RefText, registration: Registration) -> Self {
        let Registration { key, description, data_schema, if_lost, inflight } = registration;
        let CommandKey { class, subclass, cmd } = key;
        let retry = if_lost == IfLost::Retry;
        Self { session, class, subclass, cmd, description, data_schema, retry, inflight }
    }

    pub(in crate::ffi) fn into_parts(self) -> (RefText, Registration) {
        let if_lost = if self.retry { IfLost::Retry } else { IfLost::Fail };
        let Self { session, class, subclass, cmd, description, data_schema, inflight, retry: _ } = self;
        let key = CommandKey { class, subclass, cmd };
        (session, Registration { key, description, data_schema, if_lost, inflight })
    }
}

/// A session that judges logins.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct JudgeText {
    pub(in crate::ffi) session: RefText,
    #[serde(default)]
    pub(in crate::ffi) deadline: f64,
}
