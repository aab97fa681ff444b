use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use jackfield_plugin_api::{
    Accepted, Authenticator, Caller, CommandKey, Error, ErrorCode, Login, Permissions, RawJson, RawObject,
    Result, SessionId, UserId, Verdict, permission::Permission,
};
use serde::Deserialize;

use super::{Asker, Question, name, places::Places};
use crate::session::Session;

/// How many logins a session judges at once.
pub(super) const MOST_LOGINS: usize = 1024;

/// What a session cannot allow, whatever it says: protocol.md §8 leaves it to administrators and to rules.
const NEVER_GIVEN: [&str; 5] = [
    "register:**",
    "service:*",
    "command:core/plugin/load",
    "command:core/plugin/unload",
    "command:core/plugin/reload",
];

/// A session that is asked about logins.
pub(super) struct SessionAuthenticator {
    pub(super) asker: Arc<Asker>,
    pub(super) session: Arc<Session>,
    pub(super) deadline: Duration,
    pub(super) places: Places,
}

/// What a session says of a login.
#[derive(Deserialize)]
struct Said {
    verdict: Word,
    user: Option<String>,
    session_id: Option<String>,
    #[serde(default)]
    metadata: RawObject,
    permissions: Option<SaidPermissions>,
    /// Seconds since 1970.
    expires: Option<f64>,
    #[serde(default)]
    answer: RawObject,
    error: Option<RawJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Accept,
    Reject,
    Continue,
}

#[derive(Deserialize)]
struct SaidPermissions {
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
}

#[async_trait]
impl Authenticator for SessionAuthenticator {
    /// Without a verdict nobody is let in: who is asked might have rejected.
    async fn authenticate(&self, login: &Login, from: &Caller) -> Verdict {
        self.ask(login, from).await.unwrap_or_else(Verdict::Reject)
    }
}

impl SessionAuthenticator {
    async fn ask(&self, login: &Login, from: &Caller) -> Result<Verdict> {
        let data = question(login, from)?;
        let most_bytes = self.asker.settings.load().limits.outbound_bytes / 2;
        let place = self.places.take(data.len(), most_bytes).ok_or(ErrorCode::TooManyRequests)?;
        let command = CommandKey::new("core", "user", "authenticate");
        let question = Question { command: &command, data: &data, from: None, acks: None, held: Some(place) };
        self.asker.metrics.worker_logins.increment(1);
        let sent = self.asker.send(&self.session, question).map_err(|_| self.unavailable("it is closing"))?;
        let answered = tokio::time::timeout(self.deadline, sent.answer()).await;
        let answer = answered.map_err(|_| self.unavailable("its deadline has passed"))?;
        let answer = answer.ok_or_else(|| self.unavailable("it went away"))?;
        let answer = answer.map_err(|_| self.unavailable("it answered with an error"))?;
        self.read(login, from, &answer).ok_or_else(|| self.unavailable("its answer is no verdict"))
    }

    /// No word of the answer is logged: there may be a secret in it.
    fn unavailable(&self, why: &'static str) -> Error {
        let name = name(&self.session);
        tracing::warn!(session = %name, why, "a session gave no verdict on a login");
        Error::about(ErrorCode::PluginUnavailable, name)
    }

    fn read(&self, login: &Login, from: &Caller, answer: &RawJson) -> Option<Verdict> {
        let said: Said = answer.parse().ok()?;
        match said.verdict {
            Word::Continue => Some(Verdict::Continue),
            Word::Reject => Some(Verdict::Reject(match said.error {
                Some(error) => Error::verbatim(error)?,
                None => ErrorCode::Unauthorized.into(),
            })),
            Word::Accept => {
                let accepted = accepted(login, said)?;
                // An administrator's name is the administrator's alone, with or without the powers.
                if self.is_administrator(&accepted.user, from) {
                    tracing::warn!(session = %name(&self.session), "a session took somebody for the administrator");
                    return Some(Verdict::Reject(ErrorCode::Unauthorized.into()));
                }
                Some(Verdict::Accept(accepted))
            }
        }
    }

    fn is_administrator(&self, user: &UserId, from: &Caller) -> bool {
        let settings = self.asker.settings.load();
        settings.services.get(&*from.service).is_none_or(|service| service.admin_user == user.as_str())
    }
}

/// The whole login, secrets included, and where it comes from.
fn question(login: &Login, from: &Caller) -> Result<RawJson> {
    let mut fields = login.fields.clone();
    if let Some(user) = &login.user {
        fields.set("user", user)?;
    }
    if let Some(password) = &login.password {
        fields.set("password", &password.expose())?;
    }
    if let Some(session_id) = &login.session_id {
        fields.set("session_id", session_id)?;
    }
    if !login.meta.is_empty() {
        fields.insert("meta", login.meta.to_json());
    }
    let mut data = RawObject::default();
    data.insert("login", fields.to_json());
    data.set("remote", &&*from.remote)?;
    data.set("service", &&*from.service)?;
    Ok(data.to_json())
}

fn accepted(login: &Login, said: Said) -> Option<Accepted> {
    let user = match said.user {
        Some(user) => UserId::new(&user).ok()?,
        None => login.user.clone()?,
    };
    let session_id = said.session_id.map(|id| SessionId::new(&id)).transpose().ok()?;
    let permissions = said.permissions.map(permissions).transpose().ok()?;
    let expires = match said.expires {
        Some(seconds) => {
            Some(SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?)
        }
        None => None,
    };
    let (metadata, answer) = (said.metadata, said.answer);
    Some(Accepted { session_id, metadata, permissions, expires, answer, ..Accepted::user(user) })
}

fn permissions(
    said: SaidPermissions,
) -> Result<Permissions, jackfield_plugin_api::permission::InvalidPermission> {
    let parse = |patterns: Vec<String>| -> Result<Vec<Permission>, _> {
        patterns.iter().map(|pattern| pattern.parse()).collect()
    };
    let mut permissions = Permissions { allow: parse(said.allow)?, deny: parse(said.deny)? };
    permissions.deny.extend(parse(NEVER_GIVEN.map(String::from).into())?);
    Ok(permissions)
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{Action, Topic};

    use super::*;

    fn said(text: &'static str) -> Option<Accepted> {
        let login = Login { user: UserId::new("ann").ok(), ..Login::default() };
        accepted(&login, RawJson::from_text(text).unwrap().parse().ok()?)
    }

    #[test]
    fn what_is_accepted_is_read() {
        let accepted = said(
            r#"{"verdict":"accept","user":"bob","session_id":"s","metadata":{"n":1e999},"expires":10.5,
                "permissions":{"allow":["publish:**","register:**"]},"answer":{"x":1}}"#,
        )
        .unwrap();
        assert_eq!((accepted.user.as_str(), accepted.administrator), ("bob", false));
        assert_eq!(accepted.metadata.to_json().as_str(), r#"{"n":1e999}"#);
        assert_eq!(accepted.expires, SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(10_500)));
        let permissions = accepted.permissions.unwrap();
        assert_eq!(permissions.decide(&Action::Publish(Topic::new("a", "b", "c", "d"))), Some(true));
        assert_eq!(permissions.decide(&Action::Register(CommandKey::new("a", "b", "c"))), Some(false));
        assert_eq!(said(r#"{"verdict":"accept"}"#).unwrap().user.as_str(), "ann");
    }

    #[test]
    fn garbage_accepts_nobody() {
        for text in [
            "{}",
            "[]",
            r#"{"verdict":"Accept"}"#,
            r#"{"verdict":"accept","user":""}"#,
            r#"{"verdict":"accept","user":5}"#,
            r#"{"verdict":"accept","session_id":"a b"}"#,
            r#"{"verdict":"accept","expires":-1}"#,
            r#"{"verdict":"accept","expires":1e300}"#,
            r#"{"verdict":"accept","permissions":{"allow":["all"]}}"#,
            r#"{"verdict":"accept","metadata":[]}"#,
        ] {
            assert!(said(text).is_none(), "{text}");
        }
    }
}
