//! Where the broker is: a URL, parsed.

use std::{fmt, str::FromStr};

use tokio_tungstenite::tungstenite::http::Uri;

use crate::Error;

/// A broker's address and how it is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) transport: TransportKind,
    pub(crate) host: String,
    pub(crate) port: u16,
    url: String,
}

/// What carries the messages. TLS will be a matter of the stream below it, not of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransportKind {
    WebSocket,
    Tcp,
}

impl TransportKind {
    fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "ws" => Some(Self::WebSocket),
            "tcp" => Some(Self::Tcp),
            _ => None,
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::WebSocket => 9010,
            Self::Tcp => 9012,
        }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::WebSocket => "ws",
            Self::Tcp => "tcp",
        }
    }
}

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
                "it has no scheme, expected ws://HOST:PORT or tcp://HOST:PORT".into(),
            ));
        };
        let transport = TransportKind::of_scheme(&scheme.to_ascii_lowercase())
            .ok_or_else(|| Error::UnsupportedScheme(format!("{scheme}://")))?;
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
            return Err(Error::InvalidUrl("a tcp:// URL has no path".into()));
        }
        let port = port_of(&uri, authority)?.unwrap_or_else(|| transport.default_port());
        let path = if path == "/" { "" } else { path };
        Ok(Self {
            transport,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            url: format!("{}://{host}:{port}{path}", transport.scheme()),
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
    }

    #[test]
    fn refusals() {
        for scheme in ["wss", "tls", "http"] {
            let error = format!("{scheme}://localhost").parse::<Endpoint>().unwrap_err();
            assert!(error.to_string().contains("unsupported scheme"), "{error}");
        }
        for url in
            ["localhost:9010", "", "ws://", "tcp://h/path", "ws://h:0", "ws://h:70000", "ws://h:x", "/x"]
        {
            assert!(matches!(url.parse::<Endpoint>(), Err(Error::InvalidUrl(_))), "{url}");
        }
        let error = "ws://ann:hunter2@localhost".parse::<Endpoint>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
