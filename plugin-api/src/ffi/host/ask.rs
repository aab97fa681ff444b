//! What a library may ask of the broker: [`Host`], by name and in JSON.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    intern,
    table::{Broker, Ends},
};
use crate::{
    context::{Call, Context},
    error::{Error, ErrorCode, Result},
    ffi::{
        slot::Owed,
        wire::{
            AuthorizeText, EventText, FromText, JudgeText, KeyText, LoginText, RecordText, RegistrationText,
            RequestText, SessionRequestText, SessionText, StoreText, SubscribeText, base64, bytes, read,
        },
    },
    host::{Host, SessionRequest},
    json::RawJson,
    message::Request,
    registration::AuthenticatorRegistration,
    session::{Caller, SessionId, SessionRef, UserId, Who},
    store::Store,
};

#[derive(Deserialize)]
struct NameText {
    name: String,
    help: String,
    #[serde(default)]
    labels: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct SessionIdText {
    session_id: SessionId,
}

#[derive(Deserialize)]
struct UserText {
    user: UserId,
}

#[derive(Deserialize)]
struct NumberText {
    number: u64,
    #[serde(default)]
    message: RawJson,
}

#[derive(Deserialize)]
struct RemoteText {
    remote: String,
}

/// Answers a question, at once or later.
pub(super) fn answer(
    broker: &'static Broker,
    question: &str,
    arguments: &RawJson,
    call: Option<Arc<dyn Call>>,
    owed: Owed,
) -> u64 {
    let host = match broker.host() {
        Ok(host) => host,
        Err(error) => {
            owed.error(&error);
            return 0;
        }
    };
    let args = arguments.clone();
    match question {
        "authorize" => broker.spawn(owed, async move { authorize(&*host, &args).await }),
        "request" => request(broker, host, &args, owed),
        "call" => broker.spawn(owed, async move { host.call(request_of(read(&args)?)).await }),
        "login" => broker.spawn(owed, async move { login(call, &args).await }),
        "send" => broker.spawn(owed, async move { send(broker, read(&args)?).await }),
        "receive" => broker.spawn(owed, async move { receive(broker, read(&args)?).await }),
        _ => match question.strip_prefix("store_") {
            Some(what) => {
                let what = what.to_owned();
                broker.spawn(owed, async move { store(&*host.store()?, &what, read(&args)?).await })
            }
            None => {
                owed.result(at_once(broker, &*host, question, arguments));
                0
            }
        },
    }
}

fn at_once(broker: &Broker, host: &dyn Host, question: &str, args: &RawJson) -> Result<RawJson> {
    match question {
        "publish" | "received" => publish(host, question, read(args)?),
        "subscribe" | "unsubscribe" => subscribe(host, question, read(args)?),
        "subscriptions" => subscriptions(host, args),
        "users" => RawJson::from_value(&host.users()),
        "session" => {
            let session = host.session(&read::<SessionIdText>(args)?.session_id);
            RawJson::from_value(&session.as_ref().map(SessionText::from))
        }
        "user_sessions" => {
            let sessions = host.user_sessions(&read::<UserText>(args)?.user);
            RawJson::from_value(&sessions.iter().map(SessionText::from).collect::<Vec<_>>())
        }
        "stop_session" => {
            let user = host.stop_session(&read::<SessionIdText>(args)?.session_id)?;
            RawJson::from_value(&json!({ "user": user }))
        }
        "commands" => RawJson::from_value(&host.commands()),
        "command" => RawJson::from_value(&host.command(&read::<KeyText>(args)?.into())),
        "plugins" => RawJson::from_value(&host.plugins()),
        "log" => host.log(read::<RecordText>(args)?.try_into()?).map(|()| RawJson::empty()),
        "service" => RawJson::from_value(&json!({ "service": host.service() })),
        "counter" | "gauge" => metric(broker, host, question, read(args)?),
        "register" | "unregister" => register(host, question, read(args)?),
        "register_authenticator" | "unregister_authenticator" => judge(host, question, &read(args)?),
        "open_session" => open_session(broker, host, &read(args)?),
        "close_session" => {
            broker.sessions.lock().remove(&read::<NumberText>(args)?.number);
            Ok(RawJson::empty())
        }
        other => Err(Error::about(ErrorCode::NotImplemented, other)),
    }
}

async fn authorize(host: &dyn Host, args: &RawJson) -> Result<RawJson> {
    let AuthorizeText { caller, action } = read(args)?;
    host.authorize(&Arc::new(caller.try_into()?), &action.into()).await.map(|()| RawJson::empty())
}

fn publish(host: &dyn Host, question: &str, text: FromText) -> Result<RawJson> {
    let from = text.from.map(Caller::try_from).transpose()?;
    let event = text.event.into();
    if question == "publish" {
        let receivers = host.publish(event, from.as_ref())?;
        return RawJson::from_value(&json!({ "receivers": receivers }));
    }
    host.received(&event, &from.ok_or_else(|| Error::missing_field("from"))?);
    Ok(RawJson::empty())
}

fn subscribe(host: &dyn Host, question: &str, text: SubscribeText) -> Result<RawJson> {
    let SubscribeText { session, event } = text;
    let session = SessionRef { id: &session.session_id, connection: session.connection };
    let subscription: crate::event::Subscription = event.into();
    if question == "subscribe" {
        host.subscribe(session, subscription)?;
    } else {
        host.unsubscribe(session, &subscription.topic, &subscription.service)?;
    }
    Ok(RawJson::empty())
}

fn subscriptions(host: &dyn Host, args: &RawJson) -> Result<RawJson> {
    #[derive(Deserialize)]
    struct Of {
        session: crate::ffi::wire::RefText,
    }
    let Of { session } = read(args)?;
    let found = host.subscriptions(SessionRef { id: &session.session_id, connection: session.connection })?;
    RawJson::from_value(&found.iter().map(EventText::from).collect::<Vec<_>>())
}

fn register(host: &dyn Host, question: &str, text: RegistrationText) -> Result<RawJson> {
    let (session, registration) = text.into_parts();
    let session = SessionRef { id: &session.session_id, connection: session.connection };
    if question == "register" {
        host.register(session, registration)?;
    } else {
        host.unregister(session, &registration.key)?;
    }
    Ok(RawJson::empty())
}

fn judge(host: &dyn Host, question: &str, text: &JudgeText) -> Result<RawJson> {
    let session = SessionRef { id: &text.session.session_id, connection: text.session.connection };
    if question == "register_authenticator" {
        let deadline =
            Duration::try_from_secs_f64(text.deadline).map_err(|_| Error::invalid_value("deadline"))?;
        host.register_authenticator(session, AuthenticatorRegistration { deadline })?;
    } else {
        host.unregister_authenticator(session)?;
    }
    Ok(RawJson::empty())
}

fn request_of(text: RequestText) -> Request {
    Request { command: Arc::new(text.key.into()), data: text.data }
}

/// Passes a session's acks on to whoever asked.
struct RelayedAcks {
    caller: Arc<Caller>,
    owed: parking_lot::Mutex<Option<Owed>>,
}

#[async_trait]
impl Call for RelayedAcks {
    fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    fn ack(&self) {
        if let Some(owed) = &*self.owed.lock() {
            owed.progress();
        }
    }
}

fn request(broker: &'static Broker, host: Arc<dyn Host>, args: &RawJson, owed: Owed) -> u64 {
    let (text, from) = match read_session_request(args) {
        Ok(parts) => parts,
        Err(error) => {
            owed.error(&error);
            return 0;
        }
    };
    let nobody = Caller {
        connection: 0,
        service: host.service().into(),
        remote: "plugin".into(),
        certificate: None,
        who: Who::Plugin,
    };
    let acks = Arc::new(RelayedAcks { caller: Arc::new(nobody), owed: parking_lot::Mutex::new(Some(owed)) });
    let relay: Arc<dyn Call> = Arc::clone(&acks) as _;
    let request = SessionRequest {
        command: text.key.into(),
        data: text.data,
        from,
        relay_acks: Some(Context::new(relay, Arc::clone(&host))),
    };
    let session_id = text.session_id;
    broker.spawn_with(acks, async move { host.request(&session_id, request).await })
}

fn read_session_request(args: &RawJson) -> Result<(SessionRequestText, Option<Arc<Caller>>)> {
    let mut text: SessionRequestText = read(args)?;
    let from = text.from.take().map(Caller::try_from).transpose()?.map(Arc::new);
    Ok((text, from))
}

impl Broker {
    /// As [`spawn`](Self::spawn), where the completion is kept by what relays acks.
    fn spawn_with(
        &'static self,
        acks: Arc<RelayedAcks>,
        answer: impl Future<Output = Result<RawJson>> + Send + 'static,
    ) -> u64 {
        /// Takes the completion away at the end, however that comes.
        struct Taken(Arc<RelayedAcks>);
        impl Drop for Taken {
            fn drop(&mut self) {
                // Not while it is locked: what is called then may take its time.
                let owed = self.0.owed.lock().take();
                drop(owed);
            }
        }
        let nothing = Owed::nobody();
        self.spawn(nothing, async move {
            let taken = Taken(acks);
            let result = answer.await;
            let owed = taken.0.owed.lock().take();
            if let Some(owed) = owed {
                owed.result(result);
            }
            Ok(RawJson::empty())
        })
    }
}

async fn login(call: Option<Arc<dyn Call>>, args: &RawJson) -> Result<RawJson> {
    let call = call.ok_or(ErrorCode::InvalidOperation)?;
    Ok(call.login(LoginText::parse(args)?).await?.to_json())
}

fn metric(broker: &Broker, host: &dyn Host, kind: &str, text: NameText) -> Result<RawJson> {
    let NameText { name, help, labels } = text;
    let series = (name.clone(), labels.clone());
    let labels: Vec<_> = labels.iter().map(|(name, value)| (intern(name), value.as_str())).collect();
    let number = if kind == "counter" {
        broker.counters.write().number_of(series, || host.counter_with(&name, &help, &labels))
    } else {
        broker.gauges.write().number_of(series, || host.gauge_with(&name, &help, &labels))
    };
    RawJson::from_value(&json!({ "number": number }))
}

fn open_session(broker: &Broker, host: &dyn Host, text: &RemoteText) -> Result<RawJson> {
    let (to_broker, from_broker) = host.open_session(&text.remote)?.into_ends();
    let number = broker.next_number();
    let ends = Ends { to_broker, from_broker: tokio::sync::Mutex::new(from_broker) };
    broker.sessions.lock().insert(number, Arc::new(ends));
    RawJson::from_value(&json!({ "number": number }))
}

fn ends(broker: &Broker, number: u64) -> Result<Arc<Ends>> {
    let ends = broker.sessions.lock().get(&number).map(Arc::clone);
    ends.ok_or_else(|| ErrorCode::SessionStop.into())
}

async fn send(broker: &Broker, text: NumberText) -> Result<RawJson> {
    let ends = ends(broker, text.number)?;
    ends.to_broker.send(text.message).await.map_err(|_| Error::from(ErrorCode::SessionStop))?;
    Ok(RawJson::empty())
}

async fn receive(broker: &Broker, text: NumberText) -> Result<RawJson> {
    let Ok(ends) = ends(broker, text.number) else { return Ok(RawJson::null()) };
    let message = ends.from_broker.lock().await.recv().await;
    Ok(message.unwrap_or_else(RawJson::null))
}

async fn store(store: &dyn Store, what: &str, text: StoreText) -> Result<RawJson> {
    let StoreText { key, value, expected, new, prefix, limit } = text;
    let decoded = |text: Option<String>| text.as_deref().map(bytes).transpose();
    fn said(value: impl Serialize) -> Result<RawJson> {
        RawJson::from_value(&value)
    }
    match what {
        "get" => said(json!({ "value": store.get(&key).await?.as_deref().map(base64) })),
        "put" => {
            let value = decoded(value)?.ok_or_else(|| Error::missing_field("value"))?;
            store.put(&key, &value).await.map(|()| RawJson::empty())
        }
        "delete" => said(json!({ "found": store.delete(&key).await? })),
        "swap" => {
            let (expected, new) = (decoded(expected)?, decoded(new)?);
            said(
                json!({ "swapped": store.compare_and_swap(&key, expected.as_deref(), new.as_deref()).await? }),
            )
        }
        "scan" => {
            let found = store.scan(&prefix, limit).await?;
            said(found.iter().map(|(key, value)| (key, base64(value))).collect::<Vec<_>>())
        }
        other => Err(Error::about(ErrorCode::NotImplemented, other)),
    }
}
