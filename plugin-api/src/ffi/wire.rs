//! The JSON forms of what crosses the border, as `include/jackfield_plugin.h` writes them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    auth::{Accepted, Decision, Login, Password, Ruling, Verdict},
    certificate::PeerCertificate,
    command::CallMode,
    error::{Error, ErrorCode, Result},
    event::{Event, ServiceScope, Subscription, Topic},
    json::{RawJson, RawObject},
    log::{BrokerRecord, LogRecord, Severity},
    message::CommandKey,
    permission::{Action, Permissions},
    registration::{IfLost, Registration},
    session::{
        Caller, EventMode, Identity, SessionChange, SessionChangeKind, SessionId, SessionInfo, UserId, Who,
    },
};

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

/// EVENT.
#[derive(Deserialize, Serialize)]
pub(super) struct EventText {
    class: ByteString,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subclass: Option<ByteString>,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<ByteString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    obj_id: Option<ByteString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<ByteString>,
    #[serde(default, skip_serializing_if = "RawJson::is_empty")]
    body: RawJson,
}

/// The scope as text, absent for one's own service.
pub(super) fn scope_text(scope: &ServiceScope) -> Option<&str> {
    match scope {
        ServiceScope::Own => None,
        ServiceScope::Named(name) => Some(name),
        ServiceScope::All => Some("*"),
    }
}

impl EventText {
    pub(super) fn new(topic: &Topic, service: &ServiceScope, body: &RawJson) -> Self {
        let Topic { class, subclass, kind, obj_id } = topic.clone();
        let service = scope_text(service).map(ByteString::from);
        Self { class, subclass, kind, obj_id, service, body: body.clone() }
    }

    /// Absent fields and `*` are the same (protocol §5).
    fn into_parts(self) -> (Topic, ServiceScope, RawJson) {
        let Self { class, subclass, kind, obj_id, service, body } = self;
        (
            TopicText { class, subclass, kind, obj_id }.into(),
            ServiceScope::from_wire(service.as_deref()),
            body,
        )
    }
}

impl From<&Event> for EventText {
    fn from(event: &Event) -> Self {
        Self::new(&event.topic, &event.service, &event.body)
    }
}

impl From<EventText> for Event {
    fn from(text: EventText) -> Self {
        let (topic, service, body) = text.into_parts();
        Self { topic, service, body }
    }
}

impl From<&Subscription> for EventText {
    fn from(subscription: &Subscription) -> Self {
        Self::new(&subscription.topic, &subscription.service, &subscription.body)
    }
}

impl From<EventText> for Subscription {
    fn from(text: EventText) -> Self {
        let (topic, service, body) = text.into_parts();
        Self { topic, service, body }
    }
}

/// What an action on events is about.
#[derive(Deserialize, Serialize)]
pub(super) struct TopicText {
    class: ByteString,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subclass: Option<ByteString>,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<ByteString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    obj_id: Option<ByteString>,
}

impl From<&Topic> for TopicText {
    fn from(topic: &Topic) -> Self {
        let Topic { class, subclass, kind, obj_id } = topic.clone();
        Self { class, subclass, kind, obj_id }
    }
}

impl From<TopicText> for Topic {
    fn from(text: TopicText) -> Self {
        let some = |field: Option<ByteString>| field.filter(|field| *field != *"*");
        Self {
            class: text.class,
            subclass: some(text.subclass),
            kind: some(text.kind),
            obj_id: some(text.obj_id),
        }
    }
}

/// An event and whose it is.
#[derive(Deserialize, Serialize)]
pub(super) struct FromText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<CallerText>,
    pub(super) event: EventText,
}

/// REF.
#[derive(Deserialize, Serialize)]
pub(super) struct RefText {
    pub(super) session_id: SessionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) connection: Option<u64>,
}

/// What a session subscribes to.
#[derive(Deserialize, Serialize)]
pub(super) struct SubscribeText {
    pub(super) session: RefText,
    pub(super) event: EventText,
}

#[derive(Deserialize, Serialize)]
pub(super) struct PermissionsText {
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
pub(super) struct CallerText {
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

/// ACTION.
#[derive(Deserialize, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub(super) enum ActionText {
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
pub(super) struct AuthorizeText {
    pub(super) caller: CallerText,
    pub(super) action: ActionText,
}

/// What an authorizer says.
#[derive(Deserialize, Serialize)]
pub(super) struct RulingText {
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
pub(super) struct LoginText {
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
    pub(super) fn write(login: &Login) -> Result<RawJson> {
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
    pub(super) fn parse(json: &RawJson) -> Result<Login> {
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
pub(super) struct VerdictText {
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
    pub(super) fn into_verdict(self) -> Result<Verdict> {
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

/// Seconds since 1970.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn time(seconds: f64) -> Result<SystemTime> {
    let since = Duration::try_from_secs_f64(seconds).ok();
    since.and_then(|since| UNIX_EPOCH.checked_add(since)).ok_or_else(|| Error::invalid_value("time"))
}

/// RECORD.
#[derive(Deserialize, Serialize)]
pub(super) struct RecordText {
    source: String,
    message: String,
    level: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    full_message: Option<String>,
    #[serde(default, skip_serializing_if = "RawObject::is_empty")]
    meta: RawObject,
    user: UserId,
    session_id: SessionId,
    service: Arc<str>,
    time: f64,
}

impl From<&LogRecord> for RecordText {
    fn from(record: &LogRecord) -> Self {
        let LogRecord { source, message, level, full_message, meta, user, session_id, service, time } =
            record.clone();
        let (level, time) = (level.number(), seconds(time));
        Self { source, message, level, full_message, meta, user, session_id, service, time }
    }
}

impl TryFrom<RecordText> for LogRecord {
    type Error = Error;

    fn try_from(text: RecordText) -> Result<Self> {
        let RecordText { source, message, level, full_message, meta, user, session_id, service, time: since } =
            text;
        let level = Severity::new(level).ok_or_else(|| Error::invalid_value("level"))?;
        let time = time(since)?;
        Ok(Self { source, message, level, full_message, meta, user, session_id, service, time })
    }
}

/// A line of the broker's log.
#[derive(Deserialize, Serialize)]
pub(super) struct LineText {
    time: f64,
    level: u8,
    target: String,
    message: String,
    #[serde(default, skip_serializing_if = "RawObject::is_empty")]
    fields: RawObject,
}

impl From<&BrokerRecord> for LineText {
    fn from(record: &BrokerRecord) -> Self {
        let BrokerRecord { time, level, target, message, fields } = record.clone();
        Self { time: seconds(time), level: level.number(), target: target.into_owned(), message, fields }
    }
}

impl TryFrom<LineText> for BrokerRecord {
    type Error = Error;

    fn try_from(text: LineText) -> Result<Self> {
        let level = Severity::new(text.level).ok_or_else(|| Error::invalid_value("level"))?;
        let LineText { time: since, target, message, fields, .. } = text;
        Ok(Self { time: time(since)?, level, target: target.into(), message, fields })
    }
}

/// What a session registers.
#[derive(Deserialize, Serialize)]
pub(super) struct RegistrationText {
    pub(super) session: RefText,
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
    pub(super) fn new(session: RefText, registration: Registration) -> Self {
        let Registration { key, description, data_schema, if_lost, inflight } = registration;
        let CommandKey { class, subclass, cmd } = key;
        let retry = if_lost == IfLost::Retry;
        Self { session, class, subclass, cmd, description, data_schema, retry, inflight }
    }

    pub(super) fn into_parts(self) -> (RefText, Registration) {
        let if_lost = if self.retry { IfLost::Retry } else { IfLost::Fail };
        let Self { session, class, subclass, cmd, description, data_schema, inflight, retry: _ } = self;
        let key = CommandKey { class, subclass, cmd };
        (session, Registration { key, description, data_schema, if_lost, inflight })
    }
}

/// A session that judges logins.
#[derive(Deserialize, Serialize)]
pub(super) struct JudgeText {
    pub(super) session: RefText,
    #[serde(default)]
    pub(super) deadline: f64,
}

/// SESSION, and a change of one where `number` is there.
#[derive(Deserialize, Serialize)]
pub(super) struct SessionText {
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
