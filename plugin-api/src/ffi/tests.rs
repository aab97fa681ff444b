//! Both sides in one process: a plugin by way of the C ABI, in the harness that tests any plugin.

mod header;
mod raw;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
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

/// Dropped with the plugin.
struct Last;

impl Drop for Last {
    fn drop(&mut self) {
        NOTES.destroyed.store(true, Ordering::SeqCst);
    }
}

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
        if config.greeting == "refuse" {
            return Err(Error::custom(200_003, "No such greeting"));
        }
        commands(registrar, config.greeting);
        registrar.authenticator(Everything).authorizer(Everything).event_filter(Everything);
        registrar.session_observer(Everything).log_sink(Everything).service(Everything);
        Ok(())
    }
}

fn commands(registrar: &mut Registrar, greeting: String) {
    let define = |cmd| Command::define("every", "core", cmd);
    let last = Arc::new(Last);
    let counter: Counter = registrar.host().counter("greeted", "Greetings.");
    registrar.command(define("greet").handler(move |_cx, text: Text| {
        let text = Text { text: format!("{greeting} {}", text.text) };
        counter.inc();
        let _kept = &last;
        async move { Ok(text) }
    }));
    registrar.command(define("later").handler(|cx: Context, _: NoArguments| async move {
        tokio::task::yield_now().await;
        cx.ack();
        let user = cx.identity()?.user.to_string();
        tokio::spawn(async { tokio::task::yield_now().await }).await.map_err(|_| ErrorCode::InternalError)?;
        Ok(user)
    }));
    registrar.command(define("spawn").handler(|_cx, _: NoArguments| {
        // Not in the future, but on the way to it.
        let work = tokio::spawn(async { 7 });
        async move { work.await.map_err(|_| ErrorCode::InternalError.into()) }
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
        assert_eq!(host.service(), crate::testing::SERVICE);
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

fn library(table: &PluginTable) -> Result<Library, Refused> {
    // SAFETY: it is the table of this crate's own other side.
    unsafe { Library::new(table) }
}

fn plugin() -> LibraryPlugin {
    library(&TABLE).unwrap().plugin().unwrap()
}

fn harness() -> Harness {
    let config = json!({ "greeting": "hello" });
    let harness = Harness::with_config(plugin(), &config).unwrap();
    harness.add_service("main");
    harness
}

fn login(token: Option<&str>) -> Login {
    let mut login = Login::default();
    if let Some(token) = token {
        login.fields.set("token", &token).unwrap();
    }
    login
}

fn event(kind: &str) -> Event {
    Event::new(Topic::new("every", "*", kind, "*"), RawJson::from_text(r#"{"a": 1.50}"#).unwrap())
}

// One test, for the plugin's notes are one library's; Miri runs it, too.
#[test]
fn everything_works_across_the_border() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let harness = harness();
        commands_work(&harness).await;
        logins_and_actions_are_judged(&harness).await;
        events_are_filtered(&harness);
        records_and_changes_arrive(&harness);
        questions_are_answered(&harness).await;
        services_run_until_they_are_stopped(&harness).await;
    });
    drop(runtime);
    // The library's own thread may be the last to let go of it.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !NOTES.destroyed.load(Ordering::SeqCst) {
        assert!(Instant::now() < deadline, "it is not destroyed");
        std::thread::yield_now();
    }
    assert!(wait_until_destroyed(Duration::from_secs(30)));
}

async fn commands_work(harness: &Harness) {
    let call = |cmd: &'static str, data: &'static str| harness.call("every", "core", cmd, data);
    assert_eq!(call("greet", r#"{"text":"you"}"#).await.unwrap().as_str(), r#"{"text":"hello you"}"#);
    assert!(super::guest::has_spare(), "nobody asked who calls, so nobody was told");
    assert_eq!(call("greet", "{}").await.unwrap_err().text(), "Missing field: text");
    assert_eq!(harness.counter("greeted"), Some(1));
    assert_eq!(call("later", "{}").await.unwrap().as_str(), "\"tester\"");
    assert_eq!(harness.acks(), 1);
    assert_eq!(call("spawn", "{}").await.unwrap().as_str(), "7");
    let error = call("fail", "{}").await.unwrap_err();
    assert_eq!(error.to_json().as_str(), r#"{"code":200007,"details":{"why":[1,2.5]},"error":"Sorry"}"#);
    // It goes on under another name, and nobody is behind a wildcard.
    assert_eq!(call("anything", "{}").await.unwrap_err().text(), "Unknown command 'every/core/greet'");
    assert_eq!(call("keep", "{}").await.unwrap().as_str(), "{}");
    let cancelled = tokio::time::timeout(Duration::from_millis(1), call("never", "{}")).await;
    assert!(cancelled.is_err());
}

async fn logins_and_actions_are_judged(harness: &Harness) {
    let from = Arc::clone(harness.tester());
    match harness.authenticate(&login(Some("good")), &from).await {
        Verdict::Accept(accepted) => {
            assert_eq!(accepted.user.as_str(), "token-user");
            assert_eq!(accepted.answer.get("welcome").unwrap().as_str(), "true");
            assert_eq!(accepted.metadata.get("remote").unwrap().parse::<String>().unwrap(), *from.remote);
        }
        other => panic!("{other:?}"),
    }
    match harness.authenticate(&login(Some("bad")), &from).await {
        Verdict::Reject(error) => assert_eq!((error.code(), error.text()), (200_001, "Bad token")),
        other => panic!("{other:?}"),
    }
    assert!(matches!(harness.authenticate(&login(None), &from).await, Verdict::Continue));
    let forbidden = Action::Command(crate::CommandKey::new("every", "core", "forbidden"));
    assert_eq!(harness.authorize(&from, &forbidden).await.unwrap_err().text(), "Not for tester");
}

fn events_are_filtered(harness: &Harness) {
    assert_eq!(harness.filter(event("other")), Some(event("other")));
    assert_eq!(harness.filter(event("drop")), None);
    assert_eq!(harness.filter(event("change")).unwrap().body.as_str(), r#"{"changed":1.0}"#);
}

fn records_and_changes_arrive(harness: &Harness) {
    let mut record = LogRecord {
        source: "it".into(),
        message: "hello".into(),
        level: crate::Severity::new(4).unwrap(),
        full_message: None,
        meta: crate::RawObject::default(),
        user: UserId::new("u").unwrap(),
        session_id: crate::SessionId::new("s").unwrap(),
        service: "main".into(),
        time: std::time::UNIX_EPOCH + Duration::from_millis(1_700_000_000_125),
    };
    record.meta.insert("big", RawJson::from_text("123456789012345678901234567890").unwrap());
    harness.log(&record).unwrap();
    {
        let records = NOTES.records.lock();
        assert_eq!((records[0].time, &records[0].meta), (record.time, &record.meta));
    }
    record.message = "full".into();
    assert!(harness.log(&record).unwrap_err().is(ErrorCode::PluginUnavailable));
}

async fn questions_are_answered(harness: &Harness) {
    let answer: serde_json::Value =
        harness.call("every", "core", "ask", "{}").await.unwrap().parse().unwrap();
    assert_eq!(answer["user"], "tester");
    assert_eq!(answer["users"], json!({ "tester": ["test-session"] }));
    assert_eq!((&answer["subscribed"], &answer["sessions"]), (&json!(true), &json!(1)));
    assert_eq!(answer["store"], json!([true, true, true, true]));
    assert_eq!(answer["called"]["text"], "hello you");
    assert_eq!((&answer["found"], &answer["plugins"]), (&json!("everything"), &json!(["everything"])));
    assert_eq!(answer["unknown"], "Session not found");
    assert_eq!(harness.gauge("asked"), Some(1.5));
    assert_eq!(harness.published()[0].event.body.as_str(), r#"{"n": 1e400}"#);
}

async fn services_run_until_they_are_stopped(harness: &Harness) {
    let services = harness.start_services();
    eventually(|| NOTES.served.load(Ordering::SeqCst) > 0).await;
    services.stop().await.unwrap();
    eventually(|| NOTES.changes.lock().iter().any(|note| note == "kept tester")).await;
}

async fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to that");
}

#[test]
fn a_plugin_that_refuses_its_configuration_says_why() {
    let error = Harness::with_config(plugin(), &json!({ "greeting": 7 })).map(drop).unwrap_err();
    assert_eq!(error.text(), "Syntax error: greeting");
    let error = Harness::with_config(plugin(), &json!({ "greeting": "refuse" })).map(drop).unwrap_err();
    assert_eq!((error.code(), error.text()), (200_003, "No such greeting"));
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    type Change = fn(&mut PluginTable);

    let refused = |change: Change| {
        let mut table = TABLE;
        change(&mut table);
        library(&table).map(drop).unwrap_err().to_string()
    };
    let cases: [(Change, &str); 7] = [
        (
            |table| table.magic = 1,
            "expected the magic number 0x4a41434b464c4431 in jackfield_plugin_v1, found 0x0000000000000001",
        ),
        (|table| table.size = 40, "expected a table of at least 152 bytes, found 40"),
        (|table| table.abi_major = ABI_MAJOR + 1, "expected ABI version 1, found 2"),
        (
            |table| table.abi_minor = ABI_MINOR + 1,
            "expected ABI version 1.0 or below, found 1.1: it needs a newer broker",
        ),
        (
            |table| table.panic_strategy = ABORTS,
            "expected a library that unwinds, found one that was built with panic = \"abort\"",
        ),
        (|table| table.panic_strategy = 9, "expected a library that unwinds, found panic strategy 9"),
        (|table| table.destroy = None, "expected the function 'destroy', found NULL"),
    ];
    for (change, text) in cases {
        assert_eq!(refused(change), text);
    }
}

#[test]
fn offloaded_handlers_may_block() {
    struct Blocking;

    impl Plugin for Blocking {
        fn manifest(&self) -> Manifest {
            Manifest::new("blocking", "1").exec(Exec::Offload)
        }

        fn register(&self, registrar: &mut Registrar) -> Result<()> {
            let wait = Command::define("blocking", "core", "wait").handler(|_cx, _: NoArguments| async {
                let (send, receive) = std::sync::mpsc::channel();
                std::thread::spawn(move || send.send(7));
                let got = receive.recv().map_err(|_| ErrorCode::InternalError)?;
                tokio::task::yield_now().await;
                Ok(got)
            });
            registrar.command(wait);
            Ok(())
        }
    }

    struct Exported;

    impl Export for Exported {
        fn plugin() -> Arc<dyn Plugin> {
            Arc::new(Blocking)
        }
    }

    static TABLE: PluginTable = table::<Exported>(UNWINDS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let harness = Harness::new(library(&TABLE).unwrap().plugin().unwrap()).unwrap();
        harness.call("blocking", "core", "wait", "{}").await.unwrap()
    });
    assert_eq!(answer.as_str(), "7");
}

#[test]
fn five_panics_and_it_is_asked_no_more() {
    struct Broken;

    impl Plugin for Broken {
        fn manifest(&self) -> Manifest {
            Manifest::new("broken", "1")
        }

        fn register(&self, registrar: &mut Registrar) -> Result<()> {
            commands(registrar, String::new());
            Ok(())
        }
    }

    struct Exported;

    impl Export for Exported {
        fn plugin() -> Arc<dyn Plugin> {
            Arc::new(Broken)
        }
    }

    static TABLE: PluginTable = table::<Exported>(UNWINDS);
    let plugin = library(&TABLE).unwrap().plugin().unwrap();
    let health = plugin.health();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let harness = Harness::new(plugin).unwrap();
        for round in 0..5 {
            assert!(!health.is_quarantined());
            let text = if round % 2 == 0 { r#"{"text":"now"}"# } else { r#"{"text":"later"}"# };
            let error = harness.call("every", "core", "panic", text).await.unwrap_err();
            assert!(error.is(ErrorCode::InternalErrorRef), "{error}");
        }
        assert!(health.is_quarantined());
        let error = harness.call("every", "core", "greet", r#"{"text":""}"#).await.unwrap_err();
        assert_eq!(error.text(), "Plugin unavailable: broken");
    });
}
