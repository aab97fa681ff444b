//! Where to listen: `ws://127.0.0.1:9010`, `http://127.0.0.1:9015`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// How a listener frames messages, and whether over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// Lines over TCP.
    Tcp,
    /// Lines over TLS.
    Tls,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Ws, Self::Wss, Self::Tcp, Self::Tls];

    /// The scheme as a URL writes it, without `://`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// The port of a URL that names none (protocol.md §1).
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Ws => 9010,
            Self::Wss => 9011,
            Self::Tcp => 9012,
            Self::Tls => 9013,
        }
    }

    /// Whether the listener needs a certificate.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Wss | Self::Tls)
    }

    /// Whether messages are WebSocket messages.
    #[must_use]
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A listener's URL: scheme, host, port, and for WebSocket a path that clients must ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenUrl {
    /// The framing.
    pub scheme: Scheme,
    /// An IP address or a host name; an IPv6 address stands without its brackets.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The only path that is accepted, with its `/`; any path when unset.
    pub path: Option<String>,
}

impl ListenUrl {
    /// This URL with the port that was bound.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, Authority(&self.host, self.port))?;
        f.write_str(self.path.as_deref().unwrap_or_default())
    }
}

impl FromStr for ListenUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        let scheme = Scheme::ALL.into_iter().find(|known| known.as_str() == scheme);
        let scheme = scheme.ok_or(AddressError::Scheme)?;
        let (authority, path) = split_path(rest);
        let (host, port) = host_and_port(authority, scheme.default_port())?;
        Ok(Self { scheme, host, port, path: accepted_path(scheme, path)? })
    }
}

/// The administration listener's address: plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpAddress {
    /// An IP address or a host name; an IPv6 address stands without its brackets.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
}

impl HttpAddress {
    /// The port of a URL that names none.
    pub const DEFAULT_PORT: u16 = 9015;

    /// This address with the port that was bound.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", Authority(&self.host, self.port))
    }
}

impl FromStr for HttpAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.strip_prefix("http://").ok_or(AddressError::HttpScheme)?;
        let (authority, path) = split_path(rest);
        if !matches!(path, "" | "/") {
            return Err(AddressError::Path("http"));
        }
        let (host, port) = host_and_port(authority, Self::DEFAULT_PORT)?;
        Ok(Self { host, port })
    }
}

/// Why a text is no address to listen on. None of the texts repeats the address: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No scheme, or an unknown one.
    #[error("expected a URL that starts with ws://, wss://, tcp:// or tls://")]
    Scheme,
    /// Not `http://`.
    #[error("expected a URL that starts with http://")]
    HttpScheme,
    /// No host, or one that cannot be one.
    #[error("expected an IP address (IPv6 in brackets) or a host name after ://")]
    Host,
    /// Not a port.
    #[error("expected a port from 0 to 65535")]
    Port,
    /// User, query or fragment.
    #[error("expected only a host, a port and a path: no user, query or fragment")]
    Extra,
    /// A path where there can be none.
    #[error("{0}:// takes no path")]
    Path(&'static str),
}

/// `HOST:PORT`, with the brackets that an IPv6 address needs.
struct Authority<'a>(&'a str, u16);

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Splits at the first `/`, which stays with the path.
fn split_path(rest: &str) -> (&str, &str) {
    let end = rest.find('/').unwrap_or(rest.len());
    rest.split_at_checked(end).unwrap_or((rest, ""))
}

fn accepted_path(scheme: Scheme, path: &str) -> Result<Option<String>, AddressError> {
    if path.contains(['?', '#']) {
        return Err(AddressError::Extra);
    }
    match path {
        "" | "/" => Ok(None),
        _ if !scheme.is_websocket() => Err(AddressError::Path(scheme.as_str())),
        path => Ok(Some(path.to_owned())),
    }
}

fn host_and_port(authority: &str, default_port: u16) -> Result<(String, u16), AddressError> {
    if authority.contains(['@', '?', '#']) {
        return Err(AddressError::Extra);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').ok_or(AddressError::Host)?,
        None => {
            authority.split_at_checked(authority.find(':').unwrap_or(authority.len())).unwrap_or_default()
        }
    };
    let is_host = match authority.starts_with('[') {
        true => matches!(host.parse(), Ok(IpAddr::V6(_))),
        false => is_host_name(host),
    };
    if !is_host {
        return Err(AddressError::Host);
    }
    Ok((host.to_owned(), parse_port(port, default_port)?))
}

fn is_host_name(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Reads what follows the host: nothing, or `:PORT`.
fn parse_port(text: &str, default_port: u16) -> Result<u16, AddressError> {
    if text.is_empty() {
        return Ok(default_port);
    }
    let digits = text.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(AddressError::Port)
}

/// Whether two listeners would claim one socket: the same fixed port, and the same host or one that covers the other.
pub(super) fn collide(one: (&str, u16), other: (&str, u16)) -> bool {
    let same_port = one.1 == other.1 && one.1 != 0;
    same_port && (one.0.eq_ignore_ascii_case(other.0) || covers(one.0, other.0) || covers(other.0, one.0))
}

/// Whether `host` is all addresses of the other's family.
fn covers(host: &str, other: &str) -> bool {
    match (host.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(host), Ok(other)) => host.is_unspecified() && host.is_ipv4() == other.is_ipv4(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_ports_and_paths() {
        let shown = |text: &str| text.parse::<ListenUrl>().unwrap().to_string();
        assert_eq!(shown("ws://127.0.0.1"), "ws://127.0.0.1:9010");
        assert_eq!(shown("wss://localhost/"), "wss://localhost:9011");
        assert_eq!(shown("tcp://[::1]"), "tcp://[::1]:9012");
        assert_eq!(shown("tls://a.example:0"), "tls://a.example:0");
        assert_eq!(shown("ws://[::]:80/chat/v1"), "ws://[::]:80/chat/v1");
        assert_eq!("http://[::1]".parse::<HttpAddress>().unwrap().to_string(), "http://[::1]:9015");
    }

    #[test]
    fn bad_addresses_say_what_was_expected() {
        let error = |text: &str| text.parse::<ListenUrl>().unwrap_err();
        assert_eq!(error("127.0.0.1:9010"), AddressError::Scheme);
        assert_eq!(error("http://127.0.0.1"), AddressError::Scheme);
        assert_eq!(error("ws://"), AddressError::Host);
        assert_eq!(error("ws://:9010"), AddressError::Host);
        assert_eq!(error("ws://a b"), AddressError::Host);
        assert_eq!(error("ws://[127.0.0.1]"), AddressError::Host);
        assert_eq!(error("ws://::1"), AddressError::Host);
        assert_eq!(error("ws://a:"), AddressError::Port);
        assert_eq!(error("ws://a:65536"), AddressError::Port);
        assert_eq!(error("ws://a:+1"), AddressError::Port);
        assert_eq!(error("ws://u:p@a"), AddressError::Extra);
        assert_eq!(error("ws://a/x?y"), AddressError::Extra);
        assert_eq!(error("tcp://a/x"), AddressError::Path("tcp"));
    }

    #[test]
    fn listeners_collide_on_a_fixed_port_and_a_shared_host() {
        assert!(collide(("localhost", 1), ("LOCALHOST", 1)));
        assert!(collide(("0.0.0.0", 1), ("127.0.0.1", 1)));
        assert!(!collide(("127.0.0.2", 1), ("127.0.0.1", 1)));
        assert!(!collide(("::", 1), ("127.0.0.1", 1)));
        assert!(!collide(("127.0.0.1", 0), ("127.0.0.1", 0)));
    }
}
