use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use jackfield_plugin_api::{
    Accepted, Caller, Error, ErrorCode, Identity, Login, RawObject, SessionChangeKind, SessionId,
    SessionInfo, Who,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Identifiers, Sessions, metadata};
use crate::{
    auth::LoginOutcome,
    codec::CloseReason,
    session::{Link, Session},
};

/// A rejected login is answered after this, doubling with each rejection on the connection (protocol §4).
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_millis(6400);

/// After so many rejections the connection is closed.
const MOST_REJECTIONS: u32 = 8;

impl Sessions {
    /// Logs a connection in and gives the fields of the answer.
    ///
    /// # Errors
    /// The refusal. Where it costs the connection too, that is closed once it is answered.
    pub async fn login(&self, link: &Arc<Link>, login: Login) -> Result<RawObject, Error> {
        if link.is_session() {
            return Err(ErrorCode::AlreadyAuthenticated.into());
        }
        let wish = login.session_id.as_deref().map(SessionId::new).transpose();
        let wish =
            wish.inspect_err(|_| link.close(CloseReason::Authentication(ErrorCode::InvalidSessionId)))?;
        match self.authenticators.judge(&login, &link.caller()).await {
            LoginOutcome::Accepted(accepted) => self.begin(link, login, wish, &accepted),
            LoginOutcome::WithoutUser => Err(Error::missing_field("user")),
            LoginOutcome::Rejected(error) => Err(self.reject(link, error).await),
        }
    }

    async fn reject(&self, link: &Link, error: Error) -> Error {
        self.metrics.logins_rejected.increment(1);
        let before = link.rejections.fetch_add(1, Ordering::Relaxed);
        let delay = FIRST_DELAY.saturating_mul(1 << before.min(16)).min(LONGEST_DELAY);
        tracing::info!(service = %self.service, remote = %link.remote, code = error.code(), "login rejected");
        tokio::time::sleep(delay).await;
        if before + 1 >= MOST_REJECTIONS {
            link.close(CloseReason::Authentication(ErrorCode::Unauthorized));
        }
        error
    }

    fn begin(
        &self,
        link: &Arc<Link>,
        mut login: Login,
        wish: Option<SessionId>,
        accepted: &Accepted,
    ) -> Result<RawObject, Error> {
        if self.is_draining() {
            return Err(ErrorCode::ShuttingDown.into());
        }
        let kept = metadata::keep(&mut login, accepted, &self.authenticators)?;
        let id = match accepted.session_id.clone().or(wish) {
            Some(id) => id,
            None => SessionId::new(&uuid::Uuid::new_v4().to_string())?,
        };
        let session = Arc::new(self.session(link, &login, id, accepted, kept));
        self.list(&session).inspect_err(|error| {
            if error.is(ErrorCode::DuplicatedSessionId) {
                link.close(CloseReason::Authentication(ErrorCode::DuplicatedSessionId));
            }
        })?;
        self.anonymous.remove(link);
        self.metrics.logins.increment(1);
        self.metrics.sessions.increment(1.0);
        if !link.set_session(Arc::clone(&session)) {
            self.end(&session, CloseReason::Gone);
            return Err(ErrorCode::AlreadyAuthenticated.into());
        }
        let Identifiers { user, session_id } = Identifiers::of(&session);
        tracing::debug!(service = %self.service, remote = %session.info.remote, ?user, %session_id, "session started");
        self.announce(&session, "start", None);
        let mut answer = RawObject::default();
        answer.set("session_id", &session.info.session_id)?;
        for (name, value) in accepted.answer.iter().filter(|(name, _)| *name != "session_id") {
            answer.insert(name, value.clone());
        }
        Ok(answer)
    }

    fn session(
        &self,
        link: &Arc<Link>,
        login: &Login,
        id: SessionId,
        accepted: &Accepted,
        kept: RawObject,
    ) -> Session {
        let identity = Identity {
            user: accepted.user.clone(),
            session_id: id.clone(),
            administrator: accepted.administrator,
            permissions: accepted.permissions.clone(),
        };
        let info = SessionInfo {
            session_id: id,
            user: accepted.user.clone(),
            service: Arc::clone(&self.service),
            remote: Arc::clone(&link.remote),
            metadata: self.metadata(kept),
        };
        let caller = Caller {
            connection: link.id,
            service: Arc::clone(&self.service),
            remote: Arc::clone(&link.remote),
            certificate: link.certificate.clone(),
            who: Who::Session(identity),
        };
        Session {
            key: link.id,
            caller: Arc::new(caller),
            info,
            events: login.events,
            identify: login.identify,
            service: self.number,
            expires: accepted.expires.and_then(deadline),
            link: Arc::clone(link),
            automatic: AtomicBool::new(true),
            subscriptions: Mutex::new(Some(None)),
        }
    }

    /// What is kept of a login. Sessions without any share that.
    fn metadata(&self, kept: RawObject) -> Arc<RawObject> {
        if kept.is_empty() { Arc::clone(&self.no_metadata) } else { Arc::new(kept) }
    }

    /// Lists a session, which subscribes it to what is its own, and tells the observers.
    fn list(&self, session: &Arc<Session>) -> Result<(), Error> {
        let per_user = self.settings.load().limits.connections_per_user;
        let mut changes = self.changes.lock();
        self.directory.insert(session, per_user).map_err(|code| match code {
            ErrorCode::LimitExceeded => Error::about(code, "connections_per_user"),
            code => code.into(),
        })?;
        self.events.subscribed_to_own();
        changes.record(session, SessionChangeKind::Started);
        drop(changes);
        self.tell_observers();
        Ok(())
    }
}

/// `None` for a time so far ahead that no clock reaches it.
fn deadline(expires: SystemTime) -> Option<Instant> {
    Instant::now().checked_add(expires.duration_since(SystemTime::now()).unwrap_or_default())
}
