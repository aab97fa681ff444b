//! The broker's end of a virtual session.

use serde::Deserialize;
use tokio::sync::mpsc;

use crate::{
    error::{Error, ErrorCode, Result},
    json::{RawJson, RawObject},
    virtual_session::VirtualSession,
};

const QUEUE: usize = 64;

/// What the broker would hold of a [`VirtualSession`] that a plugin opened: the test reads what the plugin sends
/// and answers in the broker's place. Dropping it ends the session.
#[derive(Debug)]
pub struct BrokerEnd {
    remote: String,
    from_plugin: mpsc::Receiver<RawJson>,
    to_plugin: mpsc::Sender<RawJson>,
}

impl BrokerEnd {
    pub(super) fn open(remote: &str) -> (VirtualSession, Self) {
        let (to_broker, from_plugin) = mpsc::channel(QUEUE);
        let (to_plugin, from_broker) = mpsc::channel(QUEUE);
        let end = Self { remote: remote.to_owned(), from_plugin, to_plugin };
        (VirtualSession::new(to_broker, from_broker), end)
    }

    /// Where the plugin says that its client is.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// The next message that the plugin sends; `None` once it has dropped the session.
    pub async fn recv(&mut self) -> Option<RawJson> {
        self.from_plugin.recv().await
    }

    /// Sends the plugin a message as it is.
    ///
    /// # Errors
    /// `session_stop` when the plugin has dropped the session.
    pub async fn send(&self, message: RawJson) -> Result<()> {
        self.to_plugin.send(message).await.map_err(|_| Error::new(ErrorCode::SessionStop))
    }

    /// Answers a request of the plugin's.
    ///
    /// # Errors
    /// `missing_field` for a request without `tid`; those of [`send`](Self::send).
    pub async fn answer(&self, request: &RawJson, outcome: Result<RawJson>) -> Result<()> {
        #[derive(Deserialize)]
        struct Asked {
            tid: RawJson,
        }
        let asked: Asked = request.parse().map_err(|_| Error::missing_field("tid"))?;
        let (result, data) = match outcome {
            Ok(data) => ("ok", data),
            Err(error) => ("error", error.to_json()),
        };
        let mut response = RawObject::default();
        response.set("result", &result)?;
        response.insert("data", data);
        response.insert("tid", asked.tid);
        self.send(response.to_json()).await
    }
}
