//! A raw client: it sends and sees exactly what a test wants.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::wire::{Incoming, Wire};
use super::{Transport, pause, within};

pub use super::wire::Close;

/// A connection to the broker, with a session once it has logged in.
///
/// Whatever arrives while something else is waited for stays in an inbox, in order. Unless
/// [`Client::set_autorespond`] switches it off, events are answered as they arrive, and the broker's pings are
/// answered and not shown.
pub struct Client {
    wire: Wire,
    transport: Transport,
    inbox: VecDeque<String>,
    autorespond: bool,
    next_tid: u64,
    acks: Vec<Value>,
    session_id: Option<String>,
}

impl Client {
    /// Connects to `ws://…`, `tcp://…`, `wss://…` or `tls://…`.
    pub async fn connect(url: &str) -> Self {
        Self::try_connect(url, None).await.unwrap_or_else(|error| panic!("cannot connect to {url}: {error}"))
    }

    /// Connects with a small receive buffer, so that a client that does not read is noticed early.
    pub async fn connect_narrow(url: &str) -> Self {
        Self::try_connect(url, Some(4096)).await.unwrap()
    }

    /// Connects, or tells why not.
    ///
    /// # Errors
    /// The connection was refused, or the WebSocket handshake was.
    pub async fn try_connect(url: &str, receive_buffer: Option<u32>) -> io::Result<Self> {
        let wire = within("a connection", Wire::connect(url, receive_buffer)).await?;
        Ok(Self::over(url, wire))
    }

    /// Connects with TLS of the test's own, or tells why not.
    ///
    /// # Errors
    /// The connection was refused, or a handshake was.
    pub async fn try_connect_as(url: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let wire = within("a connection", Wire::connect_as(url, None, config)).await?;
        Ok(Self::over(url, wire))
    }

    fn over(url: &str, wire: Wire) -> Self {
        let schemes = [Transport::Ws, Transport::Tcp, Transport::Wss, Transport::Tls];
        let scheme = url.split("://").next();
        Self {
            wire,
            transport: schemes.into_iter().find(|known| scheme == Some(known.scheme())).unwrap(),
            inbox: VecDeque::new(),
            autorespond: true,
            next_tid: 1,
            acks: Vec::new(),
            session_id: None,
        }
    }

    /// The certificate that the broker has shown, in DER.
    pub fn broker_certificate(&mut self) -> Vec<u8> {
        self.wire.stream().peer_certificate().expect("a TLS connection")
    }

    /// Whether the TLS session is a former one, taken up again.
    pub fn is_resumed(&mut self) -> bool {
        self.wire.stream().is_resumed()
    }

    /// Whether events and pings are answered as they arrive (they are, at first).
    pub fn set_autorespond(&mut self, on: bool) {
        self.autorespond = on;
    }

    /// This end's address.
    pub fn local_address(&self) -> SocketAddr {
        self.wire.local_address()
    }

    /// Which transport this is.
    pub fn transport(&self) -> Transport {
        self.transport
    }
}

/// Sending.
impl Client {
    /// Sends one message of this text.
    pub async fn send_text(&mut self, text: &str) {
        within("room to write", self.wire.send(text)).await.expect("the connection takes a message");
    }

    /// The same; tells whether the connection took it.
    pub async fn try_send_text(&mut self, text: &str) -> bool {
        within("room to write", self.wire.send(text)).await.is_ok()
    }

    /// Sends one message.
    pub async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends a WebSocket message of any kind.
    pub async fn send_ws(&mut self, message: Message) {
        within("room to write", self.wire.send_ws(message)).await.expect("the connection takes a message");
    }

    /// Writes bytes to the socket, past any framing.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        within("room to write", self.wire.send_raw(bytes)).await.expect("the connection takes bytes");
    }

    /// The same; tells whether the connection took them.
    pub async fn try_send_raw(&mut self, bytes: &[u8]) -> bool {
        within("room to write", self.wire.send_raw(bytes)).await.is_ok()
    }

    /// Ends the sending half of the socket.
    pub async fn finish_sending(&mut self) {
        self.wire.finish_sending().await.expect("a sending half to end");
    }

    /// Sends the request `class/subclass/cmd` without waiting; its tid.
    pub async fn start(&mut self, command: &str, data: Value) -> u64 {
        let tid = self.next_tid;
        self.next_tid += 1;
        self.send(&request_message(command, &data, &json!(tid))).await;
        tid
    }

    /// Answers a request of the broker's `ok`.
    pub async fn answer(&mut self, request: &Value, data: Value) {
        self.send(&json!({"result": "ok", "data": data, "tid": request["tid"]})).await;
    }

    /// Answers a request of the broker's with this error data.
    pub async fn answer_error(&mut self, request: &Value, data: Value) {
        self.send(&json!({"result": "error", "data": data, "tid": request["tid"]})).await;
    }

    /// Acknowledges a request of the broker's.
    pub async fn ack(&mut self, request: &Value) {
        self.send(&json!({"ack": request["tid"]})).await;
    }
}

/// Receiving.
impl Client {
    /// The next message's text.
    pub async fn recv_text(&mut self) -> String {
        match self.inbox.pop_front() {
            Some(text) => text,
            None => self.receive_text().await,
        }
    }

    /// The next message.
    pub async fn recv(&mut self) -> Value {
        parse(&self.recv_text().await)
    }

    /// The next message's text, or `None` when the connection ends instead.
    pub async fn recv_or_end(&mut self) -> Option<String> {
        if let Some(text) = self.inbox.pop_front() {
            return Some(text);
        }
        match within("a message or the end", self.receive()).await {
            Incoming::Text(text) => Some(text),
            Incoming::End(_) => None,
            Incoming::Pong(payload) => panic!("nobody asked for the pong {payload:?}"),
        }
    }

    /// The next message's text, or why the connection ended instead.
    ///
    /// # Errors
    /// The connection's.
    pub async fn recv_or_error(&mut self) -> Result<String, String> {
        match within("a message or the end", self.receive()).await {
            Incoming::Text(text) => Ok(text),
            other => Err(format!("{other:?}: {}", self.wire.stream().failure.clone().unwrap_or_default())),
        }
    }

    /// The answer to request `tid`. Its acks are kept, see [`Client::acks`].
    pub async fn response(&mut self, tid: impl Into<Value>) -> Value {
        let tid = tid.into();
        parse(&self.response_text(tid).await)
    }

    /// The same, as the text that arrived.
    pub async fn response_text(&mut self, tid: impl Into<Value>) -> String {
        let tid = tid.into();
        self.take_text(&format!("the answer to {tid}"), |m| m.get("result").is_some() && m["tid"] == tid)
            .await
    }

    /// The next event.
    pub async fn next_event(&mut self) -> Value {
        self.take("an event", is_event).await
    }

    /// The same, as the text that arrived.
    pub async fn next_event_text(&mut self) -> String {
        self.take_text("an event", is_event).await
    }

    /// The `data` of the next event.
    pub async fn event(&mut self) -> Value {
        self.next_event().await["data"].take()
    }

    /// The next request of the broker's that is neither an event nor a ping.
    pub async fn next_request(&mut self) -> Value {
        parse(&self.next_request_text().await)
    }

    /// The same, as the text that arrived.
    pub async fn next_request_text(&mut self) -> String {
        self.take_text("a request", |m| m.get("cmd").is_some() && !is_event(m) && !is_ping(m)).await
    }

    /// The broker's next ping; with [`Client::set_autorespond`] off.
    pub async fn next_ping(&mut self) -> Value {
        self.take("a ping", is_ping).await
    }

    /// The next ack, one that was kept first.
    pub async fn next_ack(&mut self) -> Value {
        if !self.acks.is_empty() {
            return self.acks.remove(0);
        }
        envelope(&self.find("an ack", is_ack).await)["ack"].take()
    }

    /// The acks that arrived and that nobody asked for yet: their tids, in order.
    pub fn acks(&self) -> &[Value] {
        &self.acks
    }

    /// The payload of the next WebSocket pong; nothing else may come first.
    pub async fn next_pong(&mut self) -> Vec<u8> {
        match within("a pong", self.wire.receive()).await {
            Incoming::Pong(payload) => payload,
            other => panic!("expected a pong, got {other:?}"),
        }
    }

    /// Asserts that nothing arrives for so long, pings apart.
    pub async fn expect_silence(&mut self, milliseconds: u64) {
        assert!(self.inbox.is_empty(), "expected nothing, got {:?}", self.inbox);
        if let Ok(other) = timeout(Duration::from_millis(milliseconds), self.receive()).await {
            panic!("expected nothing, got {other:?}");
        }
    }

    /// Asserts that no event reached this session before now: whatever was queued stands before the answer to a ping.
    pub async fn expect_no_event(&mut self) {
        self.ok("core/core/ping", json!({})).await;
        let event = self.inbox.iter().find(|text| is_event(&envelope(text)));
        assert!(event.is_none(), "expected no event, got {event:?}");
    }

    /// The `data` of every event that reached this session before now, in order.
    pub async fn events_so_far(&mut self) -> Vec<Value> {
        self.ok("core/core/ping", json!({})).await;
        let (events, others) = self.inbox.drain(..).partition(|text| is_event(&envelope(text)));
        self.inbox = others;
        events.iter().map(|text| parse(text)["data"].take()).collect()
    }

    /// The end of the connection, which must be the next thing: the close code and reason on WebSocket, `None` on TCP.
    pub async fn expect_close(&mut self) -> Option<Close> {
        assert!(self.inbox.is_empty(), "expected the end, got {:?}", self.inbox);
        match within("the connection's end", self.receive()).await {
            Incoming::End(close) => close,
            other => panic!("expected the end, got {other:?}"),
        }
    }

    /// The same, with the close code and reason that WebSocket must give.
    pub async fn expect_closed_as(&mut self, code: u16, reason: &str) {
        let close = self.expect_close().await;
        self.assert_close(close.as_ref(), code, reason);
    }

    /// Everything up to the connection's end, and the end.
    pub async fn drain(&mut self) -> (Vec<Value>, Option<Close>) {
        let mut messages: Vec<Value> = self.inbox.drain(..).map(|text| parse(&text)).collect();
        loop {
            match within("the connection's end", self.receive()).await {
                Incoming::Text(text) => messages.push(parse(&text)),
                Incoming::Pong(_) => {}
                Incoming::End(close) => return (messages, close),
            }
        }
    }

    /// Everything up to the connection's end, whose close code and reason WebSocket must give.
    pub async fn drain_closed_as(&mut self, code: u16, reason: &str) -> Vec<Value> {
        let (messages, close) = self.drain().await;
        self.assert_close(close.as_ref(), code, reason);
        messages
    }

    fn assert_close(&self, close: Option<&Close>, code: u16, reason: &str) {
        let expected = (code, reason.to_string());
        assert_eq!(close, self.transport.is_websocket().then_some(&expected));
    }

    async fn take(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        parse(&self.take_text(what, wanted).await)
    }

    async fn take_text(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> String {
        loop {
            let text = self.find(what, |message| is_ack(message) || wanted(message)).await;
            let mut message = envelope(&text);
            if !is_ack(&message) {
                return text;
            }
            self.acks.push(message["ack"].take());
        }
    }

    async fn find(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> String {
        if let Some(position) = self.inbox.iter().position(|text| wanted(&envelope(text))) {
            return self.inbox.remove(position).unwrap();
        }
        within(what, async {
            loop {
                let text = self.receive_text().await;
                if wanted(&envelope(&text)) {
                    return text;
                }
                self.inbox.push_back(text);
            }
        })
        .await
    }

    async fn receive_text(&mut self) -> String {
        match within("a message", self.receive()).await {
            Incoming::Text(text) => text,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// The next thing from the wire, answered where that is wanted.
    async fn receive(&mut self) -> Incoming {
        loop {
            let incoming = self.wire.receive().await;
            let Incoming::Text(text) = &incoming else { return incoming };
            if !self.autorespond {
                return incoming;
            }
            let message = envelope(text);
            if (is_event(&message) || is_ping(&message)) && !message["tid"].is_null() {
                // The broker may have closed the connection behind it.
                drop(self.wire.send(&json!({"result": "ok", "tid": message["tid"]}).to_string()).await);
            }
            if !is_ping(&message) {
                return incoming;
            }
        }
    }
}

/// Requests.
impl Client {
    /// Sends a request and waits for its answer, all of it.
    pub async fn request(&mut self, command: &str, data: Value) -> Value {
        let tid = self.start(command, data).await;
        self.response(tid).await
    }

    /// The data of the answer, which must be `ok`.
    pub async fn ok(&mut self, command: &str, data: Value) -> Value {
        data_of(self.request(command, data).await)
    }

    /// The code and text of the answer, which must be an error.
    pub async fn err(&mut self, command: &str, data: Value) -> (i64, String) {
        error_of(&self.request(command, data).await)
    }

    /// Asks again and again until the data of the answer is as wanted; that data.
    pub async fn until_ok(&mut self, command: &str, data: Value, wanted: impl Fn(&Value) -> bool) -> Value {
        within(&format!("{command} to answer as wanted"), async {
            loop {
                let answer = self.ok(command, data.clone()).await;
                if wanted(&answer) {
                    return answer;
                }
                pause(5).await;
            }
        })
        .await
    }

    /// Logs in as `user`; the session id.
    pub async fn login(&mut self, user: &str) -> String {
        self.login_with(json!({"user": user})).await;
        self.session_id().into()
    }

    /// Logs in with these fields; the answer's data.
    pub async fn login_with(&mut self, fields: Value) -> Value {
        let answer = self.ok("core/user/login", fields).await;
        self.session_id = Some(answer["session_id"].as_str().expect("a session id").into());
        answer
    }

    /// The session id that login gave.
    pub fn session_id(&self) -> &str {
        self.session_id.as_deref().expect("logged in")
    }
}

/// The data of an answer, which must be `ok`; `{}` when it has none.
#[track_caller]
pub fn data_of(mut answer: Value) -> Value {
    assert_eq!(answer["result"], "ok", "{answer}");
    answer.get_mut("data").map_or_else(|| json!({}), Value::take)
}

/// The code and text of an answer, which must be an error.
#[track_caller]
pub fn error_of(answer: &Value) -> (i64, String) {
    assert_eq!(answer["result"], "error", "{answer}");
    let data = &answer["data"];
    let (code, text) = (data["code"].as_i64(), data["error"].as_str());
    (
        code.unwrap_or_else(|| panic!("no code in {answer}")),
        text.unwrap_or_else(|| panic!("no text in {answer}")).into(),
    )
}

/// The text of a message's top-level field, exactly as it stands there.
#[track_caller]
pub fn raw_field(message: &str, field: &str) -> String {
    raw_fields(message).remove(field).unwrap_or_else(|| panic!("no {field} in {message}")).get().into()
}

fn raw_fields(message: &str) -> BTreeMap<String, Box<RawValue>> {
    serde_json::from_str(message).unwrap_or_else(|error| panic!("{error}: {message}"))
}

/// A message without its `data`, which may hold what [`Value`] cannot.
fn envelope(text: &str) -> Value {
    let fields = raw_fields(text).into_iter().filter(|(name, _)| name != "data");
    // A tid may be a number that fits no type: then its text stands for it.
    let read = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    Value::Object(fields.map(|(name, value)| (name, read(value.get()))).collect())
}

/// The message of a request `class/subclass/cmd`.
pub fn request_message(command: &str, data: &Value, tid: &Value) -> Value {
    let parts: Vec<&str> = command.split('/').collect();
    let [class, subclass, cmd] = parts[..] else { panic!("{command} is not class/subclass/cmd") };
    json!({"class": class, "subclass": subclass, "cmd": cmd, "data": data, "tid": tid})
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn is_event(message: &Value) -> bool {
    message["class"] == "core" && message["cmd"] == "event"
}

fn is_ping(message: &Value) -> bool {
    message["class"] == "core" && message["cmd"] == "ping"
}

fn is_ack(message: &Value) -> bool {
    message.get("ack").is_some()
}
