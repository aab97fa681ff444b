//! A session without a socket.

use std::{collections::VecDeque, fmt};

use serde::Deserialize;
use tokio::sync::mpsc;

use crate::{
    error::{Error, ErrorCode, Result},
    json::{RawJson, RawObject, push_string},
    message::CommandKey,
};

/// A connection to the broker from inside it, for plugins that speak another protocol with their own clients: what
/// is sent is treated as any client's messages are, and the same limits and timers hold. Dropping it ends it.
pub struct VirtualSession {
    to_broker: mpsc::Sender<RawJson>,
    from_broker: mpsc::Receiver<RawJson>,
    passed_over: VecDeque<RawJson>,
    last_tid: u64,
}

impl VirtualSession {
    /// Puts one together from its two queues: the broker's business.
    pub fn new(to_broker: mpsc::Sender<RawJson>, from_broker: mpsc::Receiver<RawJson>) -> Self {
        Self { to_broker, from_broker, passed_over: VecDeque::new(), last_tid: 0 }
    }

    /// Its two queues.
    #[cfg(feature = "host")]
    pub(crate) fn into_ends(self) -> (mpsc::Sender<RawJson>, mpsc::Receiver<RawJson>) {
        (self.to_broker, self.from_broker)
    }

    /// Sends one message of the External API: a request, a response or an ack. Waits while the broker has not
    /// taken the ones before it.
    ///
    /// # Errors
    /// `session_stop` when the session has ended.
    pub async fn send(&self, message: RawJson) -> Result<()> {
        self.to_broker.send(message).await.map_err(|_| Error::new(ErrorCode::SessionStop))
    }

    /// The next message from the broker: a request, a response or an ack. `None` when the session has ended.
    pub async fn recv(&mut self) -> Option<RawJson> {
        match self.passed_over.pop_front() {
            Some(message) => Some(message),
            None => self.from_broker.recv().await,
        }
    }

    /// Sends a request and waits for its answer. Whatever else arrives meanwhile is kept for
    /// [`recv`](Self::recv).
    ///
    /// # Errors
    /// The answer's; `session_stop` when the session ends before it.
    pub async fn request(&mut self, command: &CommandKey, data: &RawJson) -> Result<RawJson> {
        self.last_tid += 1;
        let tid = format!("jackfield-virtual-{}", self.last_tid);
        self.send(encode(command, data, &tid)?).await?;
        while let Some(message) = self.from_broker.recv().await {
            match Response::answering(&message, &tid) {
                Some(response) => return response.into_result(),
                None => self.passed_over.push_back(message),
            }
        }
        Err(ErrorCode::SessionStop.into())
    }
}

impl fmt::Debug for VirtualSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VirtualSession")
    }
}

fn encode(command: &CommandKey, data: &RawJson, tid: &str) -> Result<RawJson> {
    let mut object = RawObject::default();
    let fields =
        [("class", &*command.class), ("subclass", &*command.subclass), ("cmd", &*command.cmd), ("tid", tid)];
    for (name, value) in fields {
        let mut text = String::with_capacity(value.len() + 2);
        push_string(&mut text, value);
        object.insert(name, RawJson::from_text(text).map_err(Error::syntax)?);
    }
    object.insert("data", data.clone());
    Ok(object.to_json())
}

#[derive(Deserialize)]
struct Response {
    result: String,
    tid: serde_json::Value,
    #[serde(default)]
    data: RawJson,
}

impl Response {
    fn answering(message: &RawJson, tid: &str) -> Option<Self> {
        message.parse::<Self>().ok().filter(|response| response.tid == tid)
    }

    fn into_result(self) -> Result<RawJson> {
        if self.result == "ok" {
            return Ok(self.data);
        }
        Err(Error::verbatim(self.data).unwrap_or_else(|| ErrorCode::InvalidReply.into()))
    }
}
