//! `core plugin list`, and the order that plugins' dependencies ask for.

use serde_json::{Value, json};

use crate::support::{Broker, Client, Options, Transport, on_both};

async fn plugins(client: &mut Client) -> Vec<Value> {
    client.ok("core/plugin/list", json!({})).await.as_array().expect("a list").clone()
}

async fn names(client: &mut Client) -> Vec<String> {
    let name = |plugin: &Value| plugin["name"].as_str().expect("a name").to_string();
    plugins(client).await.iter().map(name).collect()
}

#[tokio::test]
async fn plugins_are_listed_in_their_order() {
    on_both(async |transport| {
        for listed in [["fixture", "fixture-second", "auth-open"], ["auth-open", "fixture-second", "fixture"]]
        {
            let broker = Broker::start(Options::fixture().plugins(&listed)).await;
            let mut found = names(&mut broker.login(transport, "ann").await).await;
            assert!(found.iter().any(|name| name == "core"), "{found:?}");
            found.retain(|name| name != "core");
            assert_eq!(found, listed);
        }
    })
    .await;
}

#[tokio::test]
async fn each_says_what_it_is_and_what_it_has() {
    on_both(async |transport| {
        let broker = Broker::start(Options::fixture()).await;
        let mut ann = broker.login(transport, "ann").await;
        for plugin in plugins(&mut ann).await {
            for field in ["name", "version", "kind", "state", "description"] {
                assert!(plugin[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {plugin}");
            }
            for field in ["commands", "authenticators"] {
                assert!(!plugin[field].is_null(), "{field}: {plugin}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_plugin_is_asked_before_what_it_depends_on() {
    on_both(async |transport| {
        for listed in [["fixture-a", "fixture-b", "auth-open"], ["fixture-b", "fixture-a", "auth-open"]] {
            let broker = Broker::start(Options::fixture().plugins(&listed)).await;
            let mut ann = broker.login(transport, "ann").await;
            let found = names(&mut ann).await;
            let place = |wanted: &str| found.iter().position(|name| name == wanted).expect("it is listed");
            assert!(place("fixture-a") < place("fixture-b"), "{found:?}");
            for command in ["fixture-a/core/name", "fixture-b/core/name"] {
                ann.ok(command, json!({})).await;
            }
        }
    })
    .await;
}

/// The broker must not start with these plugins; what it says instead.
async fn refusal(plugins: &[&str]) -> String {
    let mut broker = Broker::spawn(&Options::fixture().plugins(plugins));
    let code = broker.exit_code().await;
    assert_eq!(code, Some(2), "{}", broker.log());
    assert_eq!(broker.stdout(), "");
    broker.log()
}

#[tokio::test]
async fn a_missing_dependency_is_named() {
    let said = refusal(&["fixture-a", "auth-open"]).await;
    assert!(said.contains("fixture-a") && said.contains("fixture-b"), "{said}");
}

#[tokio::test]
async fn a_circle_of_dependencies_is_named() {
    for listed in
        [["fixture-loop-a", "auth-open", "fixture-loop-b"], ["fixture-loop-b", "fixture-loop-a", "auth-open"]]
    {
        let said = refusal(&listed).await;
        assert!(said.contains("fixture-loop-a") && said.contains("fixture-loop-b"), "{said}");
    }
}

#[tokio::test]
async fn an_unknown_plugin_is_named() {
    let said = refusal(&["fixture", "fixtrue", "auth-open"]).await;
    assert!(said.contains("fixtrue"), "{said}");
}

#[tokio::test]
async fn a_plugin_that_is_not_listed_is_not_there() {
    let broker = Broker::start(Options::fixture().plugins(&["auth-open"])).await;
    let mut ann = broker.login(Transport::Tcp, "ann").await;
    let error = ann.err("fixture/core/echo", json!({})).await;
    assert_eq!(error.1, "Unknown command 'fixture/core/echo'");
    assert!(!names(&mut ann).await.contains(&"fixture".to_string()));
}
