//! Logins and actions, and what is said of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CallerText, KeyText, PermissionsText, TopicText, is_false, seconds, time};
use crate::{
    auth::{Accepted, Decision, Login, Password, Ruling, Verdict},
    error::{Error, ErrorCode, Result},
    json::{RawJson, RawObject},
    permission::Action,
    session::{EventMode, SessionId, UserId},
};

/// ACTION.
#[derive(Deserialize, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub(in crate::ffi) enum ActionText {
    Command(KeyText),
    Subscribe(TopicText),
    Publish(TopicText),
    Register(KeyText),
    Service { service: Box<str> },
}

impl From<&Action> for ActionText {
    fn from(action: &Action) -> Self {
        match action {
            Action::Command(key) => Self::Command(key.into()),
            Action::Subscribe(topic) => Self::Subscribe(topic.into()),
            Action::Publish(topic) => Self::Publish(topic.into()),
            Action::Register(key) => Self::Register(key.into()),
            Action::Service(name) => Self::Service { service: name.clone() },
        }
    }
}

impl From<ActionText> for Action {
    fn from(text: ActionText) -> Self {
        match text {
            ActionText::Command(key) => Self::Command(key.into()),
            ActionText::Subscribe(topic) => Self::Subscribe(topic.into()),
            ActionText::Publish(topic) => Self::Publish(topic.into()),
            ActionText::Register(key) => Self::Register(key.into()),
            ActionText::Service { service } => Self::Service(service),
        }
    }
}

/// What an authorizer is asked.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct AuthorizeText {
    pub(in crate::ffi) caller: CallerText,
    pub(in crate::ffi) action: ActionText,
}

/// What an authorizer says.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct RulingText {
    decision: DecisionText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<RawJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_for: Option<f64>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum DecisionText {
    Allow,
    Deny,
    Continue,
}

impl From<&Ruling> for RulingText {
    fn from(ruling: &Ruling) -> Self {
        let (decision, error) = match &ruling.decision {
            Decision::Allow => (DecisionText::Allow, None),
            Decision::Deny(error) => (DecisionText::Deny, Some(error.to_json())),
            Decision::Continue => (DecisionText::Continue, None),
        };
        Self { decision, error, cache_for: ruling.cache_for.map(|time| time.as_secs_f64()) }
    }
}

impl From<RulingText> for Ruling {
    fn from(text: RulingText) -> Self {
        let refusal =
            || text.error.and_then(Error::verbatim).unwrap_or_else(|| ErrorCode::Unauthorized.into());
        Self {
            decision: match text.decision {
                DecisionText::Allow => Decision::Allow,
                DecisionText::Deny => Decision::Deny(refusal()),
                DecisionText::Continue => Decision::Continue,
            },
            cache_for: text.cache_for.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        }
    }
}

/// LOGIN. It holds a password, so it has no `Debug`.
#[derive(Serialize)]
pub(in crate::ffi) struct LoginText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    #[serde(default, skip_serializing_if = "RawObject::is_empty")]
    meta: RawObject,
    #[serde(default)]
    events: EventMode,
    #[serde(default, skip_serializing_if = "is_false")]
    identify: bool,
}

impl LoginText {
    /// The login as JSON. Its further fields come first, so that none of them can take the place of one that is known.
    pub(in crate::ffi) fn write(login: &Login) -> Result<RawJson> {
        let mut object = login.fields.clone();
        let known = Self {
            user: login.user.clone(),
            password: login.password.as_ref().map(|password| password.expose().to_owned()),
            session_id: login.session_id.clone(),
            meta: login.meta.clone(),
            events: login.events,
            identify: login.identify,
        };
        let known = RawObject::parse(&RawJson::from_value(&known)?).map_err(Error::syntax)?;
        for (key, value) in known.iter() {
            object.insert(key, value.clone());
        }
        Ok(object.to_json())
    }

    /// Reads a login.
    pub(in crate::ffi) fn parse(json: &RawJson) -> Result<Login> {
        let mut fields = RawObject::parse(json).map_err(Error::syntax)?;
        let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_null());
        fn field<T: serde::de::DeserializeOwned>(
            name: &'static str,
            value: Option<RawJson>,
        ) -> Result<Option<T>> {
            value.map(|value| value.parse().map_err(|_| Error::syntax(name))).transpose()
        }
        let password: Option<String> = field("password", take("password"))?;
        Ok(Login {
            user: field("user", take("user"))?,
            password: password.as_deref().map(Password::new),
            session_id: field("session_id", take("session_id"))?,
            meta: field("meta", take("meta"))?.unwrap_or_default(),
            events: field("events", take("events"))?.unwrap_or_default(),
            identify: field("identify", take("identify"))?.unwrap_or_default(),
            fields,
        })
    }
}

/// What an authenticator says. All fields but the verdict are those of an accepted login, `error` apart.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct VerdictText {
    verdict: VerdictKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_id: Option<SessionId>,
    #[serde(default, skip_serializing_if = "RawObject::is_empty")]
    metadata: RawObject,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    permissions: Option<PermissionsText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<f64>,
    #[serde(default, skip_serializing_if = "RawObject::is_empty")]
    answer: RawObject,
    #[serde(default, skip_serializing_if = "is_false")]
    administrator: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<RawJson>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum VerdictKind {
    Accept,
    Reject,
    Continue,
}

impl VerdictText {
    fn plain(verdict: VerdictKind) -> Self {
        Self {
            verdict,
            user: None,
            session_id: None,
            metadata: RawObject::default(),
            permissions: None,
            expires: None,
            answer: RawObject::default(),
            administrator: false,
            error: None,
        }
    }

    /// The verdict that this says.
    pub(in crate::ffi) fn into_verdict(self) -> Result<Verdict> {
        let accepted = match self.verdict {
            VerdictKind::Continue => return Ok(Verdict::Continue),
            VerdictKind::Reject => {
                let refusal = self.error.and_then(Error::verbatim);
                return Ok(Verdict::Reject(refusal.unwrap_or_else(|| ErrorCode::Unauthorized.into())));
            }
            VerdictKind::Accept => Accepted {
                user: self.user.ok_or_else(|| Error::missing_field("user"))?,
                session_id: self.session_id,
                metadata: self.metadata,
                permissions: self.permissions.map(TryInto::try_into).transpose()?,
                expires: self.expires.map(time).transpose()?,
                answer: self.answer,
                administrator: self.administrator,
            },
        };
        Ok(Verdict::Accept(accepted))
    }
}

impl From<&Verdict> for VerdictText {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Continue => Self::plain(VerdictKind::Continue),
            Verdict::Reject(error) => {
                Self { error: Some(error.to_json()), ..Self::plain(VerdictKind::Reject) }
            }
            Verdict::Accept(accepted) => Self {
                verdict: VerdictKind::Accept,
                user: Some(accepted.user.clone()),
                session_id: accepted.session_id.clone(),
                metadata: accepted.metadata.clone(),
                permissions: accepted.permissions.as_ref().map(Into::into),
                expires: accepted.expires.map(seconds),
                answer: accepted.answer.clone(),
                administrator: accepted.administrator,
                error: None,
            },
        }
    }
}
