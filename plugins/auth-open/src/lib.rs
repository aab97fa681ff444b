//! Lets anybody log in under any name, without a password. For development.

use async_trait::async_trait;
use jackfield_plugin_api::{
    Accepted, Authenticator, Caller, Login, Manifest, Plugin, Registrar, Result, Verdict, manifest,
    register_plugin,
};

/// The plugin `auth-open`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthOpen;

register_plugin!(AuthOpen);

impl Plugin for AuthOpen {
    fn manifest(&self) -> Manifest {
        manifest!("auth-open").about("Lets anybody log in without a password. For development.")
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        tracing::warn!("auth-open is for development: anybody can log in under any name, without a password");
        registrar.authenticator(Anybody);
        Ok(())
    }
}

struct Anybody;

#[async_trait]
impl Authenticator for Anybody {
    async fn authenticate(&self, login: &Login, _from: &Caller) -> Verdict {
        match &login.user {
            Some(user) => Verdict::Accept(Accepted::user(user.clone())),
            None => Verdict::Continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{
        UserId,
        testing::{Harness, anonymous},
    };

    use super::*;

    #[tokio::test]
    async fn any_name_will_do_but_a_name_it_must_be() {
        let harness = Harness::new(AuthOpen).unwrap();
        let named = Login { user: Some(UserId::new("ann").unwrap()), ..Login::default() };
        let verdict = harness.authenticate(&named, &anonymous()).await;
        assert!(matches!(verdict, Verdict::Accept(accepted) if accepted.user.as_str() == "ann"));
        let verdict = harness.authenticate(&Login::default(), &anonymous()).await;
        assert!(matches!(verdict, Verdict::Continue));
    }
}
