//! The task that owns the socket: connects, lives one [`Link`] after the other, reconnects.

mod inbox;
mod link;
mod setup;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};

use self::{inbox::Inbox, link::Link};
use crate::{
    ConnectOptions, ConnectionState, DisconnectReason, Error, Reconnect, SessionId, Subscription,
    event::EventQueue,
    handler::Handlers,
    pending::{Outgoing, Pending},
    state::StateHub,
    stats::Counters,
    transport,
};

/// What the connection's task and the application's handles both see.
pub(crate) struct Shared {
    pub(crate) options: ConnectOptions,
    pub(crate) pending: Arc<Pending>,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) subscriptions: Mutex<Vec<Subscription>>,
    pub(crate) session: Mutex<Option<Session>>,
    pub(crate) states: StateHub,
    pub(crate) counters: Arc<Counters>,
}

/// What a login brought.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) answer: Arc<RawValue>,
}

impl Shared {
    pub(crate) fn new(options: ConnectOptions) -> Self {
        let counters = Arc::new(Counters::default());
        Self {
            pending: Arc::new(Pending::new()),
            events: Arc::new(EventQueue::new(options.event_queue, Arc::clone(&counters))),
            subscriptions: Mutex::default(),
            session: Mutex::default(),
            states: StateHub::new(),
            counters,
            options,
        }
    }

    fn remember(&self, subscription: Subscription) {
        let mut known = self.subscriptions.lock();
        match known.iter_mut().find(|other| other.same_events(&subscription)) {
            Some(other) => *other = subscription,
            None => known.push(subscription),
        }
    }

    fn forget(&self, subscription: &Subscription) {
        self.subscriptions.lock().retain(|other| !other.same_events(subscription));
    }
}

/// What the application wants of the task. That nobody holds the sender any more means `Close`, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Run,
    Close,
}

/// The task's ends of its channels, and what outlives a single connection.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Outgoing>,
    control: watch::Receiver<Control>,
    handlers: Handlers,
    inbox: Inbox,
}

impl Connection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        requests: mpsc::Receiver<Outgoing>,
        control: watch::Receiver<Control>,
    ) -> Self {
        let options = &shared.options;
        let handlers =
            Handlers::new(options.handler.clone(), options.max_handlers, Arc::clone(&shared.counters));
        let inbox = Inbox::new(Arc::clone(&shared.events));
        Self { shared, requests, control, handlers, inbox }
    }

    /// Runs until the client is closed or gives up. `first` hears how the first connection went; that one
    /// is tried once only.
    pub(crate) async fn run(mut self, first: oneshot::Sender<Result<(), Error>>) {
        let mut first = Some(first);
        let mut attempt = 0;
        let reason = loop {
            let started = Instant::now();
            let reason = self.connect_and_live(&mut first).await;
            if first.is_some() || matches!(reason, DisconnectReason::ClosedByClient) {
                break reason;
            }
            if started.elapsed() > longest_delay(self.shared.options.reconnect) {
                attempt = 0;
            }
            attempt += 1;
            self.lost(&reason);
            if let Err(reason) = self.wait_for_attempt(attempt, reason).await {
                break reason;
            }
        };
        self.finish(reason, first);
    }

    /// One connection, from the attempt to its end.
    async fn connect_and_live(
        &mut self,
        first: &mut Option<oneshot::Sender<Result<(), Error>>>,
    ) -> DisconnectReason {
        let options = &self.shared.options;
        let connecting = timeout(options.connect_timeout, transport::connect(options));
        let transport = tokio::select! {
            () = closing(&mut self.control) => return DisconnectReason::ClosedByClient,
            result = connecting => match result {
                Ok(Ok(transport)) => transport,
                Ok(Err(reason)) => return reason,
                Err(_) => return DisconnectReason::ConnectTimeout,
            },
        };
        let mut link = Link::new(&self.shared, transport, &self.handlers);
        let ready = || {
            if let Some(first) = first.take() {
                // Nobody waits when `connect` was cancelled; then the control channel closes as well.
                first.send(Ok(())).ok();
            }
        };
        let reason = link.live(&mut self.requests, &mut self.control, &mut self.inbox, ready).await;
        tracing::debug!(%reason, "connection ended");
        link.end(reason).await
    }

    /// Brings what hung on the lost connection to its end.
    fn lost(&mut self, reason: &DisconnectReason) {
        *self.shared.session.lock() = None;
        self.inbox.forget_tids();
        self.shared.pending.disconnected(reason);
        self.shared.states.publish(ConnectionState::Disconnected { reason: reason.clone() });
    }

    /// Waits until it is time for the attempt; the error says that there is none.
    async fn wait_for_attempt(
        &mut self,
        attempt: u32,
        reason: DisconnectReason,
    ) -> Result<(), DisconnectReason> {
        let delay = match self.shared.options.reconnect.delay(attempt) {
            Some(delay) if !reason.is_permanent() => delay,
            _ => return Err(reason),
        };
        tracing::info!(%reason, attempt, ?delay, "reconnecting");
        self.shared.states.publish(ConnectionState::Reconnecting { attempt, delay });
        tokio::select! {
            () = closing(&mut self.control) => Err(DisconnectReason::ClosedByClient),
            () = sleep(delay) => Ok(()),
        }
    }

    fn finish(mut self, reason: DisconnectReason, first: Option<oneshot::Sender<Result<(), Error>>>) {
        let shared = &self.shared;
        *shared.session.lock() = None;
        shared.pending.close(&reason);
        self.inbox.close();
        if let Some(first) = first {
            let error = match reason.clone() {
                DisconnectReason::LoginRefused(error) => Error::LoginRefused(error),
                reason => Error::Connect { url: shared.options.endpoint.to_string(), reason },
            };
            first.send(Err(error)).ok();
        }
        shared.states.publish(match reason {
            DisconnectReason::ClosedByClient => ConnectionState::Closed,
            reason => ConnectionState::GaveUp { reason },
        });
    }
}

fn longest_delay(reconnect: Reconnect) -> Duration {
    match reconnect {
        Reconnect::Never => Duration::MAX,
        Reconnect::Backoff { max, .. } => max,
    }
}

/// Waits until the application closes the client or lets go of it.
async fn closing(control: &mut watch::Receiver<Control>) {
    // An error says that every handle is gone.
    control.wait_for(|control| *control == Control::Close).await.ok();
}
