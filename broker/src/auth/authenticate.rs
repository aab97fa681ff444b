use std::{panic::AssertUnwindSafe, sync::Arc};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use jackfield_plugin_api::{Accepted, Authenticator, Caller, Error, ErrorCode, Login as Request, Verdict};
use parking_lot::Mutex;

use crate::telemetry::panics;

/// The authenticators of a service, first asked first.
pub struct Authenticators {
    chain: ArcSwap<Vec<Arc<dyn Authenticator>>>,
    /// What the chain is made of; held while it is.
    parts: Mutex<Parts>,
}

#[derive(Default)]
struct Parts {
    of_plugins: Vec<Arc<dyn Authenticator>>,
    /// Those that are sessions, by the sessions' keys. They outlive a change of plugins.
    of_sessions: Vec<(u64, Arc<dyn Authenticator>)>,
}

/// What the chain made of a login.
pub enum Login {
    /// One accepted it.
    Accepted(Box<Accepted>),
    /// One rejected it, or nobody accepted it.
    Rejected(Error),
    /// It names no user, and no authenticator knew one.
    WithoutUser,
}

impl Authenticators {
    /// No authenticators: every login is rejected.
    pub fn new() -> Self {
        Self { chain: ArcSwap::default(), parts: Mutex::default() }
    }

    /// Puts another chain in force, those that are sessions behind it.
    pub fn replace(&self, chain: Vec<Arc<dyn Authenticator>>) {
        let mut parts = self.parts.lock();
        parts.of_plugins = chain;
        self.put_in_force(&parts);
    }

    /// Asks a session as the last from now on, or in its place where it is asked already. Says whether it is new.
    pub fn set_of_session(&self, session: u64, authenticator: Arc<dyn Authenticator>) -> bool {
        let mut parts = self.parts.lock();
        let there = parts.of_sessions.iter_mut().find(|(key, _)| *key == session);
        let is_new = there.is_none();
        match there {
            Some((_, before)) => *before = authenticator,
            None => parts.of_sessions.push((session, authenticator)),
        }
        self.put_in_force(&parts);
        is_new
    }

    /// Asks a session no more, and says whether it was asked.
    pub fn remove_of_session(&self, session: u64) -> bool {
        let mut parts = self.parts.lock();
        let before = parts.of_sessions.len();
        parts.of_sessions.retain(|(key, _)| *key != session);
        let was_there = parts.of_sessions.len() < before;
        if was_there {
            self.put_in_force(&parts);
        }
        was_there
    }

    fn put_in_force(&self, parts: &Parts) {
        let of_sessions = parts.of_sessions.iter().map(|(_, authenticator)| Arc::clone(authenticator));
        self.chain.store(Arc::new(parts.of_plugins.iter().cloned().chain(of_sessions).collect()));
    }

    /// Asks one after the other.
    pub async fn judge(&self, login: &Request, from: &Caller) -> Login {
        let chain = self.chain.load_full();
        for authenticator in chain.iter() {
            let asked = AssertUnwindSafe(authenticator.authenticate(login, from)).catch_unwind();
            match asked.await {
                Ok(Verdict::Accept(accepted)) => return Login::Accepted(Box::new(accepted)),
                Ok(Verdict::Reject(error)) => return Login::Rejected(error),
                Ok(Verdict::Continue) => {}
                Err(panic) => return Login::Rejected(panics::caught("an authenticator panicked", &panic)),
            }
        }
        match login.user {
            Some(_) => Login::Rejected(ErrorCode::Unauthorized.into()),
            None => Login::WithoutUser,
        }
    }

    /// Whether a login field is one that some authenticator declared secret.
    pub fn is_secret(&self, field: &str) -> bool {
        let chain = self.chain.load();
        chain.iter().any(|authenticator| {
            authenticator.secret_fields().iter().any(|secret| secret.eq_ignore_ascii_case(field))
        })
    }
}

impl Default for Authenticators {
    fn default() -> Self {
        Self::new()
    }
}
