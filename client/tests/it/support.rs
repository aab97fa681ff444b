//! A server that does what the test tells it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use jackfield_client::{Client, ConnectOptions, Login, Reconnect, Timeouts};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// No step of any test takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ws,
    Tcp,
}

/// Makes a test of a function that takes a [`Kind`], for each kind.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use crate::support::Kind;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn ws() {
                super::$name(Kind::Ws).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn tcp() {
                super::$name(Kind::Tcp).await;
            }
        }
    )*};
}
pub(crate) use on_both;

pub(crate) struct Server {
    kind: Kind,
    listener: TcpListener,
}

impl Server {
    pub(crate) async fn start(kind: Kind) -> Self {
        Self { kind, listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.kind == Kind::Ws { "ws" } else { "tcp" };
        format!("{scheme}://{}", self.listener.local_addr().unwrap())
    }

    /// Options with a login and with timers for tests.
    pub(crate) fn options(&self) -> ConnectOptions {
        self.anonymous_options().login(Login::user("ann").password("hunter2"))
    }

    pub(crate) fn anonymous_options(&self) -> ConnectOptions {
        ConnectOptions::new(&self.url())
            .unwrap()
            .timeouts(Timeouts { answer: Duration::from_secs(5), acked: Duration::from_secs(5) })
            .reconnect(Reconnect::Backoff {
                initial: Duration::from_millis(20),
                max: Duration::from_millis(100),
                max_attempts: None,
            })
    }

    pub(crate) async fn accept(&self) -> Peer {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        match self.kind {
            Kind::Tcp => Peer::Tcp(BufReader::new(stream)),
            Kind::Ws => Peer::Ws(Box::new(tokio_tungstenite::accept_async(stream).await.unwrap())),
        }
    }

    /// Accepts and serves the login, which it hands back.
    pub(crate) async fn accept_login(&self, session_id: &str) -> (Peer, Value) {
        let mut peer = self.accept().await;
        let login = peer.recv().await;
        assert_eq!((&login["subclass"], &login["cmd"]), (&json!("user"), &json!("login")));
        peer.answer(&login, json!({"session_id": session_id})).await;
        (peer, login)
    }

    /// A client that is connected and logged in as session `s1`, and the server's end.
    pub(crate) async fn connect(&self, options: ConnectOptions) -> (Client, Peer) {
        let (client, (peer, _)) = tokio::join!(Client::connect(options), self.accept_login("s1"));
        (client.unwrap(), peer)
    }
}

/// The server's end of a connection.
pub(crate) enum Peer {
    Ws(Box<WebSocketStream<TcpStream>>),
    Tcp(BufReader<TcpStream>),
}

impl Peer {
    /// The next message; `None` when the client has closed.
    pub(crate) async fn try_recv(&mut self) -> Option<Value> {
        timeout(PATIENCE, self.next()).await.expect("no message from the client")
    }

    pub(crate) async fn recv(&mut self) -> Value {
        self.try_recv().await.expect("the client has closed")
    }

    async fn next(&mut self) -> Option<Value> {
        match self {
            Self::Ws(socket) => loop {
                match socket.next().await?.ok()? {
                    Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                    Message::Close(_) => return None,
                    _ => {}
                }
            },
            Self::Tcp(stream) => {
                let mut line = String::new();
                match stream.read_line(&mut line).await {
                    Ok(0) | Err(_) => None,
                    Ok(_) => Some(serde_json::from_str(&line).unwrap()),
                }
            }
        }
    }

    /// Whether the client stays quiet for that long.
    pub(crate) async fn is_quiet(&mut self, time: Duration) -> bool {
        timeout(time, self.next()).await.is_err()
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        match self {
            Self::Ws(socket) => socket.send(Message::text(text)).await.unwrap(),
            Self::Tcp(stream) => stream.write_all(format!("{text}\n").as_bytes()).await.unwrap(),
        }
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    pub(crate) async fn answer(&mut self, request: &Value, data: Value) {
        self.send(json!({"result": "ok", "data": data, "tid": request["tid"]})).await;
    }

    pub(crate) async fn answer_error(&mut self, request: &Value, code: i64, text: &str) {
        let data = json!({"code": code, "error": text});
        self.send(json!({"result": "error", "data": data, "tid": request["tid"]})).await;
    }

    pub(crate) async fn request(&mut self, class: &str, cmd: &str, data: Value, tid: Value) {
        self.send(json!({"class": class, "cmd": cmd, "data": data, "tid": tid})).await;
    }

    /// Closes the broker's way: WebSocket with a code, TCP without a word.
    pub(crate) async fn close(self, code: u16, reason: &str) {
        if let Self::Ws(mut socket) = self {
            let frame = CloseFrame { code: CloseCode::from(code), reason: reason.to_owned().into() };
            socket.as_mut().close(Some(frame)).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
        }
    }
}
