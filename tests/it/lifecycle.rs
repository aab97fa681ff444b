//! Starting, stopping, and reloading the broker.

mod reload;
mod shutdown;

use serde_json::json;

use crate::support::{Broker, Client, Options, Transport, on_both};

#[tokio::test]
async fn the_ready_file_tells_who_and_where() {
    let broker = Broker::start(Options::default()).await;
    let ready = broker.ready();
    assert_eq!(ready["pid"], broker.pid());
    let urls = [broker.url(Transport::Ws), broker.url(Transport::Tcp)];
    assert_eq!(ready["listeners"], json!(urls));
    assert_eq!(ready["services"], json!({"main": urls}));
    assert_eq!(ready.get("admin"), None);
    for url in urls {
        let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        assert_ne!(port, 0, "{url}");
        Client::connect(&url).await.login("ann").await;
        broker.logged(&format!("127.0.0.1:{port}")).await;
    }
}

#[tokio::test]
async fn the_ready_file_tells_of_every_service_and_of_the_admin_pages() {
    let config = "[service.other]\nlisten = [\"tcp://127.0.0.1:0\"]\nplugins = [\"auth-open\"]\n\
        [admin]\nlisten = \"http://127.0.0.1:0\"";
    let broker = Broker::start(Options::default().config(config)).await;
    let mut listeners = [broker.main().urls(), broker.service("other").urls()].concat();
    assert_eq!(listeners.len(), 3);
    let mut all: Vec<String> = serde_json::from_value(broker.ready()["listeners"].clone()).unwrap();
    listeners.sort();
    all.sort();
    assert_eq!(all, listeners);
    let mut other = broker.service("other").login(Transport::Tcp, "bob").await;
    broker.login(Transport::Tcp, "ann").await;
    assert_eq!(other.ok("core/user/list", json!({})).await, json!({"bob": [other.session_id()]}));
    let admin = broker.admin_url();
    let address = admin.strip_prefix("http://").expect("an http address");
    tokio::net::TcpStream::connect(address.trim_end_matches('/')).await.unwrap();
}

#[tokio::test]
async fn several_listeners_of_one_kind() {
    on_both(async |transport| {
        let url = format!("{transport}://127.0.0.1:0");
        let broker = Broker::start(Options::default().listen(&[&url, &url])).await;
        let main = broker.main();
        let [first, second] = main.urls() else { panic!("{:?}", main.urls()) };
        assert_ne!(first, second);
        let (mut ann, mut bob) = (Client::connect(first).await, Client::connect(second).await);
        ann.login("ann").await;
        bob.login("bob").await;
        ann.ok("core/user/send_event", json!({"user": "bob", "type": "hello"})).await;
        assert_eq!(bob.event().await["type"], "hello");
    })
    .await;
}

#[tokio::test]
async fn a_broker_says_nothing_on_stdout_and_in_no_colour() {
    let mut broker = Broker::start(Options::default()).await;
    broker.login(Transport::Ws, "ann").await;
    broker.terminate();
    assert_eq!(broker.exit_code().await, Some(0));
    assert_eq!(broker.stdout(), "");
    assert!(!broker.log().contains('\u{1b}'), "{:?}", broker.log());
}

#[tokio::test]
async fn the_log_as_json_is_an_object_a_line() {
    let mut broker = Broker::start(Options::default().args(&["--log-format", "json"])).await;
    broker.login(Transport::Ws, "ann").await;
    broker.terminate();
    broker.exit_code().await;
    let log = broker.log();
    assert!(log.lines().count() >= 2, "{log}");
    for line in log.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(record.is_object(), "{line}");
    }
}

#[tokio::test]
async fn rust_log_filters() {
    let mut quiet = Broker::start(Options::default().env("RUST_LOG", "off")).await;
    quiet.login(Transport::Ws, "ann").await;
    quiet.terminate();
    quiet.exit_code().await;
    assert_eq!(quiet.log(), "");
    let loud = Broker::start(Options::default().env("RUST_LOG", "debug")).await;
    loud.login(Transport::Ws, "ann").await;
    loud.logged("DEBUG").await;
}
