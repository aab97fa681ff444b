//! From a request to its handler and back: look-up, permission, schema, handler (protocol §2, §6).

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use jackfield_plugin_api::{
    Answer, Begun, Call, CallMode, CommandKey, Context, Error, ErrorCode, Outcome, RawJson, Relay, Request,
    json::{Arguments, Data},
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    auth::Authorizers,
    registry::{Chain, Entry, Registry},
    session::Turn,
    telemetry::{Metrics, panics},
};

/// The router of one service.
pub struct Router {
    /// What can be asked for.
    pub registry: Arc<Registry>,
    /// Who may ask for it.
    pub authorizers: Authorizers,
    metrics: Arc<Metrics>,
}

/// How a request got on.
pub enum Routed {
    /// It is answered.
    Done(Answered),
    /// Somebody has to wait for it.
    Running(Running),
    /// A session answers it, through the call.
    Relayed,
}

/// The end of a request.
#[derive(Debug)]
pub struct Answered {
    /// What the caller gets.
    pub result: Result<RawJson, Error>,
    /// Which of its data fields nobody knows.
    pub unrecognized: Option<Unrecognized>,
}

/// Data fields that a command does not know.
#[derive(Debug)]
pub struct Unrecognized {
    /// The command.
    pub command: Arc<CommandKey>,
    /// The fields.
    pub fields: Vec<String>,
}

/// A request that is not answered yet.
pub struct Running {
    /// How it is run.
    pub mode: CallMode,
    /// Its end.
    pub work: BoxFuture<'static, Answered>,
}

/// What is wanted, as the caller wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The class.
    pub class: &'a str,
    /// The subclass.
    pub subclass: &'a str,
    /// The command.
    pub cmd: &'a str,
}

impl Wanted<'_> {
    fn key(self) -> CommandKey {
        CommandKey::new(self.class, self.subclass, self.cmd)
    }
}

impl From<Error> for Answered {
    fn from(error: Error) -> Self {
        Self { result: Err(error), unrecognized: None }
    }
}

impl Router {
    /// A router over a registry that is still empty.
    pub fn new(authorizers: Authorizers, metrics: Arc<Metrics>) -> Self {
        Self { registry: Arc::new(Registry::new()), authorizers, metrics }
    }

    /// Routes a request. Its handler is polled once in place; only what is not answered by that has to be waited
    /// for. The caller lends its `call` as it is, for most are done without another handle to it. `turn` is the session's,
    /// for requests that must run one after the other.
    pub fn route(
        self: &Arc<Self>,
        wanted: Wanted<'_>,
        data: &Data<'_>,
        call: &Arc<impl Call>,
        turn: &Turn,
        cx: &mut TaskContext<'_>,
    ) -> Routed {
        let Some(chain) = self.registry.lookup(wanted.class, wanted.subclass, wanted.cmd) else {
            return Routed::Done(Error::unknown_command(&wanted.key()).into());
        };
        let Some(first) = chain.entries.first() else {
            return Routed::Done(exhausted(&chain, &wanted.key()).into());
        };
        let mode = first.command.mode;
        let made = (chain.exact == 0).then(|| Arc::new(wanted.key()));
        let command = made.as_ref().unwrap_or(&first.key);
        let said = self.permit_now(first, &**call, command);
        if let Some(Err(error)) = said {
            return Routed::Done(error.into());
        }
        let held = match mode.ordered.then(|| turn.lock().try_lock_owned()) {
            Some(Err(_)) => {
                let request = Request { command: Arc::clone(command), data: data.to_json() };
                let work = self.job(&chain, call).run_in_turn(request, turn.lock());
                return poll_once(mode, work, cx);
            }
            Some(Ok(held)) => Some(held),
            None => None,
        };
        match said {
            Some(_) => self.start(&chain, call, command, data, held, cx),
            None => {
                let request = Request { command: Arc::clone(command), data: data.to_json() };
                poll_once(mode, self.job(&chain, call).run_permitted(request, held), cx)
            }
        }
    }

    fn job(self: &Arc<Self>, chain: &Arc<Chain>, call: &Arc<impl Call>) -> Job {
        Job { router: Arc::clone(self), chain: Arc::clone(chain), call: Arc::clone(call) as _ }
    }

    fn permit_now(&self, entry: &Entry, call: &impl Call, command: &CommandKey) -> Option<Result<(), Error>> {
        if entry.command.mode.unrestricted {
            return Some(Ok(()));
        }
        self.authorizers.permit_now(call.caller(), &entry.permission(command))
    }

    /// Starts a permitted request with its first handler, which is polled once.
    fn start(
        self: &Arc<Self>,
        chain: &Arc<Chain>,
        call: &Arc<impl Call>,
        command: &Arc<CommandKey>,
        data: &Data<'_>,
        turn: Held,
        cx: &mut TaskContext<'_>,
    ) -> Routed {
        let Some(entry) = chain.entries.first() else {
            return Routed::Done(exhausted(chain, command).into());
        };
        let mode = entry.command.mode;
        let (arguments, unrecognized) = match check(entry, command, data) {
            Ok(checked) => checked,
            Err(error) => return Routed::Done(error.into()),
        };
        let context = Context::new(Arc::clone(call) as _, Arc::clone(&entry.provider.host));
        // A handler that is no async function may panic before it gives its future.
        let begun = std::panic::catch_unwind(AssertUnwindSafe(|| {
            match Arc::clone(&entry.command.handler).begin(context, command, &arguments) {
                Begun::Running(mut work) => match work.poll_unpin(cx) {
                    Poll::Ready(outcome) => Begun::Done(outcome),
                    Poll::Pending => Begun::Running(work),
                },
                done => done,
            }
        }));
        match begun.unwrap_or_else(|panic| Begun::Done(Err(self.panicked(entry, &*panic)))) {
            Begun::Done(Ok(Answer::Reply(data))) => Routed::Done(Answered { result: Ok(data), unrecognized }),
            Begun::Done(Err(error)) => Routed::Done(Answered { result: Err(error), unrecognized }),
            Begun::Done(Ok(Answer::Relay(relay))) if unrecognized.is_none() => {
                call.hand_on();
                match entry.provider.host.relay(&relay, Arc::clone(call) as _) {
                    Ok(()) => Routed::Relayed,
                    Err(error) => Routed::Done(error.into()),
                }
            }
            Begun::Done(Ok(answer)) => {
                let rest = self.job(chain, call).go_on(Ok(answer), unrecognized, turn);
                poll_once(mode, rest, cx)
            }
            Begun::Running(work) => {
                let job = self.job(chain, call);
                let work = job.guarded(Arc::clone(entry), work);
                let rest = async move { job.go_on(work.await, unrecognized, turn).await };
                Routed::Running(Running { mode, work: rest.boxed() })
            }
        }
    }

    fn panicked(&self, entry: &Entry, panic: &(dyn Any + Send)) -> Error {
        self.metrics.handler_panics.increment(1);
        panics::caught_in(&entry.provider.name, &entry.key, panic)
    }

    /// Routes a request and waits for its end, at most `limit` where its handler does not keep time itself.
    pub async fn call(self: &Arc<Self>, request: Request, call: Arc<dyn Call>, limit: Duration) -> Answered {
        let key = Arc::clone(&request.command);
        let Some(chain) = self.registry.lookup(&key.class, &key.subclass, &key.cmd) else {
            return Error::unknown_command(&key).into();
        };
        let keeps_own_time = chain.entries.first().is_some_and(|entry| entry.command.mode.keeps_own_time);
        let work = Job { router: Arc::clone(self), chain, call }.run_permitted(request, None);
        if keeps_own_time {
            return work.await;
        }
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Error::new(ErrorCode::Timeout).into())
    }
}

/// A turn that is held for as long as a request runs.
type Held = Option<OwnedMutexGuard<()>>;

/// One request on its way through a chain of handlers.
struct Job {
    router: Arc<Router>,
    chain: Arc<Chain>,
    call: Arc<dyn Call>,
}

impl Job {
    /// What follows on the first handler's outcome.
    async fn go_on(self, outcome: Outcome, unrecognized: Option<Unrecognized>, turn: Held) -> Answered {
        match outcome {
            Ok(Answer::Reply(data)) => Answered { result: Ok(data), unrecognized },
            Ok(Answer::Continue(request)) => self.run_from(1, request, unrecognized, turn).await,
            Ok(Answer::Relay(relay)) => Answered { result: self.wait(0, relay).await, unrecognized },
            Err(error) => Answered { result: Err(error), unrecognized },
        }
    }

    /// Waits for the session that answers in the place of the handler at `place`.
    async fn wait(&self, place: usize, relay: Relay) -> Result<RawJson, Error> {
        let Some(entry) = self.chain.entries.get(place) else { return Err(ErrorCode::NotImplemented.into()) };
        let context = Context::new(Arc::clone(&self.call), Arc::clone(&entry.provider.host));
        match relay.wait(&context).await? {
            Answer::Reply(data) => Ok(data),
            Answer::Continue(_) | Answer::Relay(_) => Err(ErrorCode::NotImplemented.into()),
        }
    }

    async fn run_in_turn(self, request: Request, turn: Arc<Mutex<()>>) -> Answered {
        let held = turn.lock_owned().await;
        self.run_permitted(request, Some(held)).await
    }

    async fn run_permitted(self, request: Request, turn: Held) -> Answered {
        let Some(entry) = self.chain.entries.first() else {
            return exhausted(&self.chain, &request.command).into();
        };
        if !entry.command.mode.unrestricted {
            let permission = entry.permission(&request.command).into_owned();
            if let Err(error) = self.router.authorizers.permit(self.call.caller(), &permission).await {
                return error.into();
            }
        }
        self.run_from(0, request, None, turn).await
    }

    /// Asks the handlers from `place` on, one after the other.
    async fn run_from(
        self,
        place: usize,
        mut request: Request,
        mut unrecognized: Option<Unrecognized>,
        _turn: Held,
    ) -> Answered {
        for (place, entry) in self.chain.entries.iter().enumerate().skip(place) {
            let data = match check(entry, &request.command, &Data::from(&request.data)) {
                Ok((arguments, unknown)) => {
                    unrecognized = unrecognized.or(unknown);
                    arguments.to_json()
                }
                Err(error) => return error.into(),
            };
            match self.enter(entry, Request { command: Arc::clone(&request.command), data }).await {
                Ok(Answer::Reply(data)) => return Answered { result: Ok(data), unrecognized },
                Ok(Answer::Continue(next)) => request = next,
                Ok(Answer::Relay(relay)) => {
                    return Answered { result: self.wait(place, relay).await, unrecognized };
                }
                Err(error) => return Answered { result: Err(error), unrecognized },
            }
        }
        exhausted(&self.chain, &request.command).into()
    }

    /// Enters a handler, behind a guard that turns a panic into an error.
    fn enter(&self, entry: &Arc<Entry>, request: Request) -> BoxFuture<'static, Outcome> {
        let context = Context::new(Arc::clone(&self.call), Arc::clone(&entry.provider.host));
        let handler = Arc::clone(&entry.command.handler);
        match std::panic::catch_unwind(AssertUnwindSafe(|| handler.call(context, request))) {
            Ok(work) => self.guarded(Arc::clone(entry), work),
            Err(panic) => std::future::ready(Err(self.router.panicked(entry, &*panic))).boxed(),
        }
    }

    fn guarded(&self, entry: Arc<Entry>, work: BoxFuture<'static, Outcome>) -> BoxFuture<'static, Outcome> {
        let router = Arc::clone(&self.router);
        AssertUnwindSafe(work)
            .catch_unwind()
            .map(move |end| end.unwrap_or_else(|panic| Err(router.panicked(&entry, &*panic))))
            .boxed()
    }
}

/// The end of a chain whose every handler said *continue*.
fn exhausted(chain: &Chain, key: &CommandKey) -> Error {
    if chain.exact > 0 { ErrorCode::NotImplemented.into() } else { Error::unknown_command(key) }
}

fn check<'a>(
    entry: &'a Entry,
    command: &Arc<CommandKey>,
    data: &'a Data<'_>,
) -> Result<(Arguments<'a>, Option<Unrecognized>), Error> {
    let checked = entry.schema.check(data)?;
    let unrecognized = (!checked.unrecognized.is_empty())
        .then(|| Unrecognized { command: Arc::clone(command), fields: checked.unrecognized });
    Ok((checked.arguments, unrecognized))
}

fn poll_once(
    mode: CallMode,
    work: impl Future<Output = Answered> + Send + 'static,
    cx: &mut TaskContext<'_>,
) -> Routed {
    let mut work = work.boxed();
    match work.poll_unpin(cx) {
        Poll::Ready(answered) => Routed::Done(answered),
        Poll::Pending => Routed::Running(Running { mode, work }),
    }
}
