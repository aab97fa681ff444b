//! The broker, as the plugin asks it: [`Host`] by way of questions.

use std::{collections::BTreeMap, ffi::c_void, fmt, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    context::Context,
    error::{Error, ErrorCode, Result},
    event::{Event, ServiceScope, Subscription, Topic},
    ffi::{
        abi::{self, Text},
        slot::{End, HoldsSlot, Slot, Wait, at_once, completion},
        wire::{
            AuthorizeText, EventText, FromText, JudgeText, KeyText, RecordText, RefText, RegistrationText,
            RequestText, SessionRequestText, SessionText, StoreText, SubscribeText, base64, bytes, read,
        },
    },
    host::{CommandInfo, Counter, Gauge, Host, PluginInfo, SessionRequest},
    json::RawJson,
    log::LogRecord,
    message::{CommandKey, Request},
    permission::Action,
    registration::{AuthenticatorRegistration, Registration},
    session::{Caller, SessionId, SessionInfo, SessionRef, UserId},
    store::Store,
    virtual_session::VirtualSession,
};

/// How many messages wait in each direction of a virtual session.
const SESSION_QUEUE: usize = 64;

/// The broker's side, as one instance knows it.
pub(super) struct Broker {
    pub(super) host: &'static abi::Host,
    raw: View,
    service: String,
}

/// The broker's view of the instance: a handle.
#[derive(Clone, Copy)]
struct View(*mut c_void);

// SAFETY: the ABI says that it may be used from any thread, for as long as the process runs.
unsafe impl Send for View {}
// SAFETY: likewise.
unsafe impl Sync for View {}

/// A question that is on its way, and who is to know of acks.
struct Asked {
    slot: Slot,
    acks: Option<Context>,
}

impl HoldsSlot for Asked {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn progress(&self) {
        if let Some(acks) = &self.acks {
            acks.ack();
        }
    }
}

impl Broker {
    /// # Safety
    /// Both are from the broker, which keeps them for as long as the process runs.
    pub(super) unsafe fn new(host: &'static abi::Host, raw: *mut c_void) -> Result<Self> {
        #[derive(Deserialize)]
        struct Service {
            service: String,
        }
        let mut broker = Self { host, raw: View(raw), service: String::new() };
        broker.service = broker.now::<Service>("service", json!({}))?.service;
        Ok(broker)
    }

    /// Asks something that is answered at once.
    fn now<T: DeserializeOwned>(&self, question: &str, arguments: impl Serialize) -> Result<T> {
        let arguments = RawJson::from_value(&arguments)?;
        let (question, arguments) = (Text::of(question), Text::of(arguments.as_str()));
        let end = at_once(|completion| {
            // SAFETY: the view is the broker's, and the texts are there for the time of the call.
            unsafe { (self.host.ask)(self.raw.0, question, arguments, std::ptr::null(), completion) };
        });
        read(&plain(end)?)
    }

    /// Asks something and waits for the answer; to drop the future cancels the question.
    fn ask(&self, call: *const c_void, acks: Option<Context>, question: &str, arguments: &RawJson) -> Answer {
        let asked = Arc::new(Asked { slot: Slot::new(), acks });
        let (question, arguments) = (Text::of(question), Text::of(arguments.as_str()));
        // SAFETY: as above; the completion holds the slot.
        let number = unsafe { (self.host.ask)(self.raw.0, question, arguments, call, completion(&asked)) };
        let (host, raw) = (self.host, self.raw);
        Wait::new(asked, number, Box::new(move |number| cancel(host, raw, number)))
    }

    /// Asks something in the course of a request that is not answered yet.
    pub(super) fn ask_in(
        &self,
        call: *const c_void,
        question: &str,
        arguments: &RawJson,
    ) -> impl Future<Output = End> + Send + use<> {
        self.ask(call, None, question, arguments)
    }

    async fn later<T: DeserializeOwned>(&self, question: &str, arguments: impl Serialize) -> Result<T> {
        let arguments = RawJson::from_value(&arguments)?;
        // The pointer must not be held over the await.
        let asked = self.ask(std::ptr::null(), None, question, &arguments);
        read(&plain(asked.await)?)
    }

    fn metric(&self, kind: &str, name: &str, help: &str, labels: &[(&'static str, &str)]) -> Option<u64> {
        self.now::<Number>(kind, json!({ "name": name, "help": help, "labels": labels }))
            .ok()
            .map(|number| number.number)
    }
}

type Answer = Wait<Asked, Box<dyn FnMut(u64) + Send>>;

fn cancel(host: &abi::Host, raw: View, number: u64) {
    // SAFETY: the view is the broker's; a number that is not known is ignored.
    unsafe { (host.cancel)(raw.0, number) };
}

/// The result, where the broker's own panics are errors.
fn plain(end: End) -> Result<RawJson> {
    match end {
        End::Panic(_) => Err(ErrorCode::InternalError.into()),
        end => end.into_result(),
    }
}

#[derive(Deserialize)]
struct Number {
    number: u64,
}

fn reference(session: SessionRef<'_>) -> RefText {
    RefText { session_id: session.id.clone(), connection: session.connection }
}

#[async_trait]
impl Host for Broker {
    fn service(&self) -> &str {
        &self.service
    }

    async fn authorize(&self, caller: &Arc<Caller>, action: &Action) -> Result<()> {
        let asked = AuthorizeText { caller: (&**caller).into(), action: action.into() };
        self.later::<Value>("authorize", asked).await.map(drop)
    }

    fn publish(&self, event: Event, from: Option<&Caller>) -> Result<usize> {
        #[derive(Deserialize)]
        struct Receivers {
            receivers: usize,
        }
        let text = FromText { from: from.map(Into::into), event: (&event).into() };
        Ok(self.now::<Receivers>("publish", text)?.receivers)
    }

    fn received(&self, event: &Event, from: &Caller) {
        let text = FromText { from: Some(from.into()), event: event.into() };
        // There is nothing to answer.
        self.now::<Value>("received", text).ok();
    }

    fn subscribe(&self, session: SessionRef<'_>, subscription: Subscription) -> Result<()> {
        let text = SubscribeText { session: reference(session), event: (&subscription).into() };
        self.now::<Value>("subscribe", text).map(drop)
    }

    fn unsubscribe(&self, session: SessionRef<'_>, topic: &Topic, service: &ServiceScope) -> Result<()> {
        let event = EventText::new(topic, service, &RawJson::empty());
        self.now::<Value>("unsubscribe", SubscribeText { session: reference(session), event }).map(drop)
    }

    fn subscriptions(&self, session: SessionRef<'_>) -> Result<Vec<Subscription>> {
        let found: Vec<EventText> = self.now("subscriptions", json!({ "session": reference(session) }))?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    async fn request(&self, session: &SessionId, request: SessionRequest) -> Result<RawJson> {
        let SessionRequest { command, data, from, relay_acks } = request;
        let from = from.as_deref().map(Into::into);
        let text = SessionRequestText { session_id: session.clone(), key: (&command).into(), data, from };
        let arguments = RawJson::from_value(&text)?;
        let asked = self.ask(std::ptr::null(), relay_acks, "request", &arguments);
        plain(asked.await)
    }

    async fn call(&self, request: Request) -> Result<RawJson> {
        let text = RequestText { key: (&*request.command).into(), data: request.data };
        let arguments = RawJson::from_value(&text)?;
        let asked = self.ask(std::ptr::null(), None, "call", &arguments);
        plain(asked.await)
    }

    fn users(&self) -> BTreeMap<UserId, Vec<SessionId>> {
        self.now("users", json!({})).unwrap_or_default()
    }

    fn session(&self, id: &SessionId) -> Option<SessionInfo> {
        let found: Option<SessionText> = self.now("session", json!({ "session_id": id })).ok()?;
        found.map(Into::into)
    }

    fn user_sessions(&self, user: &UserId) -> Vec<SessionInfo> {
        let found: Vec<SessionText> = self.now("user_sessions", json!({ "user": user })).unwrap_or_default();
        found.into_iter().map(Into::into).collect()
    }

    fn stop_session(&self, id: &SessionId) -> Result<UserId> {
        #[derive(Deserialize)]
        struct Stopped {
            user: UserId,
        }
        Ok(self.now::<Stopped>("stop_session", json!({ "session_id": id }))?.user)
    }

    fn register(&self, session: SessionRef<'_>, registration: Registration) -> Result<()> {
        let text = RegistrationText::new(reference(session), registration);
        self.now::<Value>("register", text).map(drop)
    }

    fn unregister(&self, session: SessionRef<'_>, key: &CommandKey) -> Result<()> {
        let text = RegistrationText::new(reference(session), Registration::new(key.clone()));
        self.now::<Value>("unregister", text).map(drop)
    }

    fn register_authenticator(
        &self,
        session: SessionRef<'_>,
        registration: AuthenticatorRegistration,
    ) -> Result<()> {
        let text = JudgeText { session: reference(session), deadline: registration.deadline.as_secs_f64() };
        self.now::<Value>("register_authenticator", text).map(drop)
    }

    fn unregister_authenticator(&self, session: SessionRef<'_>) -> Result<()> {
        let text = JudgeText { session: reference(session), deadline: 0.0 };
        self.now::<Value>("unregister_authenticator", text).map(drop)
    }

    fn commands(&self) -> Vec<CommandInfo> {
        self.now("commands", json!({})).unwrap_or_default()
    }

    fn command(&self, key: &CommandKey) -> Option<CommandInfo> {
        self.now("command", KeyText::from(key)).ok()?
    }

    fn plugins(&self) -> Vec<PluginInfo> {
        self.now("plugins", json!({})).unwrap_or_default()
    }

    fn log(&self, record: LogRecord) -> Result<()> {
        self.now::<Value>("log", RecordText::from(&record)).map(drop)
    }

    fn open_session(&self, remote: &str) -> Result<VirtualSession> {
        let Number { number } = self.now("open_session", json!({ "remote": remote }))?;
        let ends = Arc::new(Ends { host: self.host, raw: self.raw, number });
        let (to_broker, sent) = mpsc::channel(SESSION_QUEUE);
        let (received, from_broker) = mpsc::channel(SESSION_QUEUE);
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|error| Error::new(ErrorCode::InvalidOperation).with_source(error))?;
        runtime.spawn(send_all(Arc::clone(&ends), sent));
        runtime.spawn(receive_all(ends, received));
        Ok(VirtualSession::new(to_broker, from_broker))
    }

    fn store(&self) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(Stored {
            broker: Self { host: self.host, raw: self.raw, service: self.service.clone() },
        }))
    }

    fn counter_with(&self, name: &str, help: &str, labels: &[(&'static str, &str)]) -> Counter {
        let (host, raw, number) = (self.host, self.raw, self.metric("counter", name, help, labels));
        Counter::new(move |n| {
            let (raw, Some(number)) = (raw, number) else { return };
            // SAFETY: the view is the broker's.
            unsafe { (host.counter_add)(raw.0, number, n) };
        })
    }

    fn gauge_with(&self, name: &str, help: &str, labels: &[(&'static str, &str)]) -> Gauge {
        let (host, raw, number) = (self.host, self.raw, self.metric("gauge", name, help, labels));
        Gauge::new(move |value| {
            let (raw, Some(number)) = (raw, number) else { return };
            // SAFETY: the view is the broker's.
            unsafe { (host.gauge_set)(raw.0, number, value) };
        })
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("service", &self.service).finish_non_exhaustive()
    }
}

/// The broker's ends of a virtual session, closed when both directions are done with.
struct Ends {
    host: &'static abi::Host,
    raw: View,
    number: u64,
}

impl Ends {
    fn broker(&self) -> Broker {
        Broker { host: self.host, raw: self.raw, service: String::new() }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        // It may be gone already.
        self.broker().now::<Value>("close_session", json!({ "number": self.number })).ok();
    }
}

#[derive(Serialize)]
struct Sent {
    number: u64,
    message: RawJson,
}

async fn send_all(ends: Arc<Ends>, mut sent: mpsc::Receiver<RawJson>) {
    while let Some(message) = sent.recv().await {
        let message = Sent { number: ends.number, message };
        if ends.broker().later::<Value>("send", message).await.is_err() {
            return;
        }
    }
    // The plugin dropped its session: the broker's end goes, too, and with it the other direction.
    ends.broker().now::<Value>("close_session", json!({ "number": ends.number })).ok();
}

async fn receive_all(ends: Arc<Ends>, received: mpsc::Sender<RawJson>) {
    while let Ok(message) = ends.broker().later::<RawJson>("receive", json!({ "number": ends.number })).await
    {
        if message.is_null() || received.send(message).await.is_err() {
            return;
        }
    }
}

/// The plugin's own state.
struct Stored {
    broker: Broker,
}

#[async_trait]
impl Store for Stored {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        #[derive(Deserialize)]
        struct Found {
            value: Option<String>,
        }
        let found: Found = self.broker.later("store_get", json!({ "key": key })).await?;
        found.value.as_deref().map(bytes).transpose()
    }

    async fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        let asked = json!({ "key": key, "value": base64(value) });
        self.broker.later::<Value>("store_put", asked).await.map(drop)
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        #[derive(Deserialize)]
        struct Deleted {
            found: bool,
        }
        Ok(self.broker.later::<Deleted>("store_delete", json!({ "key": key })).await?.found)
    }

    async fn compare_and_swap(&self, key: &str, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool> {
        #[derive(Deserialize)]
        struct Swapped {
            swapped: bool,
        }
        let (expected, new) = (expected.map(base64), new.map(base64));
        let asked = StoreText { key: key.to_owned(), expected, new, ..StoreText::default() };
        Ok(self.broker.later::<Swapped>("store_swap", asked).await?.swapped)
    }

    async fn scan(&self, prefix: &str, limit: usize) -> Result<Vec<(String, Vec<u8>)>> {
        let asked = json!({ "prefix": prefix, "limit": limit });
        let found: Vec<(String, String)> = self.broker.later("store_scan", asked).await?;
        found.into_iter().map(|(key, value)| Ok((key, bytes(&value)?))).collect()
    }
}
