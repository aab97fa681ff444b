//! Serving requests that come from the broker.

use std::{future::Future, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

use crate::{
    AnswerError, Error,
    error::code,
    event::Origin,
    message::{IncomingRequest, empty_object, encode_ack, encode_error, encode_ok},
    pending::Outgoing,
    stats::Counters,
};

/// protocol.md §2: who has no answer within a second sends an ack.
const ACK_AFTER: Duration = Duration::from_secs(1);
/// The broker waits 180 s after an ack; a lost minute does no harm.
const ACK_EVERY: Duration = Duration::from_secs(60);

/// A request that the broker sent to this session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerRequest {
    /// The subsystem that is asked.
    pub class: String,
    /// Subdivision of the class, `core` when it was left out.
    pub subclass: String,
    /// The command.
    pub cmd: String,
    /// The arguments as JSON text, `{}` when there are none.
    pub data: Box<RawValue>,
    /// Who asks: only for sessions that logged in with [`identify`](crate::Login::identify), and for
    /// commands that the session registered.
    pub from: Option<Origin>,
}

impl ServerRequest {
    /// The data as a type of the application's.
    ///
    /// # Errors
    /// An error answer, code 100044, when it does not fit: ready to be returned by the handler.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T, AnswerError> {
        serde_json::from_str(self.data.get())
            .map_err(|error| AnswerError::new(code::SYNTAX_ERROR, format!("Syntax error: {error}")))
    }
}

/// What a request is answered with.
#[derive(Debug)]
pub struct Reply(Result<Option<Box<RawValue>>, AnswerError>);

impl Reply {
    /// `ok`, without data.
    pub fn ok() -> Self {
        Self(Ok(None))
    }

    /// `ok` with data. Data that cannot be written as JSON becomes error 100002, internal error.
    pub fn data(data: &(impl Serialize + ?Sized)) -> Self {
        match to_raw_value(data) {
            Ok(data) => Self(Ok(Some(data))),
            Err(error) => {
                tracing::error!(%error, "a handler's reply cannot be encoded");
                internal_error()
            }
        }
    }

    /// An error. Codes from 200000 up are free for applications.
    pub fn error(code: i64, text: impl Into<String>) -> Self {
        Self(Err(AnswerError::new(code, text)))
    }

    fn encode(&self, tid: &RawValue) -> String {
        match &self.0 {
            Ok(data) => encode_ok(data.as_deref(), tid),
            Err(error) => encode_error(error, tid),
        }
    }
}

impl From<AnswerError> for Reply {
    fn from(error: AnswerError) -> Self {
        Self(Err(error))
    }
}

impl From<Result<Reply, AnswerError>> for Reply {
    fn from(result: Result<Reply, AnswerError>) -> Self {
        result.unwrap_or_else(Self::from)
    }
}

/// Passes on what another request was answered with.
impl From<Result<Box<RawValue>, Error>> for Reply {
    fn from(result: Result<Box<RawValue>, Error>) -> Self {
        match result {
            Ok(data) => Self(Ok(Some(data))),
            Err(Error::Answer(error)) => Self(Err(error)),
            Err(Error::Timeout | Error::NotSent) => Self::error(code::TIMEOUT, "Timeout"),
            Err(_) => internal_error(),
        }
    }
}

/// Serves requests from the broker. Any `Fn(ServerRequest) -> impl Future<Output: Into<Reply>>` is one.
///
/// Each request runs in a task of its own, at most
/// [`max_handlers`](crate::ConnectOptions::max_handlers) at once, so answers may leave in another order than
/// their requests came. The client sends an ack by itself when the answer takes more than a second, and
/// again every minute. A handler that panics answers error 100002, internal error. One that outlives its
/// connection runs on; its answer is dropped and counted.
pub trait RequestHandler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: ServerRequest) -> impl Future<Output = Reply> + Send + 'static;
}

impl<F, Answer> RequestHandler for F
where
    F: Fn(ServerRequest) -> Answer + Send + Sync + 'static,
    Answer: Future<Output: Into<Reply>> + Send + 'static,
{
    fn handle(&self, request: ServerRequest) -> impl Future<Output = Reply> + Send + 'static {
        self(request).map(Into::into)
    }
}

type ReplyFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A [`RequestHandler`] without its type.
pub(crate) type BoxedHandler = dyn Fn(ServerRequest) -> ReplyFuture + Send + Sync;

pub(crate) fn boxed(handler: impl RequestHandler) -> Arc<BoxedHandler> {
    Arc::new(move |request| Box::pin(handler.handle(request)))
}

/// Runs handlers, a bounded number of them at once.
#[derive(Clone)]
pub(crate) struct Handlers {
    handler: Option<Arc<BoxedHandler>>,
    slots: Arc<Semaphore>,
    counters: Arc<Counters>,
}

impl Handlers {
    pub(crate) fn new(handler: Option<Arc<BoxedHandler>>, limit: usize, counters: Arc<Counters>) -> Self {
        Self { handler, slots: Arc::new(Semaphore::new(limit)), counters }
    }

    /// Starts serving a request; the answer goes to `replies`. What can be answered in place is returned.
    pub(crate) fn start(
        &self,
        request: &IncomingRequest<'_>,
        tid: &RawValue,
        replies: &mpsc::Sender<Outgoing>,
    ) -> Option<String> {
        let refuse = |code, text: &str| Some(encode_error(&AnswerError::new(code, text), tid));
        let Some(handler) = self.handler.clone() else {
            return refuse(code::NOT_IMPLEMENTED, "Not implemented");
        };
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            self.counters.requests_refused.add(1);
            return refuse(code::TOO_MANY_REQUESTS, "Too many requests in flight");
        };
        let Ok(from) = Origin::parse(request.from) else {
            return refuse(code::SYNTAX_ERROR, "Syntax error: from");
        };
        let request = ServerRequest {
            class: request.class.clone().into_owned(),
            subclass: request.subclass.clone().into_owned(),
            cmd: request.cmd.clone().into_owned(),
            data: request.data.map_or_else(empty_object, ToOwned::to_owned),
            from,
        };
        let tid = tid.to_owned();
        let replies = replies.clone();
        let counters = Arc::clone(&self.counters);
        tokio::spawn(async move {
            let reply = answer(&*handler, request, &tid, &replies).await;
            let outgoing = Outgoing { tid: None, frame: reply.encode(&tid) };
            if replies.send(outgoing).await.is_err() {
                counters.replies_dropped.add(1);
            }
            drop(slot);
        });
        None
    }
}

/// Runs one handler to its end, with acks where it takes its time.
async fn answer(
    handler: &BoxedHandler,
    request: ServerRequest,
    tid: &RawValue,
    replies: &mpsc::Sender<Outgoing>,
) -> Reply {
    // The handler's own call may panic before there is a future.
    let work = AssertUnwindSafe(async move { handler(request).await }).catch_unwind();
    tokio::pin!(work);
    let mut wait = ACK_AFTER;
    loop {
        match timeout(wait, &mut work).await {
            Ok(Ok(reply)) => return reply,
            Ok(Err(_)) => {
                tracing::error!("a request handler panicked");
                return internal_error();
            }
            Err(_) => {
                wait = ACK_EVERY;
                // On a lost connection the handler still runs to its end.
                replies.send(Outgoing { tid: None, frame: encode_ack(tid) }).await.ok();
            }
        }
    }
}

fn internal_error() -> Reply {
    Reply::error(code::INTERNAL_ERROR, "Internal error")
}
