use std::{panic::AssertUnwindSafe, sync::Arc};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use jackfield_plugin_api::{Accepted, Authenticator, Caller, Error, ErrorCode, Login as Request, Verdict};

use crate::telemetry::panics;

/// The authenticators of a service, first asked first.
pub struct Authenticators {
    chain: ArcSwap<Vec<Arc<dyn Authenticator>>>,
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
        Self { chain: ArcSwap::default() }
    }

    /// Puts another chain in force.
    pub fn replace(&self, chain: Vec<Arc<dyn Authenticator>>) {
        self.chain.store(Arc::new(chain));
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
