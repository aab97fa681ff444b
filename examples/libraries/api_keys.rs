//! Build: `cargo build -p jackfield --example api_keys`
//! Keys: `echo "$(printf %s k-5f0c | sha256sum | cut -d' ' -f1) ann" > keys.txt`
//! Run: `cargo run -- run --plugin target/debug/examples/libapi_keys.so --set 'service.main.plugin.api-keys.file="keys.txt"'`
//! Try: `cargo run -- call core/user/list --login '{"api_key":"k-5f0c"}'`
//!
//! An authenticator in a library of its own: API keys from a file, a line each, `SHA-256-OF-THE-KEY USER`, as
//! `printf %s k-5f0c | sha256sum` gives it. A file that changes is read again; one that cannot be read changes nothing.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use jackfield_plugin_api::{
    Accepted, Authenticator, Caller, Error, ErrorCode, Host, Login, Manifest, Plugin, Registrar, Result,
    Service, Shutdown, UserId, Verdict, export_plugin, manifest,
};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

struct ApiKeys;

export_plugin!(ApiKeys);

#[derive(Deserialize, JsonSchema)]
struct Config {
    /// The file with the keys.
    file: PathBuf,
}

impl Plugin for ApiKeys {
    fn manifest(&self) -> Manifest {
        manifest!("api-keys").about("Users by API keys from a file.").config::<Config>()
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        let Config { file } = registrar.config()?;
        let first = read(&file).map_err(|error| Error::invalid_value(format_args!("file: {error}")))?;
        let keys = Arc::new(Keys { known: Mutex::new(first), file });
        registrar.authenticator(Asked(Arc::clone(&keys))).service(Watch(keys));
        Ok(())
    }
}

/// The users by the SHA-256 sums of their keys: a file that leaks gives no key away.
type Known = HashMap<String, UserId>;

struct Keys {
    known: Mutex<Known>,
    file: PathBuf,
}

fn read(file: &Path) -> io::Result<Known> {
    let wrong = |number: usize| io::Error::other(format!("line {}: expected SHA-256 and user", number + 1));
    let text = fs::read_to_string(file)?;
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let entry = |(number, line): (usize, &str)| {
        let (sum, user) = line.split_once(' ').ok_or_else(|| wrong(number))?;
        let is_sum = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        let user = UserId::new(user.trim()).ok().filter(|_| is_sum).ok_or_else(|| wrong(number))?;
        Ok((sum.to_ascii_lowercase(), user))
    };
    lines.map(entry).collect()
}

struct Asked(Arc<Keys>);

#[async_trait]
impl Authenticator for Asked {
    /// Accepts a key that is known, rejects another; a login without one is for the authenticators behind.
    async fn authenticate(&self, login: &Login, _from: &Caller) -> Verdict {
        let Some(key) = login.fields.get("api_key") else { return Verdict::Continue };
        let Ok(key) = key.parse::<String>() else { return Verdict::Reject(ErrorCode::Unauthorized.into()) };
        // Looked up by its sum: how long that takes tells nothing about the keys.
        let sum: String = Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&sum) {
            Some(user) => Verdict::Accept(Accepted::user(user.clone())),
            None => Verdict::Reject(ErrorCode::Unauthorized.into()),
        }
    }
}

/// Follows the file.
struct Watch(Arc<Keys>);

#[async_trait]
impl Service for Watch {
    async fn run(self: Arc<Self>, _host: Arc<dyn Host>, stop: Shutdown) -> Result<()> {
        let mut seen = None;
        while stop.or(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let keys = Arc::clone(&self.0);
            // Files block.
            seen = tokio::task::spawn_blocking(move || look(&keys, seen)).await.unwrap_or(seen);
        }
        Ok(())
    }
}

fn look(keys: &Keys, seen: Option<SystemTime>) -> Option<SystemTime> {
    let changed = fs::metadata(&keys.file).and_then(|file| file.modified()).ok();
    if changed.is_none() || changed == seen {
        return seen;
    }
    match read(&keys.file) {
        Ok(known) => *keys.known.lock().unwrap_or_else(PoisonError::into_inner) = known,
        Err(error) => tracing::warn!(%error, "the keys stay as they were"),
    }
    changed
}
