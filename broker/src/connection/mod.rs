//! The task that owns a socket.

mod closing;
mod inflight;
mod open;
mod relayed;
mod requests;
mod timers;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, future::BoxFuture};
use jackfield_plugin_api::PeerCertificate;
use tokio::{net::tcp::OwnedWriteHalf, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    codec::{CloseReason, Framing},
    config::Config,
    lifecycle::Sessions,
    router::Router,
    session::{
        Item, Link, Writer, Written,
        pace::{self, Company, Row},
    },
    telemetry::DropReason,
    transport::{Channel, Inbound, Input, Stream},
};
use inflight::Home;
use open::{Expected, OpenRequests};
use relayed::RelayedRequests;
use requests::RateLimit;
use timers::Timers;

/// So many bytes are taken from the queue at a time, and no more as long as so many wait to be written.
const BATCH_BYTES: usize = 64 << 10;

/// How often a connection goes round, each time with up to 64 KiB of its client's, before others on the thread have
/// their turn: who fires events must not outrun those who write them out.
const READS_IN_A_TURN: usize = 8;

/// When it has seen to the queues of so many others in a round, those on the thread have their turn at once.
const MOST_SEEN_TO_IN_A_TURN: usize = 64;

/// How many requests of the broker's a client may leave unanswered, events among them. One that reads but never
/// answers must not fill the memory.
const MOST_OPEN: usize = 1 << 18;

/// What the connections of one service have in common.
pub struct Endpoint {
    /// Where requests go.
    pub router: Arc<Router>,
    /// Where logins go.
    pub sessions: Arc<Sessions>,
    /// The handlers that had to wait.
    pub handlers: TaskTracker,
    /// The requests that sessions are to answer.
    pub relays: TaskTracker,
    /// Set when those that still wait are to be ended.
    pub stop_handlers: CancellationToken,
}

/// A socket whose handshakes are done.
pub struct Socket {
    /// The bytes.
    pub stream: Box<dyn Stream>,
    /// How its messages are told apart.
    pub framing: Framing,
    /// Where it is from.
    pub remote: Arc<str>,
    /// The certificate that a TLS client has shown.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Writes to it from elsewhere, where that may be.
    pub writer: Option<Arc<OwnedWriteHalf>>,
    /// Its number.
    pub id: u64,
    /// When it was accepted.
    pub accepted: Instant,
}

/// Serves a connection until it ends, and holds its place for as long.
pub fn serve(
    endpoint: Arc<Endpoint>,
    socket: Socket,
    place: impl Send + Unpin + 'static,
) -> impl Future<Output = ()> + Send + Unpin + 'static {
    Served { stage: Stage::Open(Connection::new(endpoint, socket)), _place: place }
}

/// No async block, which has room for more than it holds at a time: every quiet connection would keep it.
struct Served<P> {
    stage: Stage,
    _place: P,
}

#[expect(
    clippy::large_enum_variant,
    reason = "it is in its task's memory, and the first for all but its end"
)]
enum Stage {
    Open(Connection),
    Ending(BoxFuture<'static, ()>),
    Over,
}

impl<P: Unpin> Future for Served<P> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Stage::Open(connection) = &mut self.stage {
            let end = ready!(connection.poll_turn(cx));
            if let Stage::Open(connection) = std::mem::replace(&mut self.stage, Stage::Over) {
                self.stage = Stage::Ending(connection.finish(end).boxed());
            }
        }
        match &mut self.stage {
            Stage::Ending(ending) => ending.poll_unpin(cx),
            Stage::Open(_) | Stage::Over => Poll::Ready(()),
        }
    }
}

struct Connection {
    home: Arc<Home>,
    /// The configuration in force when its turn began.
    config: Arc<Config>,
    input: Input,
    channel: Channel,
    open: OpenRequests,
    relayed: RelayedRequests,
    /// A login under way: what comes behind it waits.
    gate: Option<BoxFuture<'static, ()>>,
    /// A message that waits until the client has read its answers.
    held: Option<Box<str>>,
    /// The answer to a transport's ping, likewise.
    late_pong: Option<Box<[u8]>>,
    /// Whether what was read may hold another message.
    unread: bool,
    /// Whether bytes were written that the stream may hold back.
    unflushed: bool,
    timers: Timers,
    rate: RateLimit,
}

/// How the conversation came to its end.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The broker closes.
    Close(CloseReason),
    /// The client closed its sending half.
    HalfClosed,
    /// The client said goodbye in the transport's own way.
    Goodbye,
    /// The socket broke.
    Broken,
}

impl Connection {
    fn new(endpoint: Arc<Endpoint>, socket: Socket) -> Self {
        let config = endpoint.sessions.settings.load_full();
        let timers = Timers::new(socket.accepted + config.timeouts.login);
        let service = Arc::clone(&endpoint.sessions.service);
        let link = Link::new(socket.id, socket.framing, service, socket.remote);
        let sent = &endpoint.sessions.metrics.bytes_sent;
        let writer = socket.writer.map(|socket| Writer { socket, sent: sent.clone() });
        let link = Arc::new(link.with_certificate(socket.certificate).with_writer(writer));
        endpoint.sessions.metrics.connections.increment(1.0);
        if !endpoint.sessions.anonymous.insert(&link) {
            link.close(CloseReason::Shutdown);
        }
        Self {
            home: Arc::new(Home::new(endpoint, link)),
            config,
            input: Input::new(socket.framing),
            channel: Channel::new(socket.stream, socket.framing),
            open: OpenRequests::default(),
            relayed: RelayedRequests::default(),
            gate: None,
            held: None,
            late_pong: None,
            unread: false,
            unflushed: false,
            timers,
            rate: RateLimit::default(),
        }
    }

    fn refresh_config(&mut self) {
        let config = self.home.endpoint.sessions.settings.load();
        if !Arc::ptr_eq(&config, &self.config) {
            self.config = Arc::clone(&config);
        }
    }

    /// Does all that can be done without waiting.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.home.link.outbound.register(cx.waker());
        self.refresh_config();
        self.home.link.outbound.begin_writing();
        for _ in 0..READS_IN_A_TURN {
            let waits_for_login =
                |reason: &CloseReason| self.gate.is_some() && *reason != CloseReason::Shutdown;
            if let Some(reason) = self.home.link.close_reason().filter(|reason| !waits_for_login(reason)) {
                return Poll::Ready(End::Close(reason));
            }
            if self.open.len() > MOST_OPEN {
                return Poll::Ready(End::Close(CloseReason::SlowConsumer));
            }
            if self.poll_output(cx).is_err() {
                return Poll::Ready(End::Broken);
            }
            let input = self.poll_input(cx);
            self.input.settle();
            match input {
                Ok(true) if pace::take_seen_to() < MOST_SEEN_TO_IN_A_TURN => continue,
                Ok(true) if self.poll_output(cx).is_err() => return Poll::Ready(End::Broken),
                Ok(true) => break,
                Ok(false) => {}
                Err(end) => return Poll::Ready(end),
            }
            if self.channel.pending() > 0 && self.timers.stalled.is_none() {
                continue;
            }
            match self.poll_timers(cx) {
                Poll::Ready(Ok(())) => continue,
                Poll::Ready(Err(reason)) => return Poll::Ready(End::Close(reason)),
                Poll::Pending => {}
            }
            // Last of all: from here on others may write.
            if self.channel.pending() > 0 || self.home.link.outbound.end_writing(self.due_from()) {
                return Poll::Pending;
            }
        }
        // There is more to do, but others have had to wait long enough. The time goes by for the busy, too.
        if let Poll::Ready(Err(reason)) = self.poll_timers(cx) {
            return Poll::Ready(End::Close(reason));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what waits, as far as the socket takes it.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            self.take_frames();
            if self.channel.pending() == 0 {
                return self.poll_flush(cx);
            }
            match self.channel.poll_write(cx)? {
                Poll::Ready(written) => {
                    self.home.endpoint.sessions.metrics.bytes_sent.increment(written as u64);
                    self.timers.stalled = None;
                    self.unflushed = true;
                }
                Poll::Pending => {
                    self.timers.stalled.get_or_insert_with(Instant::now);
                    return Ok(());
                }
            }
        }
    }

    /// Flushes what the stream holds back. A socket that does not take that is as stalled as one that takes nothing.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.unflushed && self.channel.poll_flush(cx)?.is_pending() {
            self.timers.stalled.get_or_insert_with(Instant::now);
            return Ok(());
        }
        self.unflushed = false;
        self.timers.stalled = None;
        Ok(())
    }

    fn take_frames(&mut self) {
        while self.channel.pending() < BATCH_BYTES {
            let (channel, open) = (&mut self.channel, &mut self.open);
            let answer = self.config.timeouts.answer;
            let mut deadline = None;
            let mut deadline = || *deadline.get_or_insert_with(|| Instant::now() + answer);
            let more = self.home.link.outbound.take(BATCH_BYTES, |item| match item {
                Item::Bytes(bytes) => channel.tail().extend_from_slice(bytes),
                Item::Shared(bytes) => channel.push(bytes),
                Item::Event(tid) => open.insert(tid, Expected::Event, deadline()),
                Item::Written(Written { tid, at, waiter }) => {
                    open.insert(tid, waiter.map_or(Expected::Event, Expected::Answer), at + answer);
                }
                Item::Request(tid, waiter) => open.insert(tid, Expected::Answer(waiter), deadline()),
            });
            if !more {
                return;
            }
        }
    }

    /// Reads and handles what is there; `true` when that was anything.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut progress = self.poll_gate(cx);
        progress |= self.handle_messages(cx)?;
        if !self.may_read() {
            return Ok(progress);
        }
        match self.channel.poll_fill(&mut self.input, cx) {
            Poll::Pending => Ok(progress),
            Poll::Ready(Ok(0)) => Err(End::HalfClosed),
            Poll::Ready(Ok(received)) => {
                self.home.endpoint.sessions.metrics.bytes_received.increment(received as u64);
                self.timers.quiet_since = Instant::now();
                self.unread = true;
                self.handle_messages(cx)?;
                Ok(true)
            }
            Poll::Ready(Err(_)) => Err(End::Broken),
        }
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>) -> bool {
        let opened = self.gate.as_mut().is_some_and(|gate| gate.poll_unpin(cx).is_ready());
        if opened {
            self.gate = None;
            // What was waiting for the login is answered behind it.
            self.take_frames();
        }
        opened
    }

    /// Nothing is read while a login is under way, nor behind a request that waits.
    fn may_read(&self) -> bool {
        self.gate.is_none() && self.held.is_none() && self.home.link.close_reason().is_none()
    }

    /// Whether the client is behind with reading its answers. Its requests wait then, and what comes behind them;
    /// its answers to the broker's own get through (protocol §2).
    fn is_behind(&self) -> bool {
        self.channel.pending() + self.home.link.outbound.bytes() > self.config.limits.outbound_bytes / 2
    }

    /// Answers something of the transport's own. Of pings that a client sends without reading their answers the last is
    /// answered (RFC 6455, section 5.5.3).
    fn answer_transport(&mut self, bytes: Vec<u8>) {
        if self.is_behind() {
            self.late_pong = Some(bytes.into());
        } else {
            self.channel.tail().extend_from_slice(&bytes);
        }
    }

    fn handle_messages(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let limit = self.config.limits.message_bytes;
        let mut progress = false;
        if let Some(pong) = self.late_pong.take() {
            self.answer_transport(pong.into());
        }
        if self.gate.is_none()
            && !self.is_behind()
            && let Some(text) = self.held.take()
        {
            self.message(&text, cx)?;
            progress = true;
        }
        if !self.unread {
            return Ok(progress);
        }
        // Taken out, for messages are handled where they lie.
        let mut input = std::mem::replace(&mut self.input, Input::new(self.home.link.framing));
        let handled = self.handle_input(&mut input, limit, cx);
        self.input = input;
        handled.map(|any| any || progress)
    }

    fn handle_input(&mut self, input: &mut Input, limit: usize, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut progress = false;
        let row = Row::begin();
        while self.unread && self.may_read() {
            match input.next(limit) {
                Ok(Some(Inbound::Message { text, has_company })) => {
                    let company = if has_company || progress { Company::Others } else { Company::None };
                    row.handle(company, || self.message(text, cx))?;
                }
                Ok(Some(Inbound::Answer(bytes))) => self.answer_transport(bytes),
                Ok(Some(Inbound::Goodbye(bytes))) => {
                    self.channel.tail().extend_from_slice(&bytes);
                    return Err(End::Goodbye);
                }
                Ok(None) => self.unread = false,
                Err(violation) => return Err(self.violated(violation, limit)),
            }
            progress = true;
        }
        Ok(progress)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Nobody will read the answers, and nobody shall wait for them.
        self.relayed.take().for_each(|request| request.abandon());
        let sessions = &self.home.endpoint.sessions;
        sessions.anonymous.remove(&self.home.link);
        if let Some(session) = self.home.link.end() {
            sessions.end(&session, CloseReason::Gone);
        }
        let reason = drop_reason(self.home.link.close_reason().unwrap_or(CloseReason::Gone));
        sessions.metrics.events_dropped.add(reason, self.home.link.outbound.discard());
        sessions.metrics.connections.decrement(1.0);
    }
}

fn drop_reason(reason: CloseReason) -> DropReason {
    match reason {
        CloseReason::SlowConsumer => DropReason::SlowConsumer,
        _ => DropReason::Disconnected,
    }
}

#[cfg(test)]
mod tests {
    use super::{Connection, Served};

    #[test]
    fn a_quiet_connection_is_small() {
        // With the runtime's own, a task has 512 bytes; the next size that is allocated is 640.
        assert!(size_of::<Served<usize>>() <= 400 && size_of::<Connection>() <= 392);
    }
}
