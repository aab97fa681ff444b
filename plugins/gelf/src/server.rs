//! The URL of a server.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::http::uri::PathAndQuery;

/// Graylog's GELF inputs listen there unless they are told otherwise.
const GELF_PORT: u16 = 12_201;

/// The path of Graylog's GELF HTTP input.
const GELF_PATH: &str = "/gelf";

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Udp,
    Tcp,
    Tls,
    Http,
    Https,
}

impl Scheme {
    const ALL: [(&'static str, Self); 5] = [
        ("udp", Self::Udp),
        ("tcp", Self::Tcp),
        ("tls", Self::Tls),
        ("http", Self::Http),
        ("https", Self::Https),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, scheme)| *scheme == self).map_or("", |(name, _)| name)
    }

    fn port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp | Self::Tls => GELF_PORT,
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

/// A server to which records go. Shown without path and credentials, which may be secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) scheme: Scheme,
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The path with its query, over HTTP.
    pub(crate) path: String,
    /// What `Authorization` says, over HTTP.
    pub(crate) authorization: Option<String>,
    /// Which of those it is that would be shown alike.
    pub(crate) nth: usize,
}

impl Server {
    /// Reads a URL; the error says what is wrong with it, and quotes none of it.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        let known = || url.split_once("://").and_then(|(name, rest)| Some((scheme(name)?, rest)));
        let (scheme, rest) = known().ok_or("expected udp://, tcp://, tls://, http:// or https://")?;
        let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
        let (credentials, address) = match authority.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, authority),
        };
        if credentials.is_some() && !scheme.is_http() {
            return Err("a user and password work with http:// and https:// only");
        }
        let (host, port) =
            address_of(address, scheme.port()).ok_or("expected HOST or HOST:PORT behind the scheme")?;
        let authorization = credentials
            .map(|text| percent_decoded(text).ok_or("the user or password is wrongly encoded"))
            .transpose()?;
        Ok(Self {
            scheme,
            host,
            port,
            path: path_of(scheme, path)?,
            authorization: authorization.map(|text| format!("Basic {}", BASE64_STANDARD.encode(text))),
            nth: 1,
        })
    }

    /// Scheme, host and port.
    pub(crate) fn address(&self) -> String {
        format!("{}://{}", self.scheme.name(), self.authority())
    }

    /// The path without its query.
    pub(crate) fn path_alone(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Whether both are the same place, with whatever credentials.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        self.address() == other.address() && self.path_alone() == other.path_alone()
    }

    /// What HTTP calls `Host`, and the server's name in its URL.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address())?;
        if self.nth > 1 { write!(f, "#{}", self.nth) } else { Ok(()) }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn scheme(name: &str) -> Option<Scheme> {
    Scheme::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, scheme)| *scheme)
}

fn path_of(scheme: Scheme, path: &str) -> Result<String, &'static str> {
    let path = path.split_once('#').map_or(path, |(path, _)| path);
    if !scheme.is_http() {
        return if path.is_empty() || path == "/" {
            Ok(String::new())
        } else {
            Err("only http:// and https:// have a path")
        };
    }
    let path = match path {
        "" | "/" => GELF_PATH.to_owned(),
        path if path.starts_with('?') => format!("{GELF_PATH}{path}"),
        path => path.to_owned(),
    };
    // What cannot be asked for would be tried again for ever.
    let fits = path.is_ascii() && path.parse::<PathAndQuery>().is_ok();
    if fits { Ok(path) } else { Err("expected a path as URLs have it, all else percent-encoded") }
}

fn address_of(text: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if host.is_empty() || !host.chars().all(fits) {
        return None;
    }
    let port = port.map_or(Some(default_port), |port| port.parse().ok().filter(|port| *port != 0))?;
    Some((host.to_owned(), port))
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(bytes.next()?)? * 16 + digit(bytes.next()?)?;
                u8::try_from(value).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (url, shown, path) in [
            ("udp://a", "udp://a:12201", ""),
            ("TCP://a.example.com:1/", "tcp://a.example.com:1", ""),
            ("tls://[::1]:5", "tls://[::1]:5", ""),
            ("tls://[::1]", "tls://[::1]:12201", ""),
            ("http://a", "http://a:80", "/gelf"),
            ("http://a:12201/", "http://a:12201", "/gelf"),
            ("https://a/in/put?x=1#y", "https://a:443", "/in/put?x=1"),
            ("https://a?x=1", "https://a:443", "/gelf?x=1"),
        ] {
            let server = Server::parse(url).unwrap();
            assert_eq!((server.to_string().as_str(), server.path.as_str()), (shown, path), "{url}");
        }
    }

    #[test]
    fn credentials_are_sent_and_not_shown() {
        let server = Server::parse("https://ann:se%3Acret@a:1/token-x").unwrap();
        assert_eq!(server.authorization.as_deref(), Some("Basic YW5uOnNlOmNyZXQ="));
        assert_eq!(format!("{server} {server:?}"), "https://a:1 https://a:1");
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for url in [
            "",
            "a:1",
            "ws://a",
            "udp://",
            "udp://:1",
            "udp://a:0",
            "udp://a:65536",
            "udp://a:x",
            "udp://a b",
            "udp://[x]",
            "udp://[::1",
            "udp://::1",
            "udp://u:p@a",
            "tcp://a/path",
            "http://u%zz@a",
            "http://a/b c",
            "http://a/<b>",
            "http://a/`",
            "http://a/é",
        ] {
            assert!(Server::parse(url).is_err(), "{url}");
        }
    }
}
