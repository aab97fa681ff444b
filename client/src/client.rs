//! The handle that applications hold.

use std::{fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    ConnectOptions, ConnectionState, Error, Events, SessionId, States, Stats, Subscription, Timeouts,
    connection::{Connection, Control, Shared},
    message::Command,
    pending::{Answer, Effect, Outgoing},
};

/// A connection to a broker, kept up by a task of its own.
///
/// Clones are handles of the same connection, cheap and free to be used from any task. The connection is
/// closed when [`close`](Self::close) is called or the last handle is dropped.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
    timeouts: Timeouts,
}

/// What all clones of a client hold together. Its end is the task's.
struct Handle {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Outgoing>,
    control: watch::Sender<Control>,
}

impl Client {
    /// Connects, and logs in where the options have a login. Must be called within a tokio runtime.
    ///
    /// The first connection is tried once only, whatever the options say about reconnecting.
    ///
    /// # Errors
    /// [`Error::Connect`] when there is no connection, [`Error::LoginRefused`] when the broker does not want
    /// this login.
    pub async fn connect(options: ConnectOptions) -> Result<Self, Error> {
        let (requests, queued) = mpsc::channel(options.send_queue);
        let (control, controlled) = watch::channel(Control::Run);
        let timeouts = options.timeouts;
        let shared = Arc::new(Shared::new(options));
        let (first, connected) = oneshot::channel();
        tokio::spawn(Connection::new(Arc::clone(&shared), queued, controlled).run(first));
        let client = Self { handle: Arc::new(Handle { shared, requests, control }), timeouts };
        match connected.await {
            Ok(outcome) => outcome.map(|()| client),
            Err(_) => Err(Error::Closed(crate::DisconnectReason::ClosedByClient)),
        }
    }

    /// Makes a request and waits for the answer's data, `{}` when it has none.
    ///
    /// `data` may be anything that serializes, a [`RawValue`] included, whose text is kept; `()` for none.
    /// Any number of requests may be under way. Without a connection the request waits for the next one, in
    /// its own time. Dropping the future forgets the request; the broker may still carry it out.
    ///
    /// # Errors
    /// [`Error::Answer`] for an error answer; [`Error::Timeout`], [`Error::NotSent`],
    /// [`Error::Disconnected`] and [`Error::Closed`] when there is none; [`Error::Encode`] for data that is
    /// no JSON; [`Error::Protocol`] for an answer that is none.
    pub async fn request(
        &self,
        class: &str,
        subclass: &str,
        cmd: &str,
        data: impl Serialize,
    ) -> Result<Box<RawValue>, Error> {
        self.exchange(Command { class, subclass, cmd }, data, Effect::None).await?.outcome
    }

    /// The same, with the answer's data as a type of the application's
    /// ([`serde::de::IgnoredAny`] where it does not matter).
    ///
    /// # Errors
    /// Those of [`request`](Self::request), and [`Error::Decode`] when the data does not fit.
    pub async fn request_as<T: DeserializeOwned>(
        &self,
        class: &str,
        subclass: &str,
        cmd: &str,
        data: impl Serialize,
    ) -> Result<T, Error> {
        let data = self.request(class, subclass, cmd, data).await?;
        serde_json::from_str(data.get()).map_err(Error::Decode)
    }

    /// The same, with the whole answer message as it was received, be it good or an error answer.
    ///
    /// # Errors
    /// Those of [`request`](Self::request) but [`Error::Answer`].
    pub async fn request_message(
        &self,
        class: &str,
        subclass: &str,
        cmd: &str,
        data: impl Serialize,
    ) -> Result<Box<RawValue>, Error> {
        let answer = self.exchange(Command { class, subclass, cmd }, data, Effect::None).await?;
        if let Err(error @ Error::Protocol(_)) = answer.outcome {
            return Err(error);
        }
        serde_json::from_slice(&answer.frame).map_err(Error::Decode)
    }

    /// Subscribes the session to events, now and after each reconnect. [`events`](Self::events) has them.
    /// Subscribing to the same events again replaces the body.
    ///
    /// # Errors
    /// Those of [`request`](Self::request); the subscription is not remembered then.
    pub async fn subscribe(&self, subscription: Subscription) -> Result<(), Error> {
        let effect = Effect::Remember(subscription.clone());
        let call = Command::core("event", "subscribe");
        self.exchange(call, &subscription, effect).await?.outcome.map(drop)
    }

    /// Removes a subscription; its body does not matter. One that is not there is no error.
    ///
    /// # Errors
    /// Those of [`request`](Self::request); the subscription is still remembered then.
    pub async fn unsubscribe(&self, subscription: Subscription) -> Result<(), Error> {
        let subscription = subscription.without_body();
        let effect = Effect::Forget(subscription.clone());
        let call = Command::core("event", "unsubscribe");
        self.exchange(call, &subscription, effect).await?.outcome.map(drop)
    }

    /// The session's events. There is one stream of them; `None` while another [`Events`] lives.
    pub fn events(&self) -> Option<Events> {
        self.handle.shared.events.claim()
    }

    /// The connection's state now.
    pub fn state(&self) -> ConnectionState {
        self.handle.shared.states.latest()
    }

    /// The changes of the connection's state from now on.
    pub fn states(&self) -> States {
        self.handle.shared.states.subscribe()
    }

    /// The session's id; `None` without a login, and while there is no connection.
    pub fn session_id(&self) -> Option<SessionId> {
        self.handle.shared.session.lock().as_ref().map(|session| session.id.clone())
    }

    /// The data of the answer to the login: the session's id and what an authenticator added.
    /// `None` where [`session_id`](Self::session_id) is.
    pub fn login_answer(&self) -> Option<Arc<RawValue>> {
        self.handle.shared.session.lock().as_ref().map(|session| Arc::clone(&session.answer))
    }

    /// The broker's URL, with its port.
    pub fn url(&self) -> &str {
        self.handle.shared.options.endpoint.url()
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.handle.shared.counters.snapshot()
    }

    /// Another handle of the same connection, whose requests wait as long as this says.
    pub fn with_timeouts(&self, timeouts: Timeouts) -> Self {
        Self { handle: Arc::clone(&self.handle), timeouts }
    }

    /// Closes the connection: answers that are ready are written, then the broker is told, and has two
    /// seconds to take notice. Requests under way fail with [`Error::Disconnected`], new ones with
    /// [`Error::Closed`]. Returns when all that is done, for whoever closed the client.
    pub async fn close(&self) {
        self.handle.control.send_replace(Control::Close);
        self.handle.shared.states.finished().await;
    }

    async fn exchange(
        &self,
        command: Command<'_>,
        data: impl Serialize,
        effect: Effect,
    ) -> Result<Answer, Error> {
        let Handle { shared, requests, .. } = &*self.handle;
        shared.pending.prepare(command, &data, effect)?.answer(requests, self.timeouts).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.url())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
