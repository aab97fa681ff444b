//! Both sides in one process: a plugin by way of the C ABI, in the harness that tests any plugin.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    abi::{ABI_MAJOR, ABI_MINOR, ABORTS, PluginTable, UNWINDS},
    guest::{Export, table},
    host::{Library, LibraryPlugin, Refused, wait_until_destroyed},
};
use crate::{
    Accepted, Action, Answer, Authenticator, Authorizer, Caller, Command, Context, Counter, Decision, Error,
    ErrorCode, Event, EventFilter, Exec, Filtered, Host, LogRecord, LogSink, Login, Manifest, NoArguments,
    Plugin, RawJson, Registrar, Request, Result, Ruling, Service, SessionChange, SessionObserver, Shutdown,
    Topic, UserId, Verdict, testing::Harness,
};

/// What the plugin of a test notes down.
#[derive(Default)]
struct Notes {
    destroyed: AtomicBool,
    served: AtomicUsize,
    changes: Mutex<Vec<String>>,
    records: Mutex<Vec<LogRecord>>,
}

static NOTES: std::sync::LazyLock<Notes> = std::sync::LazyLock::new(Notes::default);

/// A plugin with something of everything.
struct Everything;

#[derive(Deserialize, JsonSchema)]
struct Config {
    greeting: String,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Text {
    text: String,
}

impl Plugin for Everything {
    fn manifest(&self) -> Manifest {
        Manifest::new("everything", "1.2.3").about("All there is.").config::<Config>()
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        let config: Config = registrar.config()?;
        if config.greeting == "panic" {
            panic!("no greeting");
        }
        commands(registrar, config.greeting);
        registrar.authenticator(Everything).authorizer(Everything).event_filter(Everything);
        registrar.session_observer(Everything).log_sink(Everything).service(Everything);
        Ok(())
    }
}

fn commands(registrar: &mut Registrar, greeting: String) {
    let define = |cmd| Command::define("every", "core", cmd);
    let counter: Counter = registrar.host().counter("greeted", "Greetings.");
    registrar.command(define("greet").handler(move |_cx, text: Text| {
        let text = Text { text: format!("{greeting} {}", text.text) };
        counter.inc();
        async move { Ok(text) }
    }));
    registrar.command(define("later").handler(|cx: Context, _: NoArguments| async move {
        tokio::task::yield_now().await;
        cx.ack();
        let user = cx.identity()?.user.to_string();
        tokio::spawn(async { tokio::task::yield_now().await }).await.map_err(|_| ErrorCode::InternalError)?;
        Ok(user)
    }));
    registrar.command(define("fail").handler(|_cx, _: NoArguments| async {
        Err::<(), _>(Error::custom(200_007, "Sorry").with_details(json!({ "why": [1, 2.5] })))
    }));
    registrar.command(define("panic").handler(|_cx, text: Text| async move {
        if text.text == "later" {
            tokio::task::yield_now().await;
        }
        panic!("{}", text.text);
        #[expect(unreachable_code, reason = "the type of the answer")]
        Ok(())
    }));
    registrar.command(define("never").handler(|_cx, _: NoArguments| std::future::pending::<Result<()>>()));
    registrar.command(define("*").raw_handler(|_cx, request: Request| async move {
        let data = RawJson::from_value(&json!({ "text": &*request.command.cmd }))?;
        Ok(Answer::Continue(Request::new("every", "core", "greet", data)))
    }));
    registrar.command(define("ask").handler(ask));
    registrar.command(define("keep").handler(|cx: Context, _: NoArguments| async move {
        // A context may outlive its request.
        tokio::spawn(async move {
            while NOTES.served.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            cx.ack();
            NOTES.changes.lock().push(format!("kept {}", cx.identity().map_or("?", |who| who.user.as_str())));
        });
        Ok(())
    }));
}

/// Asks the broker for everything there is.
async fn ask(cx: Context, _: NoArguments) -> Result<serde_json::Value> {
    let host = cx.host();
    let me = cx.identity()?.clone();
    let info = host.session(&me.session_id).ok_or(ErrorCode::SessionNotFound)?;
    let topic = Topic::new("every", "*", "asked", "*");
    let body = RawJson::from_text(r#"{"n": 1e400}"#).map_err(Error::syntax)?;
    let subscription =
        crate::Subscription { topic: topic.clone(), service: crate::ServiceScope::Own, body: body.clone() };
    host.subscribe((&me.session_id).into(), subscription.clone())?;
    let subscribed = host.subscriptions((&me.session_id).into())?.contains(&subscription);
    let receivers = cx.publish(Event::new(topic.clone(), body))?;
    host.unsubscribe((&me.session_id).into(), &topic, &crate::ServiceScope::Own)?;
    let store = host.store()?;
    store.put("key", b"\x00\xffvalue").await?;
    let kept = store.get("key").await? == Some(b"\x00\xffvalue".to_vec());
    let swapped = store.compare_and_swap("key", Some(b"\x00\xffvalue"), Some(b"new")).await?;
    let scanned = store.scan("k", 10).await? == [("key".to_owned(), b"new".to_vec())];
    let deleted = store.delete("key").await?;
    let called = host
        .call(Request::new(
            "every",
            "core",
            "greet",
            RawJson::from_text(r#"{"text":"you"}"#).map_err(Error::syntax)?,
        ))
        .await?;
    cx.authorize(Action::Publish(topic)).await?;
    host.gauge("asked", "Asked.").set(1.5);
    Ok(json!({
        "service": host.service(),
        "user": info.user,
        "users": host.users(),
        "sessions": host.user_sessions(&info.user).len(),
        "subscribed": subscribed,
        "receivers": receivers,
        "store": [kept, swapped, scanned, deleted],
        "called": called,
        "commands": host.commands().len(),
        "found": host.command(&crate::CommandKey::new("every", "core", "ask")).map(|info| info.plugin),
        "plugins": host.plugins().iter().map(|plugin| plugin.name.clone()).collect::<Vec<_>>(),
        "unknown": host.stop_session(&crate::SessionId::new("nobody")?).unwrap_err().text(),
    }))
}

#[async_trait]
impl Authenticator for Everything {
    async fn authenticate(&self, login: &Login, from: &Caller) -> Verdict {
        tokio::task::yield_now().await;
        let said = login.fields.get("token").map(RawJson::as_str);
        match said {
            Some(r#""good""#) => {
                let mut accepted = Accepted::user(UserId::new("token-user").unwrap());
                accepted.metadata.set("remote", &&*from.remote).unwrap();
                accepted.answer.set("welcome", &true).unwrap();
                Verdict::Accept(accepted)
            }
            Some(_) => Verdict::Reject(Error::custom(200_001, "Bad token")),
            None => Verdict::Continue,
        }
    }

    fn secret_fields(&self) -> &[&str] {
        &["badge"]
    }
}

#[async_trait]
impl Authorizer for Everything {
    async fn authorize(&self, caller: &Arc<Caller>, action: &Action) -> Ruling {
        match action {
            Action::Command(key) if &*key.cmd == "forbidden" => {
                let user = caller.identity().map(|identity| identity.user.to_string());
                let text = format!("Not for {}", user.unwrap_or_default());
                Ruling {
                    decision: Decision::Deny(Error::custom(200_002, text)),
                    cache_for: Some(Duration::from_secs(1)),
                }
            }
            _ => Decision::Continue.into(),
        }
    }
}

impl EventFilter for Everything {
    fn fired(&self, event: &Event) -> Filtered {
        match event.topic.kind.as_deref() {
            Some("drop") => Filtered::Drop,
            Some("change") => Filtered::Replace(Event {
                body: RawJson::from_text(r#"{"changed":1.0}"#).unwrap(),
                ..event.clone()
            }),
            _ => Filtered::Pass,
        }
    }
}

impl SessionObserver for Everything {
    fn session_changed(&self, change: &SessionChange) {
        NOTES.changes.lock().push(format!("{} {:?}", change.session.user, change.kind));
    }
}

impl LogSink for Everything {
    fn log(&self, record: &LogRecord) -> Result<()> {
        if record.message == "full" {
            return Err(ErrorCode::PluginUnavailable.into());
        }
        NOTES.records.lock().push(record.clone());
        Ok(())
    }
}

#[async_trait]
impl Service for Everything {
    async fn run(self: Arc<Self>, host: Arc<dyn Host>, stop: Shutdown) -> Result<()> {
        assert_eq!(host.service(), "main");
        NOTES.served.fetch_add(1, Ordering::SeqCst);
        stop.requested().await;
        Ok(())
    }
}

struct Exported;

impl Export for Exported {
    fn plugin() -> Arc<dyn Plugin> {
        Arc::new(Everything)
    }
}

static TABLE: PluginTable = table::<Exported>(UNWINDS);

fn library(table: &'static PluginTable) -> Result<Library, Refused> {
    // SAFETY: it is the table of this crate's own other side.
    unsafe { Library::new(table) }
}

fn plugin() -> LibraryPlugin {
    library(&TABLE).unwrap().plugin().unwrap()
}
