use async_trait::async_trait;
use jackfield_plugin_api::{Accepted, Authenticator, Caller, ErrorCode, Login, UserId, Verdict};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// The administrator from the configuration, who is asked about before every other authenticator (protocol §4).
pub struct Administrator {
    user: UserId,
    password: SecretString,
}

impl Administrator {
    /// The administrator `user`.
    pub fn new(user: UserId, password: SecretString) -> Self {
        Self { user, password }
    }
}

#[async_trait]
impl Authenticator for Administrator {
    async fn authenticate(&self, login: &Login, _from: &Caller) -> Verdict {
        if login.user.as_ref() != Some(&self.user) {
            return Verdict::Continue;
        }
        let given = login.password.as_ref().map(|password| password.expose().as_bytes()).unwrap_or_default();
        if bool::from(given.ct_eq(self.password.expose_secret().as_bytes())) {
            return Verdict::Accept(Accepted { administrator: true, ..Accepted::user(self.user.clone()) });
        }
        Verdict::Reject(ErrorCode::Unauthorized.into())
    }
}
