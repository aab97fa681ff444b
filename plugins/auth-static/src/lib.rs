//! Users from the configuration, with hashed passwords.
//!
//! ```toml
//! [service.main.plugin.auth-static.users]
//! "ann@example.com" = "$argon2id$v=19$m=19456,t=2,p=1$…"
//! ```

mod hash;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use jackfield_plugin_api::{
    Accepted, Authenticator, Caller, Error, ErrorCode, Login, Manifest, Plugin, Registrar, Result, UserId,
    Verdict, manifest, register_plugin,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::hash::Hash;

/// The plugin `auth-static`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthStatic;

register_plugin!(AuthStatic);

#[derive(Deserialize, JsonSchema)]
struct Config {
    /// The users' names, each with the hash of a password in PHC form: `$argon2id$…`.
    #[serde(default)]
    users: BTreeMap<String, String>,
}

impl Plugin for AuthStatic {
    fn manifest(&self) -> Manifest {
        manifest!("auth-static")
            .about("Users from the configuration, with hashed passwords.")
            .config::<Config>()
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        let config: Config = registrar.config()?;
        registrar.authenticator(StaticUsers::new(&config)?);
        Ok(())
    }
}

/// How many passwords are checked at a time. Each takes a core and tens of megabytes for tens of milliseconds, so a
/// flood of logins must queue.
const CHECKS_AT_A_TIME: usize = 2;

struct StaticUsers {
    users: HashMap<UserId, Arc<Hash>>,
    checks: Arc<Semaphore>,
}

impl StaticUsers {
    fn new(config: &Config) -> Result<Self> {
        let user = |(name, text): (&String, &String)| {
            let bad = || Error::invalid_value(format_args!("users.{name}"));
            let user = UserId::new(name).map_err(|_| bad())?;
            let hash = Hash::parse(text).map_err(|source| bad().with_source(source))?;
            Ok((user, Arc::new(hash)))
        };
        let users = config.users.iter().map(user).collect::<Result<_>>()?;
        Ok(Self { users, checks: Arc::new(Semaphore::new(CHECKS_AT_A_TIME)) })
    }

    async fn check(&self, hash: &Arc<Hash>, login: &Login) -> Result<()> {
        let password = login.password.clone().ok_or(ErrorCode::Unauthorized)?;
        let failed = || Error::new(ErrorCode::InternalError);
        let permit = Arc::clone(&self.checks).acquire_owned().await;
        let permit = permit.map_err(|source| failed().with_source(source))?;
        let hash = Arc::clone(hash);
        let check = tokio::task::spawn_blocking(move || {
            let fits = hash.fits(&password);
            // Kept until here: a client that leaves does not end the work.
            drop(permit);
            fits
        });
        if check.await.map_err(|source| failed().with_source(source))? {
            Ok(())
        } else {
            Err(ErrorCode::Unauthorized.into())
        }
    }
}

#[async_trait]
impl Authenticator for StaticUsers {
    async fn authenticate(&self, login: &Login, _from: &Caller) -> Verdict {
        let Some((user, hash)) = login.user.as_ref().and_then(|user| self.users.get_key_value(user)) else {
            return Verdict::Continue;
        };
        match self.check(hash, login).await {
            Ok(()) => Verdict::Accept(Accepted::user(user.clone())),
            Err(error) => Verdict::Reject(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{
        Password,
        testing::{Harness, anonymous},
    };
    use serde_json::json;

    use super::*;
    use crate::hash::tests::hash_of;

    fn login(user: &str, password: Option<&str>) -> Login {
        Login {
            user: Some(UserId::new(user).unwrap()),
            password: password.map(Password::new),
            ..Login::default()
        }
    }

    fn harness() -> Harness {
        let config = json!({ "users": { "ann@example.com": hash_of("secret") } });
        Harness::with_config(AuthStatic, &config).unwrap()
    }

    #[tokio::test]
    async fn the_right_password_is_accepted() {
        let verdict = harness().authenticate(&login("ann@example.com", Some("secret")), &anonymous()).await;
        assert!(matches!(verdict, Verdict::Accept(accepted) if accepted.user.as_str() == "ann@example.com"));
    }

    #[tokio::test]
    async fn a_wrong_or_missing_password_is_rejected() {
        for password in [Some("Secret"), Some(""), None] {
            let verdict = harness().authenticate(&login("ann@example.com", password), &anonymous()).await;
            assert!(matches!(verdict, Verdict::Reject(error) if error.is(ErrorCode::Unauthorized)));
        }
    }

    #[tokio::test]
    async fn others_are_left_to_others() {
        for login in [login("bob@example.com", Some("secret")), Login::default()] {
            assert!(matches!(harness().authenticate(&login, &anonymous()).await, Verdict::Continue));
        }
    }

    #[tokio::test]
    async fn a_flood_of_logins_is_answered() {
        let harness = Arc::new(harness());
        let mut logins = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let harness = Arc::clone(&harness);
            logins.spawn(async move {
                harness.authenticate(&login("ann@example.com", Some("secret")), &anonymous()).await
            });
        }
        while let Some(verdict) = logins.join_next().await {
            assert!(matches!(verdict.unwrap(), Verdict::Accept(_)));
        }
    }

    #[test]
    fn a_bad_hash_is_named_by_its_user_and_not_shown() {
        for hash in
            ["", "plain-secret", "$argon2id$v=19$m=8,t=1,p=1", "$scrypt$ln=1,r=1,p=1$c2FsdHNhbHQ$aGFzaA"]
        {
            let config = json!({ "users": { "ann": hash } });
            let error = Harness::with_config(AuthStatic, &config).unwrap_err();
            assert_eq!(error.text(), "Invalid value: users.ann", "{hash}");
            assert!(!format!("{error:?}").contains("plain-secret"));
        }
    }

    #[test]
    fn the_configuration_has_a_schema() {
        let error = Harness::with_config(AuthStatic, &json!({ "user": {} })).unwrap_err();
        assert_eq!(error.text(), "Invalid value: plugin.auth-static.user");
        assert!(Harness::with_config(AuthStatic, &json!({ "users": { "ann": 1 } })).is_err());
    }
}
