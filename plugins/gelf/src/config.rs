//! The plugin's table of the configuration file.

use std::{path::PathBuf, time::Duration};

use jackfield_plugin_api::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::server::{Scheme, Server};

/// The table as it is written. URLs in it may hold passwords, so it cannot be printed.
#[derive(Clone, Deserialize, JsonSchema)]
pub(crate) struct Config {
    /// Where the records go: `udp://`, `tcp://`, `tls://`, `http://` or `https://`.
    server: Option<String>,
    /// The same for several servers; each gets every record.
    #[serde(default)]
    servers: Vec<String>,
    /// How records are compressed: over UDP `zlib` where nothing is said, over HTTP not at all, over TCP never.
    compression: Option<Compression>,
    /// How long a datagram may be; a record that is longer goes in chunks.
    #[serde(default = "chunk_bytes")]
    #[schemars(range(min = 100, max = 65_507))]
    chunk_bytes: usize,
    /// How much may wait for each server.
    #[serde(default = "queue_bytes")]
    #[schemars(range(min = 1024))]
    queue_bytes: usize,
    /// What happens when that is full.
    #[serde(default)]
    overflow: Overflow,
    /// A directory: what waits is kept there, over a restart of the broker too.
    spool: Option<PathBuf>,
    /// How much of it may be there for each server.
    #[serde(default = "spool_bytes")]
    #[schemars(range(min = 65_536))]
    spool_bytes: u64,
    /// How many of the records that were written last are written again after a reconnect, over TCP and TLS.
    #[serde(default)]
    #[schemars(range(max = 100_000))]
    resend: usize,
    /// Whether the broker's own log is sent, too.
    #[serde(default)]
    broker_log: bool,
    /// What the broker's own records say they are from. The machine's name where nothing is said.
    host: Option<String>,
    /// The certificates that servers are trusted by, as PEM; those of the system where nothing is said.
    ca: Option<PathBuf>,
    /// A certificate to show to servers, as PEM, with those that lead to its root behind it.
    certificate: Option<PathBuf>,
    /// Its private key, as PEM.
    key: Option<PathBuf>,
    /// How long a connection, an answer over HTTP, or a server that takes nothing is waited for, such as `10s`.
    #[serde(default = "timeout")]
    timeout: String,
    /// How many connections are used at a time over HTTP.
    #[serde(default = "http_connections")]
    #[schemars(range(min = 1, max = 64))]
    http_connections: usize,
}

/// How records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    Zlib,
    Gzip,
    None,
}

/// What happens to a record for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Overflow {
    /// It is refused.
    #[default]
    Refuse,
    /// The oldest that wait make room for it.
    DropOldest,
}

fn chunk_bytes() -> usize {
    1420
}

fn queue_bytes() -> usize {
    64 << 20
}

fn spool_bytes() -> u64 {
    1 << 30
}

fn timeout() -> String {
    "10s".to_owned()
}

fn http_connections() -> usize {
    4
}

/// The table as it is meant.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) servers: Vec<Server>,
    pub(crate) compression: Option<Compression>,
    pub(crate) chunk_bytes: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) overflow: Overflow,
    pub(crate) spool: Option<SpoolSettings>,
    pub(crate) resend: usize,
    /// From what the broker's own records are; `None`: they are not sent.
    pub(crate) broker_log: Option<String>,
    pub(crate) tls: TlsFiles,
    pub(crate) timeout: Duration,
    pub(crate) http_connections: usize,
}

/// Where records are kept.
#[derive(Clone, Debug)]
pub(crate) struct SpoolSettings {
    pub(crate) directory: PathBuf,
    pub(crate) bytes: u64,
}

/// What `tls://` and `https://` are set up from.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    /// A certificate and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

impl Config {
    /// Reads what the schema could not check.
    pub(crate) fn settings(self) -> Result<Settings> {
        Ok(Settings {
            servers: self.read_servers()?,
            compression: self.compression,
            chunk_bytes: self.chunk_bytes,
            queue_bytes: self.queue_bytes,
            overflow: self.overflow,
            tls: TlsFiles { ca: self.ca, identity: identity(self.certificate, self.key)? },
            timeout: duration(&self.timeout)
                .ok_or_else(|| Error::invalid_value("timeout: expected a time such as 10s or 500ms"))?,
            spool: self.spool.map(|directory| SpoolSettings { directory, bytes: self.spool_bytes }),
            resend: self.resend,
            broker_log: self.broker_log.then(|| self.host.unwrap_or_else(machine)),
            http_connections: self.http_connections,
        })
    }

    fn read_servers(&self) -> Result<Vec<Server>> {
        let one = self.server.iter().map(|url| ("server".to_owned(), url));
        let more = self.servers.iter().enumerate().map(|(n, url)| (format!("servers.{n}"), url));
        let read = |(key, url): (String, &String)| {
            Server::parse(url).map_err(|wrong| Error::invalid_value(format_args!("{key}: {wrong}")))
        };
        let mut servers: Vec<Server> = Vec::new();
        for server in one.chain(more).map(read) {
            let mut server = server?;
            if servers.iter().any(|other| other.is_same_place(&server)) {
                return Err(Error::invalid_value(format_args!("servers: {server} stands there twice")));
            }
            // Paths are not shown, but metrics must be told apart.
            server.nth += servers.iter().filter(|other| other.address() == server.address()).count();
            servers.push(server);
        }
        if servers.is_empty() {
            return Err(Error::missing_field("server: expected a URL such as udp://127.0.0.1:12201"));
        }
        Ok(servers)
    }
}

impl Settings {
    /// How records for a server are compressed.
    pub(crate) fn compression_for(&self, server: &Server) -> Compression {
        match server.scheme {
            Scheme::Udp => self.compression.unwrap_or(Compression::Zlib),
            Scheme::Http | Scheme::Https => self.compression.unwrap_or(Compression::None),
            // The records are told apart by a zero byte, which compressed ones may hold.
            Scheme::Tcp | Scheme::Tls => Compression::None,
        }
    }
}

fn identity(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<(PathBuf, PathBuf)>> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Error::missing_field("key: a certificate needs its key")),
        (None, Some(_)) => Err(Error::missing_field("certificate: a key needs its certificate")),
    }
}

fn machine() -> String {
    let name = hostname::get().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

/// Reads `500ms`, `10s` or `3m`; zero is no time to wait for anything.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let number: u64 = number.parse().ok()?;
    let time = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        _ => return None,
    };
    (!time.is_zero() && time <= Duration::from_secs(86_400)).then_some(time)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(table: Value) -> Result<Settings> {
        serde_json::from_value::<Config>(table).unwrap().settings()
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let settings = settings(json!({ "server": "udp://log.example.com" })).unwrap();
        assert_eq!((settings.chunk_bytes, settings.queue_bytes, settings.resend), (1420, 67_108_864, 0));
        assert_eq!(settings.overflow, Overflow::Refuse);
        assert_eq!(settings.timeout, Duration::from_secs(10));
        assert!(settings.broker_log.is_none() && settings.spool.is_none());
        assert_eq!(settings.servers[0].to_string(), "udp://log.example.com:12201");
        assert_eq!(settings.compression_for(&settings.servers[0]), Compression::Zlib);
    }

    #[test]
    fn what_is_compressed_depends_on_the_transport() {
        let servers = ["udp://a", "tcp://a", "tls://a", "http://a", "https://a"];
        let of = |more: Value| {
            let mut table = json!({ "servers": servers });
            table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let settings = settings(table).unwrap();
            settings.servers.iter().map(|server| settings.compression_for(server)).collect::<Vec<_>>()
        };
        use Compression::{Gzip, None, Zlib};
        assert_eq!(of(json!({})), [Zlib, None, None, None, None]);
        assert_eq!(of(json!({ "compression": "gzip" })), [Gzip, None, None, Gzip, Gzip]);
    }

    #[test]
    fn servers_that_differ_in_their_path_are_told_apart() {
        let settings = settings(json!({ "servers": ["http://a/x", "http://a/y", "http://b"] })).unwrap();
        let shown: Vec<_> = settings.servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["http://a:80", "http://a:80#2", "http://b:80"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (table, text) in [
            (json!({}), "Missing field: server: expected a URL such as udp://127.0.0.1:12201"),
            (
                json!({ "servers": ["udp://a", "ftp://b"] }),
                "Invalid value: servers.1: expected udp://, tcp://, tls://, http:// or https://",
            ),
            (
                json!({ "servers": ["udp://a", "udp://a:12201"] }),
                "Invalid value: servers: udp://a:12201 stands there twice",
            ),
            (
                json!({ "servers": ["http://u:p@a/x?t=1", "http://a/x"] }),
                "Invalid value: servers: http://a:80 stands there twice",
            ),
            (
                json!({ "server": "udp://a", "timeout": "0s" }),
                "Invalid value: timeout: expected a time such as 10s or 500ms",
            ),
            (
                json!({ "server": "udp://a", "timeout": "ten" }),
                "Invalid value: timeout: expected a time such as 10s or 500ms",
            ),
            (
                json!({ "server": "udp://a", "key": "a" }),
                "Missing field: certificate: a key needs its certificate",
            ),
            (
                json!({ "server": "udp://a", "certificate": "a" }),
                "Missing field: key: a certificate needs its key",
            ),
        ] {
            assert_eq!(settings(table.clone()).unwrap_err().text(), text, "{table}");
        }
    }

    #[test]
    fn the_brokers_records_are_from_the_machine_or_what_is_said() {
        let of = |table: Value| settings(table).unwrap().broker_log;
        assert_eq!(of(json!({ "server": "udp://a", "host": "x" })), None);
        assert_eq!(of(json!({ "server": "udp://a", "host": "x", "broker_log": true })).as_deref(), Some("x"));
        assert_eq!(of(json!({ "server": "udp://a", "broker_log": true })), Some(machine()));
    }
}
