//! `[service.NAME]`: one service.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::SecretString;
use serde_json::Value;

use super::address::ListenUrl;
use super::read::{flag, list, nonempty, optional, parsed, path, plugin_tables, secret, sha256};
use super::read::{permission, plugin_ref, string};
use super::section::{read_section, section};

section! {
    /// One service: its listeners, plugins, users and rules.
    #[derive(Debug, Clone)]
    pub struct ServiceConfig {
        /// The addresses to listen on.
        pub listen: Vec<ListenUrl> = default_listeners(), nonempty(list(parsed::<ListenUrl>));
        /// The plugins, in the order they are asked.
        pub plugins: Vec<PluginRef> = Vec::new(), list(plugin_ref);
        /// The administrator's user name.
        pub admin_user: String = "admin".to_owned(), string;
        /// The administrator's password; when unset, one is generated at start.
        pub admin_password: Option<SecretString> = None, optional(secret);
        /// A file that holds the administrator's password; loading puts it into `admin_password`.
        pub admin_password_file: Option<PathBuf> = None, optional(path);
        /// What an authenticated user may do where no rule decides: "allow" or "deny".
        pub default_policy: DefaultPolicy = DefaultPolicy::Allow, parsed::<DefaultPolicy>;
        /// The rules; the first match decides.
        pub rules @ "rule": Vec<RuleConfig> = Vec::new(), list(read_section::<RuleConfig>);
        /// Plugins' own tables, by the plugin's name.
        pub plugin_tables @ "plugin": PluginTables = PluginTables::default(), plugin_tables;
        /// Certificates for wss:// and tls:// listeners.
        pub tls: Option<TlsConfig> = None, optional(read_section::<TlsConfig>);
        /// SHA-256 sums, in lower-case hex, of the libraries that may be loaded; empty allows all.
        pub library_sha256: Vec<String> = Vec::new(), list(sha256);
    }
}

/// What service `main` listens on by default.
fn default_listeners() -> Vec<ListenUrl> {
    use super::address::Scheme::{Tcp, Ws};
    [Ws, Tcp]
        .map(|scheme| ListenUrl {
            scheme,
            host: "127.0.0.1".to_owned(),
            port: scheme.default_port(),
            path: None,
        })
        .to_vec()
}

section! {
    /// One rule: what users whose name matches may and may not do. `deny` is looked at before `allow`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct RuleConfig {
        /// A glob that the user's name must match.
        pub user: String = "*".to_owned(), string;
        /// Patterns of permissions given: "command:core/event/*".
        pub allow: Vec<String> = Vec::new(), list(permission);
        /// Patterns of permissions refused.
        pub deny: Vec<String> = Vec::new(), list(permission);
    }
}

section! {
    /// Certificates of a service.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct TlsConfig {
        /// The certificate chain, PEM.
        pub certificate: PathBuf = PathBuf::new(), path;
        /// The certificate's private key, PEM.
        pub key: PathBuf = PathBuf::new(), path;
        /// Authorities of client certificates, PEM; set, a client certificate is asked for.
        pub client_ca: Option<PathBuf> = None, optional(path);
        /// Whether a client without a certificate is refused.
        pub require_client_certificate: bool = false, flag;
    }
}

/// What an authenticated user may do where no rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultPolicy {
    /// Everything that no default policy withholds.
    Allow,
    /// Nothing.
    Deny,
}

impl FromStr for DefaultPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            _ => Err(UnknownPolicy),
        }
    }
}

/// A default policy that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected \"allow\" or \"deny\"")]
pub struct UnknownPolicy;

/// A plugin in a service's list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PluginRef {
    /// Built into the binary, by name.
    Builtin(String),
    /// A library, by path.
    Library(PathBuf),
}

impl PluginRef {
    /// Whether what was written is the path of a library, and not a plugin's name.
    #[must_use]
    pub fn is_path(text: &str) -> bool {
        text.contains(['/', '\\']) || [".so", ".dylib", ".dll"].iter().any(|end| text.ends_with(end))
    }
}

impl fmt::Display for PluginRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => f.write_str(name),
            Self::Library(path) => path.display().fmt(f),
        }
    }
}

/// Plugins' tables by name. Their values may hold secrets, so `Debug` shows the names only.
#[derive(Clone, Default, PartialEq)]
pub struct PluginTables(BTreeMap<String, Value>);

impl Deref for PluginTables {
    type Target = BTreeMap<String, Value>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for PluginTables {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl FromIterator<(String, Value)> for PluginTables {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(tables: I) -> Self {
        Self(tables.into_iter().collect())
    }
}

impl fmt::Debug for PluginTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
