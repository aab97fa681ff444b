//! One connection of the load generator: it reads while it writes, and wakes when its [`Gate`] is opened.

use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use jackfield_client::{ConnectOptions, RawConnection, RawStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};

use super::{
    framing::{Inbox, Item, Outbox},
    wire::{self, Incoming},
};

/// What one read takes at most. All connections of a thread share one buffer: thousands may be idle.
const READ_BYTES: usize = 64 * 1024;
/// With more than this to write, nothing is read.
const OUTBOX_BYTES: usize = 1024 * 1024;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Why a connection is of no more use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken(pub(super) String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lets others wake a connection's task: time to send, or another phase.
#[derive(Debug, Default)]
pub(super) struct Gate {
    openings: AtomicU64,
    waker: AtomicWaker,
}

impl Gate {
    /// Wakes the task that waits here.
    pub(super) fn open(&self) {
        self.openings.fetch_add(1, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the gate was opened since `seen`.
    pub(super) fn poll_opened(&self, cx: &mut Context<'_>, seen: &mut u64) -> Poll<()> {
        self.waker.register(cx.waker());
        let openings = self.openings.load(Ordering::Acquire);
        if openings == std::mem::replace(seen, openings) { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// Bytes since they were last asked for.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// One connection.
pub(super) struct Connection {
    stream: Box<dyn RawStream>,
    inbox: Inbox,
    outbox: Outbox,
    unflushed: bool,
    seen_openings: u64,
    pub(super) traffic: Traffic,
}

impl Connection {
    /// Connects, handshakes included.
    pub(super) async fn open(options: &ConnectOptions) -> Result<Self, Broken> {
        let RawConnection { stream, framing } =
            RawConnection::open(options).await.map_err(|error| Broken(error.to_string()))?;
        Ok(Self {
            stream,
            inbox: Inbox::new(framing),
            outbox: Outbox::new(framing),
            unflushed: false,
            seen_openings: 0,
            traffic: Traffic::default(),
        })
    }

    pub(super) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Writes what is there to write until something was read or the gate was opened.
    pub(super) async fn turn(&mut self, gate: &Gate) -> Result<(), Broken> {
        poll_fn(|cx| self.poll_turn(cx, gate)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, gate: &Gate) -> Poll<Result<(), Broken>> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Err(Broken(format!("writing failed: {error}"))));
        }
        if gate.poll_opened(cx, &mut self.seen_openings).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if self.outbox.bytes().len() > OUTBOX_BYTES {
            return Poll::Pending;
        }
        match ready!(self.poll_read(cx)) {
            Ok(0) => Poll::Ready(Err(Broken("the broker closed the connection".into()))),
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(Broken(format!("reading failed: {error}")))),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, self.outbox.bytes()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbox.advance(written);
            self.traffic.sent += written as u64;
            self.unflushed = true;
        }
        if self.unflushed {
            // TLS may hold bytes back.
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.inbox.push(buffer.filled());
            self.traffic.received += buffer.filled().len() as u64;
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Hands every message that is there to `take`, with the outbox for what it answers.
    pub(super) fn each_message(&mut self, mut take: impl FnMut(&[u8], &mut Outbox)) -> Result<(), Broken> {
        while let Some(item) = self.inbox.next_item().map_err(Broken)? {
            match item {
                Item::Message(message) => take(message, &mut self.outbox),
                Item::Ping(payload) => self.outbox.put_pong(payload),
                Item::Close(reason) => {
                    return Err(Broken(format!("the broker closed the connection: {reason}")));
                }
            }
        }
        Ok(())
    }

    /// One request and the data of its good answer, before the load begins.
    pub(super) async fn ask(&mut self, request: &[u8], limit: Duration) -> Result<String, Broken> {
        self.outbox.put(&[request]);
        let answered = timeout(limit, self.answer()).await;
        answered.map_err(|_| Broken("no answer in time".into()))?
    }

    async fn answer(&mut self) -> Result<String, Broken> {
        let gate = Gate::default();
        let mut answer = None;
        while answer.is_none() {
            self.turn(&gate).await?;
            self.each_message(|message, outbox| match wire::parse(message) {
                Ok(Incoming::Answer { outcome, .. }) => {
                    answer = Some(outcome.map(ToOwned::to_owned).map_err(Broken));
                }
                Ok(Incoming::Request { tid: Some(tid), .. }) => wire::put_ok(outbox, tid),
                Ok(_) => {}
                Err(error) => answer = Some(Err(Broken(error))),
            })?;
        }
        answer.unwrap_or_else(|| Err(Broken("no answer".into())))
    }

    /// Says goodbye, and waits until the broker has heard it.
    pub(super) async fn close(mut self) -> Result<(), Broken> {
        self.outbox.put_close();
        let heard = timeout(GOODBYE, poll_fn(|cx| self.poll_close(cx))).await;
        heard.map_err(|_| Broken("the broker does not close a connection that says goodbye".into()))
    }

    /// Ready at the end of what the broker sends, however it comes.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(self.poll_write(cx)).is_err()
            || ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_err()
        {
            return Poll::Ready(());
        }
        while let Ok(1..) = ready!(self.poll_read(cx)) {
            self.inbox.clear();
        }
        Poll::Ready(())
    }
}
