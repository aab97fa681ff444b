//! What a library registered, as the traits that the broker knows.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use async_trait::async_trait;

use super::{call::InLibrary, instance::Instance, intern, table::PLUGIN_TARGET};
use crate::{
    auth::{Authenticator, Authorizer, Decision, Login, Ruling, Verdict},
    command::{Command, Handler},
    context::Context,
    error::{Error, Result},
    event::{Event, EventFilter, Filtered},
    ffi::{
        abi::{self, Text, When},
        slot::{End, at_once},
        wire::{
            ActionText, CallerText, CommandText, EventText, LineText, LoginText, RecordText, RegisteredText,
            RulingText, SessionText, VerdictText, read, scope_text,
        },
    },
    host::Host,
    json::RawJson,
    log::{BrokerLogSink, BrokerRecord, LogRecord, LogSink},
    message::{CommandKey, Outcome, Request},
    permission::Action,
    plugin::{Exec, Registrar},
    service::{Service, Shutdown},
    session::{Caller, SessionChange, SessionInfo, SessionObserver},
};

/// Has an instance register, and passes on what it has.
pub(super) fn register(instance: &Arc<Instance>, registrar: &mut Registrar) -> Result<()> {
    let config = RawJson::from_value(&registrar.config::<serde_json::Value>()?)?;
    let registered = instance.registered(config.as_str())?;
    functions(instance, &registered)?;
    counts(&registered)?;
    let RegisteredText {
        commands,
        authenticators,
        event_filters,
        authorizers,
        session_observers,
        log_sinks,
        broker_log_sinks,
        services,
    } = registered;
    for (index, text) in numbered(commands) {
        registrar.command(command(instance, index, text));
    }
    for (index, text) in numbered(authenticators) {
        registrar.authenticator(LibraryAuthenticator {
            place: Place::new(instance, index),
            secret_fields: text.secret_fields.iter().map(|field| intern(field)).collect(),
        });
    }
    for (index, text) in numbered(event_filters) {
        let filters_deliveries = text.filters_deliveries;
        registrar.event_filter(LibraryFilter { place: Place::new(instance, index), filters_deliveries });
    }
    for index in 0..authorizers {
        registrar.authorizer(LibraryAuthorizer(Place::new(instance, index)));
    }
    for index in 0..session_observers {
        registrar.session_observer(LibraryObserver(Place::new(instance, index)));
    }
    for index in 0..log_sinks {
        registrar.log_sink(LibrarySink(Place::new(instance, index)));
    }
    for index in 0..broker_log_sinks {
        registrar.broker_log_sink(LibraryBrokerSink(Place::new(instance, index)));
    }
    for index in 0..services {
        registrar.service(LibraryService(Place::new(instance, index)));
    }
    Ok(())
}

fn numbered<T>(list: Vec<T>) -> impl Iterator<Item = (u32, T)> {
    (0..).zip(list)
}

/// Whether the functions are there for what is registered.
fn functions(instance: &Instance, registered: &RegisteredText) -> Result<()> {
    let table = &instance.table;
    let pairs = [
        ("call", !registered.commands.is_empty(), table.call.is_some()),
        ("authenticate", !registered.authenticators.is_empty(), table.authenticate.is_some()),
        ("authorize", registered.authorizers > 0, table.authorize.is_some()),
        ("filter_event", !registered.event_filters.is_empty(), table.filter_event.is_some()),
        ("session_changed", registered.session_observers > 0, table.session_changed.is_some()),
        ("log", registered.log_sinks > 0, table.log.is_some()),
        ("broker_log", registered.broker_log_sinks > 0, table.broker_log.is_some()),
        ("run", registered.services > 0, table.run.is_some()),
    ];
    match pairs.into_iter().find(|(_, needed, there)| *needed && !there) {
        Some((name, ..)) => {
            Err(Error::invalid_value(format_args!("function '{name}' is NULL, but is needed")))
        }
        None => Ok(()),
    }
}

/// So many of what is only counted: a number that a library got wrong must not cost the broker its memory.
const MOST_COUNTED: u32 = 1024;

fn counts(registered: &RegisteredText) -> Result<()> {
    let RegisteredText { authorizers, session_observers, log_sinks, broker_log_sinks, services, .. } =
        registered;
    let counted = [
        ("authorizers", authorizers),
        ("session_observers", session_observers),
        ("log_sinks", log_sinks),
        ("broker_log_sinks", broker_log_sinks),
        ("services", services),
    ];
    match counted.into_iter().find(|(_, count)| **count > MOST_COUNTED) {
        Some((what, count)) => {
            Err(Error::invalid_value(format_args!("{what}: {count}, at most {MOST_COUNTED} are possible")))
        }
        None => Ok(()),
    }
}

fn command(instance: &Arc<Instance>, index: u32, text: CommandText) -> Command {
    let CommandText { key, aliases, about, data_schema, reply_schema, mode } = text;
    let handler = Arc::new(LibraryHandler { instance: Arc::clone(instance), index });
    let key: CommandKey = key.into();
    Command { key, aliases, about, data_schema, reply_schema, mode: mode.into(), handler }
}

/// What an extension of a library is known by there.
struct Place {
    instance: Arc<Instance>,
    index: u32,
}

impl Place {
    fn new(instance: &Arc<Instance>, index: u32) -> Self {
        Self { instance: Arc::clone(instance), index }
    }
}

/// A command of a library.
pub(super) struct LibraryHandler {
    pub(super) instance: Arc<Instance>,
    pub(super) index: u32,
}

impl Handler for LibraryHandler {
    // Not by the macro, which would begin the call only when it is first polled, in a second state machine.
    fn call<'a>(
        self: Arc<Self>,
        cx: Context,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>
    where
        Self: 'a,
    {
        match self.instance.exec {
            Exec::Offload => Box::pin(offload(self, cx, request)),
            Exec::Inline => match InLibrary::enter(self, &cx, request) {
                Ok(running) => Box::pin(running),
                Err(error) => Box::pin(std::future::ready(Err(error))),
            },
        }
    }
}

/// Enters the library on a thread that may block.
async fn offload(handler: Arc<LibraryHandler>, cx: Context, request: Request) -> Outcome {
    let unavailable = handler.instance.unavailable();
    match tokio::task::spawn_blocking(move || InLibrary::enter(handler, &cx, request)).await {
        Ok(entered) => entered?.await,
        Err(_) => Err(unavailable),
    }
}

struct LibraryAuthenticator {
    place: Place,
    secret_fields: Vec<&'static str>,
}

#[async_trait]
impl Authenticator for LibraryAuthenticator {
    async fn authenticate(&self, login: &Login, from: &Caller) -> Verdict {
        self.judge(login, from).await.unwrap_or_else(Verdict::Reject)
    }

    fn secret_fields(&self) -> &[&str] {
        &self.secret_fields
    }
}

impl LibraryAuthenticator {
    async fn judge(&self, login: &Login, from: &Caller) -> Result<Verdict> {
        let Place { instance, index } = &self.place;
        instance.usable()?;
        let Some(authenticate) = instance.table.authenticate else { return Err(instance.unavailable()) };
        let (login, caller) = (LoginText::write(login)?, RawJson::from_value(&CallerText::from(from))?);
        let start = |instance: &Instance, completion| {
            let (login, caller) = (Text::of(login.as_str()), Text::of(caller.as_str()));
            // SAFETY: the instance is not destroyed while work on it is awaited.
            unsafe { authenticate(instance.raw, *index, login, caller, completion) }
        };
        let said = instance.work(start).await.into_result()?;
        read::<VerdictText>(&said)?.into_verdict()
    }
}

struct LibraryAuthorizer(Place);

#[async_trait]
impl Authorizer for LibraryAuthorizer {
    async fn authorize(&self, caller: &Arc<Caller>, action: &Action) -> Ruling {
        self.judge(caller, action).await.unwrap_or_else(|error| Decision::Deny(error).into())
    }
}

impl LibraryAuthorizer {
    async fn judge(&self, caller: &Caller, action: &Action) -> Result<Ruling> {
        let Place { instance, index } = &self.0;
        instance.usable()?;
        let Some(authorize) = instance.table.authorize else { return Err(instance.unavailable()) };
        let caller = RawJson::from_value(&CallerText::from(caller))?;
        let action = RawJson::from_value(&ActionText::from(action))?;
        let start = |instance: &Instance, completion| {
            let (caller, action) = (Text::of(caller.as_str()), Text::of(action.as_str()));
            // SAFETY: the instance is not destroyed while work on it is awaited.
            unsafe { authorize(instance.raw, *index, caller, action, completion) }
        };
        let said = instance.work(start).await.into_result()?;
        Ok(read::<RulingText>(&said)?.into())
    }
}

struct LibraryFilter {
    place: Place,
    filters_deliveries: bool,
}

impl LibraryFilter {
    fn ask(&self, when: When, event: &Event, about: Option<&RawJson>) -> Filtered {
        let Place { instance, index } = &self.place;
        let Some(filter) = instance.table.filter_event.filter(|_| instance.usable().is_ok()) else {
            return Filtered::Pass;
        };
        let laid_out = lay_out(event);
        let about = Text::of_some(about.map(RawJson::as_str));
        let end = at_once(|completion| {
            // SAFETY: the instance is not destroyed, and all texts are there for the time of the call.
            unsafe { filter(instance.raw, *index, when as u32, &raw const laid_out, about, completion) };
        });
        match instance.caught(end) {
            End::Drop => Filtered::Drop,
            End::Continue(Some(changed)) | End::Ok(changed) if !changed.is_empty() => {
                match read::<EventText>(&changed) {
                    Ok(changed) => Filtered::Replace(changed.into()),
                    Err(error) => instance.misbehaved("a filter gave no event", &error),
                }
            }
            End::Ok(_) | End::Continue(_) | End::Cancelled => Filtered::Pass,
            End::Error(error) => instance.misbehaved("a filter failed", &error),
            End::Panic(message) => std::panic::resume_unwind(Box::new(message)),
        }
    }
}

impl Instance {
    /// A filter that does not work lets events pass.
    fn misbehaved(&self, what: &'static str, error: &Error) -> Filtered {
        tracing::warn!(plugin = %self.name, %error, "{what}");
        Filtered::Pass
    }
}

fn lay_out(event: &Event) -> abi::Event {
    let topic = &event.topic;
    abi::Event {
        class: Text::of(&topic.class),
        subclass: Text::of_some(topic.subclass.as_deref()),
        kind: Text::of_some(topic.kind.as_deref()),
        obj_id: Text::of_some(topic.obj_id.as_deref()),
        service: Text::of_some(scope_text(&event.service)),
        body: Text::of(event.body.as_str()),
    }
}

impl EventFilter for LibraryFilter {
    fn fired(&self, event: &Event) -> Filtered {
        self.ask(When::Fired, event, None)
    }

    fn filters_deliveries(&self) -> bool {
        self.filters_deliveries
    }

    fn delivering(&self, event: &Event, to: &SessionInfo) -> Filtered {
        let Ok(to) = RawJson::from_value(&SessionText::from(to)) else { return Filtered::Pass };
        self.ask(When::Delivering, event, Some(&to))
    }

    fn received(&self, event: &Event, from: &Caller) {
        if let Ok(from) = RawJson::from_value(&CallerText::from(from)) {
            self.ask(When::Received, event, Some(&from));
        }
    }
}

struct LibraryObserver(Place);

impl SessionObserver for LibraryObserver {
    fn session_changed(&self, change: &SessionChange) {
        let Place { instance, index } = &self.0;
        let Some(observe) = instance.table.session_changed.filter(|_| instance.usable().is_ok()) else {
            return;
        };
        if let Ok(change) = RawJson::from_value(&SessionText::from(change)) {
            // SAFETY: the instance is not destroyed, and the text is there for the time of the call.
            unsafe { observe(instance.raw, *index, Text::of(change.as_str())) };
        }
    }
}

struct LibrarySink(Place);

impl LogSink for LibrarySink {
    fn log(&self, record: &LogRecord) -> Result<()> {
        let Place { instance, index } = &self.0;
        instance.usable()?;
        let Some(log) = instance.table.log else { return Err(instance.unavailable()) };
        let record = RawJson::from_value(&RecordText::from(record))?;
        let end = at_once(|completion| {
            // SAFETY: the instance is not destroyed, and the text is there for the time of the call.
            unsafe { log(instance.raw, *index, Text::of(record.as_str()), completion) };
        });
        instance.caught(end).into_result().map(drop)
    }
}

struct LibraryBrokerSink(Place);

impl BrokerLogSink for LibraryBrokerSink {
    fn record(&self, record: &BrokerRecord) {
        let Place { instance, index } = &self.0;
        // A line about a line would make the next.
        let own = record.target == PLUGIN_TARGET
            && record
                .fields
                .get("plugin")
                .is_some_and(|name| name.parse::<String>().is_ok_and(|name| *name == *instance.name));
        let Some(log) = instance.table.broker_log.filter(|_| !own && instance.usable().is_ok()) else {
            return;
        };
        if let Ok(line) = RawJson::from_value(&LineText::from(record)) {
            // SAFETY: the instance is not destroyed, and the text is there for the time of the call.
            unsafe { log(instance.raw, *index, Text::of(line.as_str())) };
        }
    }
}

struct LibraryService(Place);

#[async_trait]
impl Service for LibraryService {
    async fn run(self: Arc<Self>, _host: Arc<dyn Host>, stop: Shutdown) -> Result<()> {
        let Place { instance, index } = &self.0;
        let Some(run) = instance.table.run else { return Err(instance.unavailable()) };
        // SAFETY: the instance is not destroyed while work on it is awaited.
        let start = |instance: &Instance, completion| unsafe { run(instance.raw, *index, completion) };
        let mut work = std::pin::pin!(instance.work(start));
        let end = match stop.or(&mut work).await {
            Some(end) => end,
            None => {
                let left = stop.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
                instance.stop(left);
                work.await
            }
        };
        match end {
            End::Cancelled => Ok(()),
            end => end.into_result().map(drop),
        }
    }
}
