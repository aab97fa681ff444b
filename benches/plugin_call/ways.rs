//! The ways from a request to a handler and back.

use std::{
    future::Future,
    hint::black_box,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture, task::noop_waker_ref};
use jackfield::{
    router::{Routed, Wanted},
    session::Turn,
};
use jackfield_benches::World;
use jackfield_plugin_api::{
    Answer, Call, Command, CommandKey, Context, Handler, Host, Outcome, RawJson, Request, json::Data,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
    runtime::Runtime,
    sync::Mutex,
};

use crate::session;

/// Makes so many calls with this data, and says how long that took.
pub(crate) type Repeat = Box<dyn Fn(&RawJson, u64) -> Duration>;

/// Calls a handler that is ready when it is first polled.
pub(crate) fn in_place(command: &Command, cx: &Context) -> Repeat {
    let (handler, key, cx) = (Arc::clone(&command.handler), Arc::new(command.key.clone()), cx.clone());
    Box::new(move |data, times| {
        let mut task = TaskContext::from_waker(noop_waker_ref());
        let started = Instant::now();
        for _ in 0..times {
            let request = Request { command: Arc::clone(&key), data: data.clone() };
            let polled = call(&handler, &cx, request).poll_unpin(&mut task);
            assert!(matches!(black_box(polled), Poll::Ready(Ok(Answer::Reply(_)))));
        }
        started.elapsed()
    })
}

fn call(handler: &Arc<dyn Handler>, cx: &Context, request: Request) -> BoxFuture<'static, Outcome> {
    Arc::clone(handler).call(cx.clone(), request)
}

/// Calls a handler that has to be waited for, in a task.
pub(crate) fn awaited(runtime: &Arc<Runtime>, command: &Command, cx: &Context) -> Repeat {
    let (handler, key, cx) = (Arc::clone(&command.handler), Arc::new(command.key.clone()), cx.clone());
    in_task(runtime, move |data| {
        let work = call(&handler, &cx, Request { command: Arc::clone(&key), data });
        async move { assert!(matches!(black_box(work.await), Ok(Answer::Reply(_)))) }
    })
}

/// Looks the command up, asks permission, checks its data and calls it.
pub(crate) fn routed(world: &Arc<World>, call: &Arc<impl Call>, key: CommandKey) -> Repeat {
    let (world, call, turn) = (Arc::clone(world), Arc::clone(call), Arc::new(Turn::default()));
    Box::new(move |data, times| {
        let mut task = TaskContext::from_waker(noop_waker_ref());
        let started = Instant::now();
        for _ in 0..times {
            let CommandKey { class, subclass, cmd } = &key;
            let wanted = black_box(Wanted { class, subclass, cmd });
            let routed = world.router.route(wanted, &Data::from(data), &call, &turn, &mut task);
            assert!(matches!(black_box(routed), Routed::Done(answered) if answered.result.is_ok()));
        }
        started.elapsed()
    })
}

/// Asks a broker, which asks a session.
pub(crate) fn of_session(runtime: &Arc<Runtime>, host: Arc<dyn Host>, key: CommandKey) -> Repeat {
    let key = Arc::new(key);
    in_task(runtime, move |data| {
        let (host, command) = (Arc::clone(&host), Arc::clone(&key));
        async move { assert!(host.call(Request { command, data }).await.is_ok()) }
    })
}

/// Data there and back as a line, without any broker.
pub(crate) fn loopback(runtime: &Arc<Runtime>) -> Repeat {
    let address = session::mirror();
    let stream = runtime.block_on(TcpStream::connect(address)).unwrap();
    stream.set_nodelay(true).unwrap();
    let shared = Arc::new(Mutex::new((BufStream::new(stream), String::new())));
    in_task(runtime, move |data| {
        let shared = Arc::clone(&shared);
        async move {
            let (stream, line) = &mut *shared.lock().await;
            line.clear();
            stream.write_all(data.as_str().as_bytes()).await.unwrap();
            stream.write_all(b"\n").await.unwrap();
            stream.flush().await.unwrap();
            stream.read_line(line).await.unwrap();
        }
    })
}

/// Does one after the other in one task of the runtime, as a connection would.
fn in_task<F: Future<Output = ()> + Send>(
    runtime: &Arc<Runtime>,
    work: impl Fn(RawJson) -> F + Send + Sync + 'static,
) -> Repeat {
    let (runtime, work) = (Arc::clone(runtime), Arc::new(work));
    Box::new(move |data, times| {
        let (work, data) = (Arc::clone(&work), data.clone());
        let task = runtime.spawn(async move {
            let started = Instant::now();
            for _ in 0..times {
                work(data.clone()).await;
            }
            started.elapsed()
        });
        runtime.block_on(task).unwrap()
    })
}
