//! Where the broker is: a URL, parsed.

use std::{fmt, str::FromStr};

use tokio_tungstenite::tungstenite::http::Uri;

use crate::Error;

/// A broker's address and how it is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) transport: TransportKind,
    pub(crate) security: Security,
    pub(crate) host: String,
    pub(crate) port: u16,
    url: String,
}

/// What carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransportKind {
    WebSocket,
    Tcp,
}

/// What is below that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    Plain,
    Tls,
}

/// A scheme, the two things that it says, and the port of a URL that names none.
type Scheme = (&'static str, TransportKind, Security, u16);

const SCHEMES: [Scheme; 4] = [
    ("ws", TransportKind::WebSocket, Security::Plain, 9010),
    ("wss", TransportKind::WebSocket, Security::Tls, 9011),
    ("tcp", TransportKind::Tcp, Security::Plain, 9012),
    ("tls", TransportKind::Tcp, Security::Tls, 9013),
];

impl Endpoint {
    /// The URL with its port.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        // Never quotes the URL: somebody may have put a password into it.
        let uri = Uri::from_str(url).map_err(|error| Error::InvalidUrl(error.to_string()))?;
        let Some(scheme) = uri.scheme_str() else {
            return Err(Error::InvalidUrl(
                "it has no scheme, expected ws://HOST:PORT, or wss://, tcp:// or tls://".into(),
            ));
        };
        let known = SCHEMES.into_iter().find(|(name, ..)| scheme.eq_ignore_ascii_case(name));
        let (scheme, transport, security, default_port) =
            known.ok_or_else(|| Error::UnsupportedScheme(format!("{scheme}://")))?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(Error::InvalidUrl("user and password belong into the login".into()));
        }
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(Error::InvalidUrl("it has no host".into()));
        }
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        if transport == TransportKind::Tcp && !matches!(path, "" | "/") {
            return Err(Error::InvalidUrl(format!("a {scheme}:// URL has no path")));
        }
        let port = port_of(&uri, authority)?.unwrap_or(default_port);
        let path = if path == "/" { "" } else { path };
        Ok(Self {
            transport,
            security,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            url: format!("{scheme}://{host}:{port}{path}"),
        })
    }
}

/// The port, where the URL has one: `Uri` itself says nothing about one that is out of range.
fn port_of(uri: &Uri, authority: &str) -> Result<Option<u16>, Error> {
    let after_host = authority.strip_prefix(uri.host().unwrap_or_default()).unwrap_or_default();
    match after_host.strip_prefix(':') {
        None => Ok(None),
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => Err(Error::InvalidUrl("its port is not a number from 1 to 65535".into())),
            Ok(port) => Ok(Some(port)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Endpoint {
        url.parse().unwrap()
    }

    #[test]
    fn defaults() {
        let ws = parse("ws://broker.example/chat?x=1");
        assert_eq!(
            (ws.transport, ws.host.as_str(), ws.port),
            (TransportKind::WebSocket, "broker.example", 9010)
        );
        assert_eq!(ws.url(), "ws://broker.example:9010/chat?x=1");
        let tcp = parse("tcp://[::1]");
        assert_eq!((tcp.transport, tcp.host.as_str(), tcp.port), (TransportKind::Tcp, "::1", 9012));
        assert_eq!(tcp.url(), "tcp://[::1]:9012");
        assert_eq!(parse("TCP://localhost:7").port, 7);
        let wss = parse("wss://broker.example");
        assert_eq!((wss.transport, wss.security), (TransportKind::WebSocket, Security::Tls));
        assert_eq!(wss.url(), "wss://broker.example:9011");
        let tls = parse("tls://10.0.0.1");
        assert_eq!((tls.transport, tls.security), (TransportKind::Tcp, Security::Tls));
        assert_eq!(tls.url(), "tls://10.0.0.1:9013");
    }

    #[test]
    fn refusals() {
        for scheme in ["http", "https", "mqtt"] {
            let error = format!("{scheme}://localhost").parse::<Endpoint>().unwrap_err();
            assert!(error.to_string().contains("unsupported scheme"), "{error}");
        }
        for url in [
            "localhost:9010",
            "",
            "ws://",
            "tcp://h/path",
            "tls://h/path",
            "ws://h:0",
            "ws://h:70000",
            "ws://h:x",
            "/x",
        ] {
            assert!(matches!(url.parse::<Endpoint>(), Err(Error::InvalidUrl(_))), "{url}");
        }
        let error = "ws://ann:hunter2@localhost".parse::<Endpoint>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
