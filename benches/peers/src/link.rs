//! One connection: it reads while it writes, and wakes when its [`Gate`] is opened.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream, task::AtomicWaker};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use crate::{
    dialect::{Dialect, Incoming},
    framing::{Framing, Inbox, Outbox},
    system::System,
};

/// What one read takes at most. All connections of a thread share one buffer: thousands may be idle.
const READ_BYTES: usize = 64 * 1024;
/// With more than this to write, nothing is read.
const OUTBOX_BYTES: usize = 1024 * 1024;
/// How many clients log in at the same time.
const AT_A_TIME: usize = 64;
/// How long a server may take for anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Lets others wake a connection's task: time to send, or another phase.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    openings: AtomicU64,
    waker: AtomicWaker,
}

impl Gate {
    /// Wakes the task that waits here.
    pub(crate) fn open(&self) {
        self.openings.fetch_add(1, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the gate was opened since `seen`.
    fn poll_opened(&self, cx: &mut Context<'_>, seen: &mut u64) -> Poll<()> {
        self.waker.register(cx.waker());
        let openings = self.openings.load(Ordering::Acquire);
        if openings == std::mem::replace(seen, openings) { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// Where to connect to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) system: System,
    pub(crate) address: SocketAddr,
    /// What the kernel keeps of what is not read, in bytes; as much as it likes where nothing is said.
    pub(crate) unread: Option<u32>,
}

impl Target {
    /// Connects from a loopback address of the caller's choice, so that ports do not run out, and logs in.
    pub(crate) async fn login(&self, name: &str, source: usize) -> Result<Link, String> {
        let mut link = self.connect(source).await?;
        link.dialect.login(name, &mut link.outbox);
        link.ready().await?;
        Ok(link)
    }

    /// Logs that many clients in, some at a time: there are servers that take 100 ms for one alone.
    pub(crate) async fn logins(&self, team: &str, count: usize) -> Result<Vec<Link>, String> {
        let login = async |index| self.login(&format!("{team}-{index}"), index).await;
        stream::iter(0..count).map(login).buffered(AT_A_TIME).try_collect().await
    }

    /// Logs that many clients in, and subscribes them.
    pub(crate) async fn subscribers(&self, count: usize, topic: &str) -> Result<Vec<Link>, String> {
        let subscribed = self.logins("subscriber", count).await?.into_iter().map(async |mut link: Link| {
            link.subscribe(topic).await?;
            Ok::<_, String>(link)
        });
        stream::iter(subscribed).buffered(AT_A_TIME).try_collect().await
    }

    async fn connect(&self, source: usize) -> Result<Link, String> {
        let framing = self.system.framing();
        let stream = open(self, source).await.map_err(|error| format!("cannot connect: {error}"))?;
        let mut link = Link {
            stream,
            dialect: self.system.dialect(),
            inbox: Inbox::new(framing),
            outbox: Outbox::new(framing),
            seen_openings: 0,
        };
        if framing != Framing::Plain {
            let upgrading = link.upgrade(self.system.subprotocol());
            timeout(PATIENCE, upgrading).await.map_err(|_| "no answer to the upgrade")??;
        }
        Ok(link)
    }
}

async fn open(target: &Target, source: usize) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = target.unread {
        socket.set_recv_buffer_size(bytes)?;
    }
    let [third, fourth] = [(source / 250) % 250, source % 250].map(|part| u8::try_from(part).unwrap_or(0));
    socket.bind(SocketAddr::from(([127, 1, third, fourth + 1], 0)))?;
    let stream = socket.connect(target.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One connection.
pub(crate) struct Link {
    stream: TcpStream,
    pub(crate) dialect: Box<dyn Dialect>,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    seen_openings: u64,
}

impl Link {
    /// The WebSocket handshake. What the server says right behind it is kept.
    async fn upgrade(&mut self, subprotocol: Option<&str>) -> Result<(), String> {
        let key = generate_key();
        let subprotocol = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
        let request = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{}\r\n",
            subprotocol.unwrap_or_default()
        );
        let failed = |error: io::Error| format!("the upgrade failed: {error}");
        self.stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut answer = Vec::new();
        let end = loop {
            if let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n") {
                break end + 4;
            }
            if self.stream.read_buf(&mut answer).await.map_err(failed)? == 0 {
                return Err("the server closed the connection instead of upgrading it".into());
            }
        };
        let (head, rest) = answer.split_at_checked(end).unwrap_or_default();
        let head = String::from_utf8_lossy(head);
        if !head.starts_with("HTTP/1.1 101") || !head.contains(&derive_accept_key(key.as_bytes())) {
            return Err(format!("no upgrade: {head}"));
        }
        self.inbox.push(rest);
        Ok(())
    }

    /// Has events of this topic delivered, from now on.
    pub(crate) async fn subscribe(&mut self, topic: &str) -> Result<(), String> {
        self.dialect.subscribe(topic, &mut self.outbox);
        self.ready().await
    }

    /// Has requests to this name delivered, from now on.
    pub(crate) async fn serve(&mut self, name: &str) -> Result<(), String> {
        self.dialect.serve(name, &mut self.outbox);
        self.ready().await
    }

    /// Waits until the server has done what was asked.
    async fn ready(&mut self) -> Result<(), String> {
        self.until(|incoming| *incoming == Incoming::Ready).await
    }

    /// Waits for the next event.
    pub(crate) async fn delivered(&mut self) -> Result<(), String> {
        self.until(|incoming| matches!(incoming, Incoming::Delivery { .. })).await
    }

    /// Sends one event.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<(), String> {
        self.dialect.publish(topic, payload, &mut self.outbox);
        self.outbox.seal();
        poll_fn(|cx| self.poll_write(cx)).await.map_err(|error| format!("writing failed: {error}"))
    }

    async fn until(&mut self, wanted: impl Fn(&Incoming<'_>) -> bool) -> Result<(), String> {
        let waiting = async {
            let gate = Gate::default();
            loop {
                while let Some(incoming) = self.dialect.next(&mut self.inbox, &mut self.outbox)? {
                    if wanted(&incoming) {
                        return Ok(());
                    }
                }
                self.turn(&gate).await?;
            }
        };
        timeout(PATIENCE, waiting).await.map_err(|_| "the server does not answer")?
    }

    /// Writes what is there to write until something was read or the gate was opened.
    pub(crate) async fn turn(&mut self, gate: &Gate) -> Result<(), String> {
        self.outbox.seal();
        poll_fn(|cx| self.poll_turn(cx, gate, Reading::Yes)).await
    }

    /// Writes what is there to write until the gate was opened, and reads nothing.
    pub(crate) async fn turn_unread(&mut self, gate: &Gate) -> Result<(), String> {
        self.outbox.seal();
        poll_fn(|cx| self.poll_turn(cx, gate, Reading::No)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, gate: &Gate, reading: Reading) -> Poll<Result<(), String>> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Err(format!("writing failed: {error}")));
        }
        if gate.poll_opened(cx, &mut self.seen_openings).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if reading == Reading::No || self.outbox.bytes().len() > OUTBOX_BYTES {
            return Poll::Pending;
        }
        match ready!(self.poll_read(cx)) {
            Ok(0) => Poll::Ready(Err("the server closed the connection".into())),
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(format!("reading failed: {error}"))),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, self.outbox.bytes()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbox.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.inbox.push(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Says goodbye, and waits until the server has closed the connection.
    pub(crate) async fn close(mut self) -> Result<(), String> {
        self.dialect.goodbye(&mut self.outbox);
        self.outbox.put_close();
        let heard = timeout(PATIENCE, poll_fn(|cx| self.poll_close(cx))).await;
        heard.map_err(|_| "the server does not close a connection that says goodbye".into())
    }

    /// Ready at the end of what the server sends, however it comes.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(self.poll_write(cx)).is_err()
            || ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_err()
        {
            return Poll::Ready(());
        }
        while let Ok(1..) = ready!(self.poll_read(cx)) {}
        Poll::Ready(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Yes,
    No,
}
