//! Users by their TLS client certificates: no password, and no user name needed.
//!
//! ```toml
//! [service.main.tls]
//! client_ca = "clients.pem"
//!
//! [[service.main.plugin.auth-certificate.map]]
//! from = "dns"
//! matches = "*.devices.example.com"
//! user = "device-{1}"
//! ```

mod pattern;

use std::{
    borrow::Cow,
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use jackfield_plugin_api::{
    Accepted, Authenticator, Caller, Error, ErrorCode, Login, Manifest, PeerCertificate, Permissions, Plugin,
    Registrar, Result, UserId, Verdict, manifest, register_plugin,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::pattern::{Pattern, Template};

/// The plugin `auth-certificate`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthCertificate;

register_plugin!(AuthCertificate);

#[derive(Deserialize, JsonSchema)]
struct Config {
    /// Which certificates are which users; the first entry that matches decides.
    #[serde(default)]
    map: Vec<Entry>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// What of the certificate is looked at.
    from: Source,
    /// The text that it must be; each `*` stands for any run of characters.
    matches: String,
    /// The user: `{1}` is what the first `*` stands for, `{0}` the whole text, which is the default.
    user: Option<String>,
    /// All that the user may do where no rule decides: patterns of permissions such as `publish:sensors/**`. Left out,
    /// the default policy says.
    allow: Option<Vec<String>>,
}

/// What of a certificate an entry looks at.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Source {
    /// The subject's common name.
    Cn,
    /// A DNS name among the subject's alternative names.
    Dns,
    /// An e-mail address among them.
    Email,
    /// A URI among them.
    Uri,
    /// An IP address among them.
    Ip,
    /// The SHA-256 fingerprint of the certificate, in hexadecimal digits; colons and capitals do not matter.
    Sha256,
}

impl Plugin for AuthCertificate {
    fn manifest(&self) -> Manifest {
        manifest!("auth-certificate")
            .about("Users by their TLS client certificates, without a password.")
            .config::<Config>()
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        let config: Config = registrar.config()?;
        let map = config.map.iter().enumerate().map(|(place, entry)| Mapping::new(place, entry));
        registrar.authenticator(Certificates { map: map.collect::<Result<_>>()? });
        Ok(())
    }
}

struct Certificates {
    map: Vec<Mapping>,
}

/// An entry, checked.
struct Mapping {
    from: Source,
    matches: Pattern,
    user: Template,
    permissions: Option<Permissions>,
}

impl Mapping {
    fn new(place: usize, entry: &Entry) -> Result<Self> {
        let bad = |field: &str| Error::invalid_value(format_args!("map.{place}.{field}"));
        let text = entry.from.normalized(&entry.matches);
        let matches = Pattern::parse(&text).map_err(|source| bad("matches").with_source(source))?;
        let user = match &entry.user {
            None => Template::whole(),
            Some(user) => {
                Template::parse(user, matches.stars()).map_err(|source| bad("user").with_source(source))?
            }
        };
        let permission = |text: &String| text.parse().map_err(|_| bad("allow"));
        let allow = entry.allow.as_ref().map(|list| list.iter().map(permission).collect::<Result<Vec<_>>>());
        let permissions = allow.transpose()?.map(|allow| Permissions { allow, deny: Vec::new() });
        Ok(Self { from: entry.from, matches, user, permissions })
    }

    /// The user that a certificate is by this entry.
    fn user_of(&self, certificate: &PeerCertificate) -> Option<String> {
        let texts = self.from.texts(certificate);
        texts.iter().find_map(|text| {
            let captures = self.matches.captures(text)?;
            Some(self.user.fill(text, &captures))
        })
    }
}

impl Source {
    /// A configured text as certificates would have it.
    fn normalized(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Sha256 => text.replace(':', "").to_ascii_lowercase().into(),
            Self::Dns => text.to_ascii_lowercase().into(),
            _ => text.into(),
        }
    }

    /// What a certificate has of this.
    fn texts(self, certificate: &PeerCertificate) -> Vec<String> {
        match self {
            Self::Cn => certificate.common_name.iter().cloned().collect(),
            Self::Dns => certificate.dns.iter().map(|name| name.to_ascii_lowercase()).collect(),
            Self::Email => certificate.email.clone(),
            Self::Uri => certificate.uri.clone(),
            Self::Ip => certificate.ip.iter().map(ToString::to_string).collect(),
            Self::Sha256 => vec![certificate.sha256.clone()],
        }
    }
}

impl Certificates {
    fn judge(&self, login: &Login, certificate: &PeerCertificate) -> Verdict {
        let found = self.map.iter().find_map(|mapping| Some((mapping, mapping.user_of(certificate)?)));
        let Some((mapping, user)) = found else { return Verdict::Continue };
        // A certificate that maps to nobody, as one whose name is empty or `*`, is nobody's.
        let Ok(user) = UserId::new(&user) else { return Verdict::Reject(ErrorCode::Unauthorized.into()) };
        if login.user.as_ref().is_some_and(|named| *named != user) {
            return Verdict::Reject(ErrorCode::Unauthorized.into());
        }
        // Nobody stays logged in for longer than what it logged in with is good.
        let expires = certificate.not_after.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        let permissions = mapping.permissions.clone();
        Verdict::Accept(Accepted { permissions, expires, ..Accepted::user(user) })
    }
}

#[async_trait]
impl Authenticator for Certificates {
    async fn authenticate(&self, login: &Login, from: &Caller) -> Verdict {
        from.certificate.as_ref().map_or(Verdict::Continue, |certificate| self.judge(login, certificate))
    }
}

#[cfg(test)]
mod tests;
