//! Who asks, and sessions.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::is_false;
use crate::{
    certificate::PeerCertificate,
    error::{Error, Result},
    json::RawObject,
    permission::Permissions,
    session::{Caller, Identity, SessionChange, SessionChangeKind, SessionId, SessionInfo, UserId, Who},
};

/// REF.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct RefText {
    pub(in crate::ffi) session_id: SessionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::ffi) connection: Option<u64>,
}

#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct PermissionsText {
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
}

impl From<&Permissions> for PermissionsText {
    fn from(permissions: &Permissions) -> Self {
        let text = |list: &[crate::permission::Permission]| list.iter().map(ToString::to_string).collect();
        Self { allow: text(&permissions.allow), deny: text(&permissions.deny) }
    }
}

impl TryFrom<PermissionsText> for Permissions {
    type Error = Error;

    fn try_from(text: PermissionsText) -> Result<Self> {
        let parse = |list: Vec<String>| -> Result<Vec<_>> {
            list.iter().map(|text| text.parse().map_err(|_| Error::invalid_value("permissions"))).collect()
        };
        Ok(Self { allow: parse(text.allow)?, deny: parse(text.deny)? })
    }
}

/// CALLER.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct CallerText {
    connection: u64,
    service: Arc<str>,
    remote: Arc<str>,
    who: WhoText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_id: Option<SessionId>,
    #[serde(default, skip_serializing_if = "is_false")]
    administrator: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    permissions: Option<PermissionsText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<Arc<PeerCertificate>>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum WhoText {
    Anonymous,
    Session,
    Plugin,
}

impl From<&Caller> for CallerText {
    fn from(caller: &Caller) -> Self {
        let identity = caller.identity();
        Self {
            connection: caller.connection,
            service: Arc::clone(&caller.service),
            remote: Arc::clone(&caller.remote),
            who: match &caller.who {
                Who::Anonymous => WhoText::Anonymous,
                Who::Session(_) => WhoText::Session,
                Who::Plugin => WhoText::Plugin,
            },
            user: identity.map(|identity| identity.user.clone()),
            session_id: identity.map(|identity| identity.session_id.clone()),
            administrator: identity.is_some_and(|identity| identity.administrator),
            permissions: identity.and_then(|identity| identity.permissions.as_ref()).map(Into::into),
            certificate: caller.certificate.clone(),
        }
    }
}

impl TryFrom<CallerText> for Caller {
    type Error = Error;

    fn try_from(text: CallerText) -> Result<Self> {
        let identity = |text: CallerText| -> Result<Identity> {
            Ok(Identity {
                user: text.user.ok_or_else(|| Error::missing_field("user"))?,
                session_id: text.session_id.ok_or_else(|| Error::missing_field("session_id"))?,
                administrator: text.administrator,
                permissions: text.permissions.map(TryInto::try_into).transpose()?,
            })
        };
        Ok(Self {
            connection: text.connection,
            service: Arc::clone(&text.service),
            remote: Arc::clone(&text.remote),
            certificate: text.certificate.clone(),
            who: match text.who {
                WhoText::Anonymous => Who::Anonymous,
                WhoText::Plugin => Who::Plugin,
                WhoText::Session => Who::Session(identity(text)?),
            },
        })
    }
}

/// SESSION, and a change of one where `number` is there.
#[derive(Deserialize, Serialize)]
pub(in crate::ffi) struct SessionText {
    session_id: SessionId,
    user: UserId,
    service: Arc<str>,
    remote: Arc<str>,
    #[serde(default)]
    metadata: RawObject,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<&SessionInfo> for SessionText {
    fn from(session: &SessionInfo) -> Self {
        let SessionInfo { session_id, user, service, remote, metadata } = session.clone();
        let metadata = RawObject::clone(&metadata);
        Self { session_id, user, service, remote, metadata, number: None, reason: None }
    }
}

impl From<SessionText> for SessionInfo {
    fn from(text: SessionText) -> Self {
        let SessionText { session_id, user, service, remote, metadata, .. } = text;
        Self { session_id, user, service, remote, metadata: Arc::new(metadata) }
    }
}

impl From<&SessionChange> for SessionText {
    fn from(change: &SessionChange) -> Self {
        let reason = match &change.kind {
            SessionChangeKind::Started => None,
            SessionChangeKind::Ended { reason } => Some(reason.to_string()),
        };
        Self { number: Some(change.number), reason, ..Self::from(&change.session) }
    }
}

impl From<SessionText> for SessionChange {
    fn from(text: SessionText) -> Self {
        let kind = match text.reason.clone() {
            None => SessionChangeKind::Started,
            Some(reason) => SessionChangeKind::Ended { reason: reason.into() },
        };
        Self { number: text.number.unwrap_or_default(), kind, session: text.into() }
    }
}
