//! Run: `cargo run --example auth_plugin -- run --plugin auth-badge --set 'service.main.plugin.auth-badge.badges={b17={user="ann"}}'`
//! Try: `cargo run -- call core/user/list --login '{"badge":"b17"}'`
//!
//! An authenticator: who shows a badge that the configuration knows is its owner, with the permissions that come
//! with it and for as long as it says.
//!
//! ```toml
//! [service.main.plugin.auth-badge.badges.b17]
//! user = "ann"
//! allow = ["command:core/event/*", "subscribe:news/**"]
//! seconds = 3600
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use jackfield_plugin_api::{
    Accepted, Authenticator, Caller, Error, ErrorCode, Login, Manifest, Permission, Permissions, Plugin,
    RawObject, Registrar, Result, UserId, Verdict, manifest, register_plugin,
};
use schemars::JsonSchema;
use serde::Deserialize;

struct AuthBadge;

register_plugin!(AuthBadge);

#[derive(Deserialize, JsonSchema)]
struct Config {
    /// The badges that are out, by what is written on them.
    #[serde(default)]
    badges: BTreeMap<String, BadgeConfig>,
}

#[derive(Deserialize, JsonSchema)]
struct BadgeConfig {
    /// Whose badge it is.
    user: String,
    /// What its bearer may do; the rules and the default policy say so if absent.
    allow: Option<Vec<String>>,
    /// How long a session lasts, in seconds; until it ends by itself if absent.
    seconds: Option<u64>,
}

impl Plugin for AuthBadge {
    fn manifest(&self) -> Manifest {
        manifest!("auth-badge").about("Logs people in by their badges.").config::<Config>()
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        let config: Config = registrar.config()?;
        let badges = config.badges.into_iter().map(|(name, config)| {
            let badge = Badge::parse(&name, config)?;
            Ok((name, badge))
        });
        registrar.authenticator(Badges(badges.collect::<Result<_>>()?));
        Ok(())
    }
}

struct Badge {
    user: UserId,
    permissions: Option<Permissions>,
    lasts: Option<Duration>,
}

impl Badge {
    fn parse(name: &str, config: BadgeConfig) -> Result<Self> {
        let bad = |key: &str| Error::invalid_value(format_args!("badges.{name}.{key}"));
        let permission = |text: String| text.parse().map_err(|source| bad("allow").with_source(source));
        let allow =
            config.allow.map(|allow| allow.into_iter().map(permission).collect::<Result<Vec<Permission>>>());
        Ok(Self {
            user: UserId::new(&config.user).map_err(|_| bad("user"))?,
            permissions: allow.transpose()?.map(|allow| Permissions { allow, deny: Vec::new() }),
            lasts: config.seconds.map(Duration::from_secs),
        })
    }

    fn accept(&self) -> Result<Accepted> {
        let mut metadata = RawObject::default();
        metadata.set("via", &"badge")?;
        let mut answer = RawObject::default();
        if let Some(lasts) = self.lasts {
            answer.set("expires_in", &lasts.as_secs())?;
        }
        let expires = self.lasts.and_then(|lasts| SystemTime::now().checked_add(lasts));
        let accepted = Accepted::user(self.user.clone());
        Ok(Accepted { permissions: self.permissions.clone(), expires, metadata, answer, ..accepted })
    }
}

struct Badges(HashMap<String, Badge>);

#[async_trait]
impl Authenticator for Badges {
    async fn authenticate(&self, login: &Login, _from: &Caller) -> Verdict {
        // No badge shown: another authenticator may know who this is.
        let Some(shown) = login.fields.get("badge") else { return Verdict::Continue };
        let badge = shown.parse::<String>().ok().and_then(|shown| self.0.get(&shown));
        let Some(badge) = badge else { return Verdict::Reject(ErrorCode::Unauthorized.into()) };
        match badge.accept() {
            Ok(accepted) => Verdict::Accept(accepted),
            Err(error) => Verdict::Reject(error),
        }
    }

    fn secret_fields(&self) -> &[&str] {
        &["badge"]
    }
}

fn main() -> std::process::ExitCode {
    jackfield::cli::main()
}
